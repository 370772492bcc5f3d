import { describe, expect, test } from 'vitest'
import { deriveKeys } from '../../../src/core/keys.ts'
import type { Change, Note, RunningStrategy, SessionId } from '../../../src/seam.ts'
import { dedicated } from '../../../src/strategies/dedicated.ts'
import { createVirtualWorld, type VirtualWorld } from '../../setup/virtual-runtime.ts'
import { type Fault, type StoreWorld, storeWorld } from './announcing-store.ts'

const SERVERS = 3
const VISITORS = 2
const STEPS = 120
const LEASE_MS = 80
const SEEDS = 300
const SEEDS_TO_CATCH = 300

interface Visitor {
  readonly id: SessionId
  notes: Note[]
  /** What the jar has seen. */
  seen: number
}

interface Run {
  readonly world: VirtualWorld
  readonly store: StoreWorld
  readonly servers: readonly RunningStrategy[]
  readonly violations: string[]
  /** Answers that took no virtual time: they came from a near copy. */
  cached: number
  reads: number
}

interface Signals {
  isWatched?(key: string): boolean
  ended?(key: string): void
}

function serverOf(world: VirtualWorld, store: StoreWorld, leaseMs: number, signals: Signals = {}): RunningStrategy {
  return dedicated({ store: store.server(), nearCache: { leaseMs }, deadlineMs: 1_000 }).start({
    node: 'n',
    runtime: world.runtime(),
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: () => {},
    ended: signals.ended ?? (() => {}),
    ...(signals.isWatched !== undefined && { isWatched: signals.isWatched }),
    logger: console,
  })
}

async function read(run: Run, server: RunningStrategy, visitor: Visitor): Promise<void> {
  const { world, store, violations } = run
  const at = world.elapsed()
  const jar = { ...visitor.id, notes: visitor.notes, headerBytes: 0 }
  const { seen } = visitor
  const opening = await server.open(jar)
  run.reads += 1
  if (world.elapsed() === at) run.cached += 1
  const floor = [...store.history(visitor.id.key)]
  if (opening.outcome === 'regressed') violations.push(`regressed at ${at}: nothing was lost`)
  if (opening.outcome !== 'found') return
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

async function write(server: RunningStrategy, visitor: Visitor, value: number): Promise<void> {
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
async function revoke(run: Run, revoker: RunningStrategy, visitor: Visitor): Promise<void> {
  const ended = await revoker.revoke(visitor.id.key, {}).catch(() => false)
  if (!ended) return
  for (const server of run.servers) {
    const opening = await Promise.resolve(server.open({ ...visitor.id, notes: visitor.notes, headerBytes: 0 })).catch(() => undefined)
    if (opening?.outcome === 'found') run.violations.push('accepted after revoke had resolved')
  }
}

async function simulate(seed: number, faults: readonly Fault[] = [], leases: readonly number[] = []): Promise<Run> {
  const world = createVirtualWorld({ seed })
  const store = storeWorld(world, new Set(faults))
  const servers = Array.from({ length: SERVERS }, (_, index) => serverOf(world, store, leases[index] ?? LEASE_MS))
  const run: Run = { world, store, servers, violations: [], cached: 0, reads: 0 }
  const going = new Set<Promise<unknown>>()
  const go = (promise: Promise<unknown>): void => {
    // A broken connection fails a request; the visitor goes on.
    const done: Promise<unknown> = promise.catch(() => {}).finally(() => going.delete(done))
    going.add(done)
  }
  const visitors: Visitor[] = []
  for (let index = 0; index < VISITORS; index++) {
    const id = { id: `secret-${index}`, key: `key-${index}`, absoluteAt: Number.MAX_SAFE_INTEGER }
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
    go(
      Promise.resolve(servers[0]?.create(id, { meta, fields: new Map() })).then(
        (written) => (visitor.notes = [...(written?.jar.set ?? [])]),
      ),
    )
    visitors.push(visitor)
  }
  await world.advance(100)
  for (let step = 0; step < STEPS; step++) {
    const { random } = world
    const [server, visitor] = [random.pick(servers), random.pick(visitors)]
    if (random.chance(0.02)) store.breakChannels()
    if (random.chance(0.005)) go(revoke(run, server, visitor))
    else if (random.chance(0.15)) go(write(server, visitor, step))
    else go(read(run, server, visitor))
    await world.advance(random.between(0, 15))
  }
  await world.advance(2_000)
  expect(going.size).toBe(0)
  return run
}

async function catches(faults: readonly Fault[], leases: readonly number[] = []): Promise<string | undefined> {
  for (let seed = 1; seed <= SEEDS_TO_CATCH; seed++) {
    const { violations } = await simulate(seed, faults, leases)
    if (violations.length > 0) return violations[0]
  }
  return undefined
}

describe('dedicated - the near cache over a channel that announces changes', () => {
  test(`never stale for its own visitor, never longer than the lease for others, never after a revocation: ${SEEDS} seeds`, async () => {
    let [cached, reads] = [0, 0]
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = await simulate(seed)
      expect(run.violations, `seed ${seed}`).toEqual([])
      cached += run.cached
      reads += run.reads
    }
    // The promises would be easy to keep without a cache.
    expect(cached / reads).toBeGreaterThan(0.3)
  }, 120_000)

  test('the checker catches announcements that come after the ping', async () => expect(await catches(['unordered'])).toBeDefined())
  test('the checker catches announcements that are dropped', async () => expect(await catches(['dropped'])).toBeDefined())
  test('the checker catches a channel that breaks unnoticed', async () => expect(await catches(['silentBreak'])).toBeDefined())
  test('the checker catches a channel that is confirmed without being asked', async () =>
    expect(await catches(['unconfirmed', 'unordered'])).toBeDefined())
  test('the checker catches a server that waits less after a revocation than others trust their copies', async () => {
    expect(await catches(['unordered'], [10, LEASE_MS, LEASE_MS])).toBeDefined()
  })

  test('the signal of a session that another server ends aborts, others do not', async () => {
    const world = createVirtualWorld()
    const store = storeWorld(world)
    const ended: string[] = []
    const watching = serverOf(world, store, LEASE_MS, { isWatched: () => true, ended: (key) => void ended.push(key) })
    const other = serverOf(world, store, LEASE_MS)
    const now = world.runtime().now()
    const meta = {
      userId: undefined,
      createdAt: now,
      lastActiveAt: now,
      idleMs: 60_000,
      touchEveryMs: 60_000,
      absoluteAt: now + 60_000,
      persistent: false,
    }
    for (const key of ['a', 'b']) void watching.create({ id: 'secret', key, absoluteAt: meta.absoluteAt }, { meta, fields: new Map() })
    await world.advance(100)
    void other.revoke('a', {})
    await world.advance(200)
    expect(ended).toEqual(['a'])
  })
})
