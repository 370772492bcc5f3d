/** Servers of one strategy on a memory network under a virtual clock, and visitors whose jars behave as a browser's. */
import { deriveKeys, keyOfId } from '../../src/core/keys.ts'
import { SessionError } from '../../src/errors.ts'
import type {
  Change,
  Draft,
  EndReason,
  Jar,
  JarDelta,
  MaybePromise,
  Note,
  Opened,
  Opening,
  RunningStrategy,
  SessionId,
  SessionStrategy,
  StrategyContext,
  Transport,
  Written,
} from '../../src/seam.ts'
import { memoryNetwork, type MemoryNetwork, type MemoryNetworkOptions } from '../../src/transports/memory.ts'
import type { SessionEvent } from '../../src/types.ts'
import { createVirtualWorld, type VirtualRuntime, type VirtualWorld } from '../setup/virtual-runtime.ts'

export const keys = deriveKeys(['a secret for tests of at least 32 bytes'], 'session')
export const HOUR = 3_600_000

export interface TestServer {
  readonly node: string
  readonly strategy: RunningStrategy
  readonly runtime: VirtualRuntime
  readonly events: SessionEvent[]
  readonly ended: [string, EndReason][]
  readonly warnings: string[]
}

export interface TestCluster {
  readonly world: VirtualWorld
  readonly network: MemoryNetwork
  readonly servers: Map<string, TestServer>
  /** Starts a server and lets it become ready. */
  add(node: string): Promise<TestServer>
  /** Starts a server without waiting. */
  start(node: string): TestServer
  server(node: string): TestServer
  kill(node: string): Promise<void>
  visitor(): Visitor
  /** Advances the clock until the promise has settled. */
  run<T>(work: MaybePromise<T>, limitMs?: number): Promise<T>
}

export interface ClusterOptions extends MemoryNetworkOptions {
  strategy(transport: Transport): SessionStrategy
  nodes?: readonly string[]
}

export async function testCluster({ nodes = ['a', 'b', 'c'], seed = 1, strategy, ...options }: ClusterOptions): Promise<TestCluster> {
  const world = createVirtualWorld({ seed })
  const network = memoryNetwork({ runtime: world.runtime(), seed, ...options })
  const servers = new Map<string, TestServer>()

  function start(node: string): TestServer {
    const runtime = world.runtime()
    const server: TestServer = { node, runtime, events: [], ended: [], warnings: [], strategy: undefined as never }
    const context: StrategyContext = {
      node,
      runtime,
      keys,
      cookieName: 'session',
      limits: { sessionBytes: 65_536 },
      emit: (type, event = {}) => void server.events.push({ type, at: runtime.now(), node, ...event }),
      ended: (key, reason) => void server.ended.push([key, reason]),
      logger: { warn: (text: string) => void server.warnings.push(text), error: (text: string) => void server.warnings.push(text) },
    }
    Object.assign(server, { strategy: strategy(network.join()).start(context) })
    servers.set(node, server)
    return server
  }

  async function run<T>(work: MaybePromise<T>, limitMs = 20_000): Promise<T> {
    let settled = false
    const promise = Promise.resolve(work)
    const mark = (): void => {
      settled = true
    }
    promise.then(mark, mark)
    await world.settle()
    if (!settled) await world.advanceUntil(() => settled, limitMs, 'the promise settles')
    return promise
  }

  async function add(node: string): Promise<TestServer> {
    const server = start(node)
    await run(server.strategy.ready())
    await world.advance(50)
    return server
  }

  const cluster: TestCluster = {
    world,
    network,
    servers,
    start,
    add,
    run,
    server: (node) => {
      const server = servers.get(node)
      if (server === undefined) throw new Error(`no server ${node}`)
      return server
    },
    async kill(node) {
      cluster.server(node).runtime.crash()
      network.crash(node)
      servers.delete(node)
      await world.settle()
    },
    visitor: () => new Visitor(cluster),
  }
  for (const node of nodes) start(node)
  for (const server of servers.values()) await run(server.strategy.ready())
  await world.advance(100)
  return cluster
}

export class Visitor {
  readonly cluster: TestCluster
  id: SessionId | undefined
  notes = new Map<string, string>()
  route: string | undefined

  constructor(cluster: TestCluster) {
    this.cluster = cluster
  }

  get key(): string {
    return (this.id as SessionId).key
  }

  jar(): Jar {
    const notes: Note[] = [...this.notes].map(([name, value]) => ({ name, value }))
    return { ...(this.id as SessionId), notes, headerBytes: 0 }
  }

  take(delta: JarDelta | undefined): void {
    if (delta === undefined) return
    for (const name of delta.delete) this.notes.delete(name)
    for (const { name, value } of delta.set) this.notes.set(name, value)
    if (delta.route !== undefined) this.route = delta.route
  }

  newId(absoluteMs = HOUR): SessionId {
    const bytes = this.cluster.world.random.bytes(16)
    const { world } = this.cluster
    return { id: bytes.toString('base64url'), key: keyOfId(bytes), absoluteAt: world.runtime().now() + absoluteMs }
  }

  async create(node: string, fields: Record<string, unknown> = {}, meta: Partial<Draft['meta']> = {}): Promise<void> {
    const server = this.cluster.server(node)
    const id = this.newId()
    const done = await this.cluster.run(server.strategy.create(id, draft(server, id, fields, meta)))
    this.id = id
    this.take(done.jar)
  }

  open(node: string): Promise<Opening> {
    return this.cluster.run(this.cluster.server(node).strategy.open(this.jar()))
  }

  async found(node: string): Promise<Opened> {
    const opening = await this.open(node)
    if (opening.outcome !== 'found') throw new Error(`not found at ${node}: ${JSON.stringify({ ...opening, opened: undefined })}`)
    return opening.opened
  }

  async write(node: string, fields: Record<string, unknown>, add: Record<string, number> = {}): Promise<Written> {
    const opened = await this.found(node)
    const done = await this.cluster.run(this.cluster.server(node).strategy.write(opened, change(this.cluster.server(node), fields, add)))
    this.take(done.jar)
    return done
  }

  async read(node: string, field: string): Promise<unknown> {
    const opened = await this.found(node)
    this.take(this.cluster.server(node).strategy.settle(opened, true))
    return valueOf(opened, field)
  }
}

export function valueOf(opened: Opened, field: string): unknown {
  const text = opened.record.get(field)
  return text === undefined ? undefined : JSON.parse(text)
}

export function draft(server: TestServer, id: SessionId, fields: Record<string, unknown>, meta: Partial<Draft['meta']> = {}): Draft {
  const now = server.runtime.now()
  const base = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 1_800_000,
    touchEveryMs: 90_000,
    absoluteAt: id.absoluteAt,
    persistent: false,
  }
  return { meta: { ...base, ...meta }, fields: new Map(Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value)])) }
}

export function change(server: TestServer, fields: Record<string, unknown>, add: Record<string, number> = {}): Change {
  return {
    set: new Map(Object.entries(fields).map(([name, value]) => [name, value === undefined ? undefined : JSON.stringify(value)])),
    add: new Map(Object.entries(add).map(([name, by]) => [name, { by, from: 0 }])),
    touchAt: server.runtime.now(),
  }
}

export function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'resolved',
    (error: unknown) => (SessionError.is(error) ? error.code : `not ours: ${String(error)}`),
  )
}
