/** Servers that are whole engines, on a memory network under one virtual clock, and what may happen to them. */
import { type MemoryNetwork, memoryNetwork } from '../../src/transports/memory.ts'
import { createVirtualWorld, type Random, seededRandom, type VirtualRuntime, type VirtualWorld } from '../setup/virtual-runtime.ts'
import { carryOut } from './faults.ts'
import { History } from './history.ts'
import type { Mutation } from './mutation.ts'
import type { Plan } from './plan.ts'
import { beginServer, type SimServer } from './server.ts'

/** A server's own word that it lost touch outlives the cause by so much. */
const RECOVERY_MS = 700

export class World {
  readonly plan: Plan
  readonly clock: VirtualWorld
  readonly network: MemoryNetwork
  readonly history: History
  readonly random: Random
  /** Decides which frames are lost, or sent twice. */
  readonly luck: Random
  readonly servers = new Map<string, SimServer>()
  readonly #mutation: Mutation | undefined
  readonly #driver: VirtualRuntime
  readonly #skews = new Map<string, number>()
  readonly #held = new Set<string>()
  readonly #troubledAt = new Map<string, number>()
  #groups: readonly (readonly string[])[] = []
  readonly #returning = new Set<string>()
  isEnding = false

  constructor(plan: Plan, mutation?: Mutation) {
    this.plan = plan
    this.#mutation = mutation
    this.clock = createVirtualWorld({ seed: plan.seed })
    this.random = seededRandom(plan.seed ^ 0x5eed)
    this.history = new History(() => this.clock.elapsed())
    this.#driver = this.clock.runtime()
    const { downAfterMs, latencyMs, seed } = plan
    this.luck = seededRandom(seed ^ 0xd409)
    this.network = memoryNetwork({ runtime: this.clock.runtime(), seed, latencyMs, downAfterMs, relinkMs: 50 })
    plan.nodes.forEach((node, at) => this.#skews.set(node, plan.skewsMs[at] ?? 0))
  }

  get now(): number {
    return this.clock.elapsed()
  }

  later(ms: number, run: () => void): void {
    this.#driver.setTimer(ms, run)
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#driver.setTimer(ms, resolve))
  }

  /** A server that is down comes back after a while. */
  startLater(node: string, ms: number): void {
    this.#returning.add(node)
    this.later(ms, () => this.start(node))
  }

  /** Faults of the plan happen from now on. */
  planFaults(): void {
    for (const fault of this.plan.faults) this.later(fault.at, () => void (this.isEnding || carryOut(this, fault)))
  }

  server(node: string): SimServer {
    const server = this.servers.get(node)
    if (server === undefined) throw new Error(`no server ${node}`)
    return server
  }

  /** Servers that a balancer sends requests to. */
  serving(): SimServer[] {
    return [...this.servers.values()].filter(({ state }) => state === 'up' || state === 'paused')
  }

  // ------------------------------------------------------------------ life of a server

  start(node: string): void {
    const before = this.servers.get(node)
    if (before !== undefined && before.state !== 'down') return
    const run = (before?.run ?? 0) + 1
    this.#returning.delete(node)
    this.#changed(() => this.servers.set(node, this.#begin(node, run)))
    const server = this.server(node)
    this.history.fault('start', node, `run ${run}`)
    void server.sessions.ready().then(() => {
      if (server.state !== 'starting') return
      server.state = 'up'
      this.history.fault('ready', node)
    })
  }

  #begin(node: string, run: number): SimServer {
    const runtime = this.clock.runtime({ skewMs: this.#skews.get(node) ?? 0 })
    return beginServer({ world: this, mutation: this.#mutation, runtime, node, run })
  }

  crash(node: string): boolean {
    const server = this.server(node)
    if (server.state === 'down') return false
    this.history.fault('crash', node)
    this.#changed(() => {
      this.#unpause(server)
      this.#end(server)
      server.runtime.crash()
      this.network.crash(node)
    })
    return true
  }

  /** Its requests break off; what they did is unknown. */
  #end(server: SimServer): void {
    server.state = 'down'
    for (const [request, breakOff] of server.inFlight) {
      request.outcome = 'lost'
      request.endedAt = this.now
      breakOff()
    }
    server.inFlight.clear()
    for (const arrive of server.backlog.splice(0)) arrive()
    if (server.degraded !== undefined) server.degraded.to = Math.min(server.degraded.to, this.now)
  }

  leave(node: string, gone: () => void): void {
    const server = this.server(node)
    if (server.state !== 'up') return
    server.state = 'leaving'
    this.history.fault('leave', node)
    void server.sessions.close().then(() => {
      if (server.state !== 'leaving') return
      this.history.fault('left', node)
      this.#changed(() => {
        this.#end(server)
        server.runtime.crash()
      })
      gone()
    })
  }

  pause(node: string): boolean {
    const server = this.server(node)
    if (server.state !== 'up') return false
    this.history.fault('pause', node)
    this.#changed(() => {
      server.state = 'paused'
      server.runtime.pause()
      this.network.hold(node, '*')
      this.network.hold('*', node)
    })
    return true
  }

  resume(node: string): void {
    const server = this.server(node)
    if (server.state !== 'paused') return
    this.history.fault('resume', node)
    server.state = 'up'
    server.runtime.resume()
    // Requests in its socket may be read before what the other servers sent.
    const first = this.random.chance(0.5)
    if (first) for (const arrive of server.backlog.splice(0)) arrive()
    this.#changed(() => this.#unhold(node))
    if (!first) for (const arrive of server.backlog.splice(0)) arrive()
  }

  #unpause(server: SimServer): void {
    if (server.state === 'paused') this.#unhold(server.node)
  }

  #unhold(node: string): void {
    this.network.release(node, '*')
    this.network.release('*', node)
  }

  setClock(node: string, skewMs: number): void {
    this.history.fault('clock', node, `${skewMs} ms off`)
    this.#skews.set(node, skewMs)
    this.server(node).runtime.setSkew(skewMs)
  }

  // ------------------------------------------------------------------ the network

  partition(groups: readonly (readonly string[])[]): void {
    this.history.fault('partition', undefined, groups.map((group) => group.join(',')).join(' | '))
    this.#changed(() => {
      this.#groups = groups
      this.network.partition(...groups)
    })
  }

  heal(): void {
    if (this.#groups.length === 0) return
    this.history.fault('heal', undefined)
    this.#changed(() => {
      this.#groups = []
      this.network.heal()
    })
  }

  hold(from: string, to: string): void {
    this.history.fault('hold', undefined, `${from}→${to}`)
    this.#changed(() => {
      this.#held.add(`${from}→${to}`)
      this.network.hold(from, to)
    })
  }

  release(from: string, to: string): void {
    if (!this.#held.has(`${from}→${to}`)) return
    this.history.fault('release', undefined, `${from}→${to}`)
    this.#changed(() => {
      this.#held.delete(`${from}→${to}`)
      this.network.release(from, to)
    })
  }

  /** Servers that hear each other both ways, this one included. */
  #company(node: string): number {
    const group = this.#groups.find((list) => list.includes(node))
    const alive = (other: SimServer | undefined): boolean => other !== undefined && other.state !== 'down' && other.state !== 'paused'
    if (!alive(this.servers.get(node))) return 0
    return this.plan.nodes.filter(
      (other) =>
        other === node ||
        (alive(this.servers.get(other)) &&
          (group === undefined || group.includes(other)) &&
          !this.#held.has(`${node}→${other}`) &&
          !this.#held.has(`${other}→${node}`)),
    ).length
  }

  #isTroubled(node: string): boolean {
    const slow = [...this.#held].some((path) => path.startsWith(`${node}→`) || path.endsWith(`→${node}`))
    return slow || this.#company(node) * 2 <= this.plan.nodes.length
  }

  #changed(change: () => void): void {
    const look = (): void => {
      for (const node of this.plan.nodes) if (this.#isTroubled(node)) this.#troubledAt.set(node, this.now)
    }
    look()
    change()
    look()
  }

  /** The server may not, or cannot yet again, be in touch with a majority. */
  isImpaired(node: string): boolean {
    return this.#isTroubled(node) || this.now - (this.#troubledAt.get(node) ?? Number.NEGATIVE_INFINITY) < RECOVERY_MS
  }

  /** Everything that can heal does; servers that were to come back are started. */
  healAll(): void {
    this.isEnding = true
    for (const path of [...this.#held]) {
      const [from = '', to = ''] = path.split('→')
      this.release(from, to)
    }
    this.heal()
    for (const node of this.plan.nodes) this.resume(node)
    for (const node of this.#returning) this.start(node)
    // The dead may stay dead, but a majority has to live.
    const isDown = (node: string): boolean => this.server(node).state === 'down'
    for (const node of this.plan.nodes.filter(isDown)) {
      if (this.plan.nodes.filter(isDown).length * 2 >= this.plan.nodes.length) this.start(node)
    }
    this.history.fault('all healed', undefined)
  }

  get isSettled(): boolean {
    return [...this.servers.values()].every(({ node, state }) => state === 'up' || (state === 'down' && !this.#returning.has(node)))
  }

  /** Advances the clock until the work is done. */
  async run<T>(work: Promise<T>, limitMs = 30_000): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    work.then(mark, mark)
    await this.clock.settle()
    if (!settled) await this.clock.advanceUntil(() => settled, limitMs, 'the work is done')
    return work
  }
}
