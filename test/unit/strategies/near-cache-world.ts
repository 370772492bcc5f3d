/** Servers with near copies over one virtual store, visitors of theirs, and what may happen to them. */
import { deriveKeys } from '../../../src/core/keys.ts'
import type { Change, Note, RunningStrategy, SessionId } from '../../../src/seam.ts'
import { dedicated } from '../../../src/strategies/dedicated.ts'
import type { VirtualRuntime, VirtualWorld } from '../../setup/virtual-runtime.ts'
import { type Fault, type StoreWorld, storeWorld } from './announcing-store.ts'

export const LEASE_MS = 80

export interface Visitor {
  readonly id: SessionId
  notes: Note[]
  /** What the jar has seen. */
  seen: number
}

export interface Server {
  readonly strategy: RunningStrategy
  readonly runtime: VirtualRuntime
  isPaused: boolean
}

export interface Run {
  readonly world: VirtualWorld
  readonly store: StoreWorld
  readonly servers: Server[]
  readonly violations: string[]
  /** Keys whose revocation has resolved. */
  readonly revoked: Set<string>
  revocations: number
  /** Those that did not wait for a lease. */
  quick: number
  /** Answers that took no virtual time: they came from a near copy. */
  cached: number
  reads: number
}

export interface Signals {
  isWatched?(key: string): boolean
  ended?(key: string): void
}

export function serverOf(world: VirtualWorld, store: StoreWorld, leaseMs: number, signals: Signals = {}): Server {
  const runtime = world.runtime()
  const strategy = dedicated({ store: store.server(runtime), nearCache: { leaseMs }, deadlineMs: 1_000 }).start({
    node: 'n',
    runtime,
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: () => {},
    ended: signals.ended ?? (() => {}),
    ...(signals.isWatched !== undefined && { isWatched: signals.isWatched }),
    logger: console,
  })
  return { strategy, runtime, isPaused: false }
}

export async function read(run: Run, { strategy: server }: Server, visitor: Visitor): Promise<void> {
  const { world, store, violations } = run
  const at = world.elapsed()
  const wasRevoked = run.revoked.has(visitor.id.key)
  const jar = { ...visitor.id, notes: visitor.notes, headerBytes: 0 }
  const { seen } = visitor
  const opening = await server.open(jar)
  run.reads += 1
  if (world.elapsed() === at) run.cached += 1
  const floor = [...store.history(visitor.id.key)]
  if (opening.outcome === 'regressed') violations.push(`regressed at ${at}: nothing was lost`)
  if (opening.outcome !== 'found') return
  if (wasRevoked) violations.push(`accepted at ${at} though its revocation had resolved`)
  const version = (opening.opened as unknown as { stored: { version: number } }).stored.version
  if (version < seen) violations.push(`stale for its own visitor at ${at}: ${version} after ${seen}`)
  // What the store held a lease before the question: nothing older may be answered, and nothing that had ended by then.
  const old = floor.findLast(([changedAt]) => changedAt <= at - LEASE_MS)?.[1]
  if (old === 0) violations.push(`accepted at ${at} though it had ended a lease before`)
  if (old !== undefined && version < old) violations.push(`a foreign change unseen for longer than the lease at ${at}`)
  const delta = server.settle(opening.opened, true)
  if (delta === undefined) return
  visitor.notes = [...visitor.notes.filter(({ name }) => !delta.delete.includes(name)), ...delta.set]
  visitor.seen = Math.max(visitor.seen, version)
}

export async function write({ strategy: server }: Server, visitor: Visitor, value: number): Promise<void> {
  const jar = { ...visitor.id, notes: visitor.notes, headerBytes: 0 }
  const opening = await server.open(jar)
  if (opening.outcome !== 'found') return
  const change: Change = { set: new Map([['n', String(value)]]), add: new Map(), touchAt: 0 }
  const written = await server.write(opening.opened, change)
  visitor.notes = [...visitor.notes.filter(({ name }) => !written.jar.delete.includes(name)), ...written.jar.set]
  const { version } = (written.opened as unknown as { stored: { version: number } }).stored
  visitor.seen = Math.max(visitor.seen, version)
}

/** After it has resolved, no server may accept the session any more. */
export async function revoke(run: Run, { strategy: revoker }: Server, visitor: Visitor): Promise<void> {
  const at = run.world.elapsed()
  const ended = await revoker.revoke(visitor.id.key, {}).catch(() => false)
  if (!ended) return
  run.revoked.add(visitor.id.key)
  run.revocations += 1
  if (run.world.elapsed() - at < LEASE_MS) run.quick += 1
  await Promise.all(awake(run).map((server) => read(run, server, visitor).catch(() => {})))
}

export function awake({ servers }: Run): Server[] {
  return servers.filter(({ isPaused }) => !isPaused)
}

/** As SIGSTOP and SIGCONT. What lies in its sockets when it wakes up may be read in any order: requests first is the worst. */
export async function pause(run: Run, server: Server, visitors: readonly Visitor[], ms: number): Promise<void> {
  if (server.isPaused || awake(run).length < 2) return
  server.isPaused = true
  server.runtime.pause()
  await new Promise<void>((done) => void run.world.runtime().setTimer(ms, done))
  server.isPaused = false
  server.runtime.resume()
  await Promise.all(visitors.map((visitor) => read(run, server, visitor).catch(() => {})))
}

/** A process that dies says goodbye to nobody. */
export function crash(run: Run, server: Server): void {
  if (server.isPaused || awake(run).length < 2) return
  run.servers.splice(run.servers.indexOf(server), 1)
  server.runtime.crash()
}

export function newRun(world: VirtualWorld, faults: readonly Fault[], leases: readonly number[]): Run {
  const store = storeWorld(world, new Set(faults))
  const servers = leases.map((leaseMs) => serverOf(world, store, leaseMs))
  return { world, store, servers, violations: [], revoked: new Set(), revocations: 0, quick: 0, cached: 0, reads: 0 }
}

/** A visitor whose session this server creates. */
export function newVisitor({ world }: Run, server: Server, name: string): { visitor: Visitor; created: Promise<unknown> } {
  const id = { id: `secret-${name}`, key: `key-${name}`, absoluteAt: Number.MAX_SAFE_INTEGER }
  const now = world.runtime().now()
  const meta = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 3_600_000,
    touchEveryMs: 3_600_000,
    absoluteAt: now + 36_000_000,
    persistent: false,
  }
  const visitor: Visitor = { id, notes: [], seen: 1 }
  const created = Promise.resolve(server.strategy.create(id, { meta, fields: new Map() })).then(
    (written) => (visitor.notes = [...written.jar.set]),
  )
  return { visitor, created }
}
