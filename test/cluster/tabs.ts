/** One visitor with two tabs before servers in one process, under a virtual clock: a seed, a run. */
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { createSessionsWith } from '../../src/sessions.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { type Data, request } from '../../src/testing/visit.ts'
import { memoryNetwork, type MemoryNetwork } from '../../src/transports/memory.ts'
import type { Sessions } from '../../src/types.ts'
import { createVirtualWorld, type Random, type VirtualRuntime, type VirtualWorld } from '../setup/virtual-runtime.ts'
import { ReadHistory, type StaleRead, type Values } from './reads.ts'
import { COOKIE_NAME, SECRET, type TabJar } from './token-jars.ts'

const NODES = ['a', 'b', 'c', 'd'] as const
const ROUNDS_PER_VISITOR = 25
const ROUND_LIMIT_MS = 60_000
const FIELDS = ['left', 'right'] as const

export interface TabsOptions {
  readonly rounds: number
  readonly seed: number
  /** One for each server; `transport` joins them, for strategies that need it. */
  strategy(transport: () => Transport): SessionStrategy
  /** Default: a browser's. */
  jar?(runtime: VirtualRuntime): TabJar
}

export interface TabsResult {
  readonly rounds: number
  readonly reads: number
  readonly stale: readonly StaleRead[]
  /** Rounds in which at least one read was stale. */
  readonly staleRounds: number
}

interface Server {
  readonly node: string
  readonly sessions: Sessions<Data>
}

interface Stage {
  readonly world: VirtualWorld
  readonly network: MemoryNetwork
  readonly servers: readonly Server[]
  readonly client: VirtualRuntime
}

export async function runTabs(options: TabsOptions): Promise<TabsResult> {
  const stage = await build(options)
  const { world, servers } = stage
  const stale: StaleRead[] = []
  let reads = 0
  let staleRounds = 0
  for (let done = 0; done < options.rounds; done += ROUNDS_PER_VISITOR) {
    const visitor = new TwoTabs(stage, options.jar?.(stage.client) ?? new BrowserJar())
    await finish(world, visitor.arrive())
    let before = 0
    for (let round = 1; round <= Math.min(ROUNDS_PER_VISITOR, options.rounds - done); round++) {
      await finish(world, visitor.round(round))
      const found = visitor.history.staleReads().length
      if (found > before) staleRounds++
      before = found
    }
    reads += visitor.history.reads
    stale.push(...visitor.history.staleReads())
  }
  await finish(world, Promise.all(servers.map(({ sessions }) => sessions.close())))
  return { rounds: options.rounds, reads, stale, staleRounds }
}

async function build({ seed, strategy }: TabsOptions): Promise<Stage> {
  const world = createVirtualWorld({ seed })
  const network = memoryNetwork({ runtime: world.runtime(), seed, latencyMs: [0, 2] })
  const servers = NODES.map((node) => {
    const base = { secrets: SECRET, node, cookie: { name: COOKIE_NAME, secure: false }, logger: { warn: () => {}, error: () => {} } }
    return { node, sessions: createSessionsWith<Data>({ ...base, strategy: strategy(() => network.join()) }, world.runtime()) }
  })
  await finish(world, Promise.all(servers.map(({ sessions }) => sessions.ready())))
  await world.advance(100)
  return { world, network, servers, client: world.runtime() }
}

/** Lets virtual time pass until the work is done. */
async function finish<T>(world: VirtualWorld, work: Promise<T>): Promise<T> {
  let settled = false
  const mark = (): void => {
    settled = true
  }
  work.then(mark, mark)
  await world.advanceUntil(() => settled, ROUND_LIMIT_MS, 'the round ends')
  return work
}

class TwoTabs {
  readonly history: ReadHistory = new ReadHistory()
  readonly #stage: Stage
  readonly #random: Random
  readonly #jar: TabJar

  constructor(stage: Stage, jar: TabJar) {
    this.#stage = stage
    this.#random = stage.world.random
    this.#jar = jar
  }

  async arrive(): Promise<void> {
    const { sessions } = this.#random.pick(this.#stage.servers)
    const { cookies } = await request(sessions, this.#jar.request(), ({ data }) => void Object.assign(data, { left: 0, right: 0 }))
    this.#take(cookies, { left: 0, right: 0 })
  }

  /** Both tabs write at once, at two servers; the next request reads at a third that one of them reaches late. */
  async round(round: number): Promise<void> {
    const [left, right, reader] = this.#threeServers()
    const isLate = this.#linkIsLate(this.#random.pick([left, right]), reader)
    const writes = [this.#write(left, 'left', round), this.#write(right, 'right', round)]
    // Mostly the visitor reads when both answers are there; sometimes the second one is still on its way.
    await (this.#random.chance(0.8) ? Promise.all(writes) : Promise.race(writes))
    await this.#read(reader)
    await Promise.all([...writes, isLate])
  }

  #threeServers(): [Server, Server, Server] {
    const left = [...this.#stage.servers]
    const draw = (): Server => left.splice(this.#random.between(0, left.length - 1), 1)[0] as Server
    return [draw(), draw(), draw()]
  }

  async #linkIsLate(from: Server, to: Server): Promise<void> {
    const { network } = this.#stage
    network.hold(from.node, to.node)
    await this.#sleep(10, 120)
    network.release(from.node, to.node)
  }

  async #write(server: Server, field: (typeof FIELDS)[number], value: number): Promise<void> {
    await this.#sleep(0, 4)
    await this.#request(server, async (data) => {
      await this.#sleep(0, 3)
      data[field] = value
      return { [field]: value }
    })
  }

  async #read(server: Server): Promise<void> {
    await this.#request(server, () => ({}))
  }

  async #request(server: Server, handle: (data: Data) => Values | Promise<Values>): Promise<void> {
    const sent = this.history.sent()
    const { cookies, result } = await request(server.sessions, this.#jar.request(), async ({ data }) => {
      const seen = Object.fromEntries(FIELDS.filter((field) => field in data).map((field) => [field, data[field] as number]))
      this.history.read(sent, seen)
      return { ...seen, ...(await handle(data)) }
    })
    // The answers of both tabs reach the browser in any order.
    await this.#sleep(0, 8)
    this.#take(cookies, result)
  }

  #take(cookies: readonly string[], values: Values): void {
    this.#jar.take(cookies)
    this.history.taken(values)
  }

  #sleep(from: number, to: number): Promise<void> {
    const ms = this.#random.between(from, to)
    return new Promise((resolve) => void this.#stage.client.setTimer(ms, resolve))
  }
}
