/** Expiry under wrong clocks, by whole engines: roots, records and sweeps go by one time. */
import { describe, expect, test } from 'vitest'
import { createSessionsWith } from '../../src/sessions.ts'
import type { Transport } from '../../src/seam.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import type { SessionEvent, Sessions } from '../../src/types.ts'
import { createVirtualWorld, type VirtualRuntime, type VirtualWorld } from '../setup/virtual-runtime.ts'

const STRATEGIES = {
  replication: (transport: Transport) => replication({ transport }),
  affinity: (transport: Transport) => affinity({ transport }),
}
const HOUR = 3_600_000
/** Short lives: each server asks the others eight times a second, and hours of that take long. */
const IDLE_MS = 10_000
const SECRET = 'a secret for tests of at least 32 bytes'

interface Server {
  readonly runtime: VirtualRuntime
  readonly sessions: Sessions<Record<string, unknown>>
}

class Cluster {
  readonly world: VirtualWorld = createVirtualWorld({ seed: 1 })
  readonly events: SessionEvent[] = []
  readonly #network = memoryNetwork({ runtime: this.world.runtime(), latencyMs: 1 })
  readonly #servers = new Map<string, Server>()
  readonly #strategy: (typeof STRATEGIES)[keyof typeof STRATEGIES]

  constructor(strategy: (typeof STRATEGIES)[keyof typeof STRATEGIES]) {
    this.#strategy = strategy
  }

  start(node: string, skewMs: number): void {
    const runtime = this.world.runtime({ skewMs })
    const options = {
      node,
      secrets: SECRET,
      strategy: this.#strategy(this.#network.join()),
      lifetime: { idleMs: IDLE_MS, absoluteMs: 12 * IDLE_MS, touchEveryMs: 500 },
      cookie: { name: 'session', secure: false },
      onEvent: (event: SessionEvent) => void this.events.push(event),
    }
    this.#servers.set(node, { runtime, sessions: createSessionsWith<Record<string, unknown>>(options, runtime) })
  }

  kill(node: string): void {
    this.server(node).runtime.crash()
    this.#network.crash(node)
    this.#servers.delete(node)
  }

  server(node: string): Server {
    return this.#servers.get(node) as Server
  }

  /** Opens, perhaps writes, and answers; whether there was a session. */
  async request(node: string, jar: BrowserJar, n?: number): Promise<boolean> {
    let done = false
    const work = (async () => {
      const open = await this.server(node).sessions.open(jar.request())
      if (n !== undefined) open.session.data.n = n
      const { cookies } = open.needsCommit() ? await open.commit() : open.settle()
      jar.take(cookies)
      return !open.session.isNew
    })().finally(() => {
      done = true
    })
    await this.world.settle()
    if (!done) await this.world.advanceUntil(() => done, 10_000, 'the request is answered')
    return work
  }

  expired(): SessionEvent[] {
    return this.events.filter(({ type }) => type === 'expired')
  }
}

async function startAll(strategy: (typeof STRATEGIES)[keyof typeof STRATEGIES], skews: Readonly<Record<string, number>>): Promise<Cluster> {
  const cluster = new Cluster(strategy)
  for (const [node, skewMs] of Object.entries(skews)) cluster.start(node, skewMs)
  await cluster.world.advance(1_000)
  return cluster
}

describe.each(Object.entries(STRATEGIES))('clocks - %s', (_, strategy) => {
  test.each([
    ['one is five hours ahead', { a: 0, b: 5 * HOUR, c: 0 }],
    ['one is five hours behind', { a: 0, b: -5 * HOUR, c: 0 }],
    ['none agrees with another', { a: -3 * HOUR, b: 5 * HOUR, c: HOUR }],
    ['two of two differ', { a: 0, b: 4 * HOUR }],
    ['they are 20 s apart', { a: 0, b: 20_000, c: 40_000 }],
  ])('%s: nobody expires early or late, and one event tells', async (__, skews) => {
    const cluster = await startAll(strategy, skews)
    const nodes = Object.keys(skews)
    for (const maker of nodes.slice(0, 2)) {
      const jar = new BrowserJar()
      await cluster.request(maker, jar, 1)
      for (const node of nodes) {
        await cluster.world.advance(IDLE_MS - 600)
        expect(await cluster.request(node, jar)).toBe(true)
      }
      expect(cluster.expired()).toEqual([])
      await cluster.world.advance(IDLE_MS + 20)
      for (const node of nodes) expect(await cluster.request(node, jar.copy())).toBe(false)
      await cluster.world.advance(IDLE_MS + 1_000)
      expect(cluster.expired().splice(0)).toHaveLength(1)
      cluster.events.splice(0)
    }
  })

  test('a clock that jumps, with everybody else running on, expires nobody', async () => {
    const cluster = await startAll(strategy, { a: 0, b: 0, c: 0 })
    const jar = new BrowserJar()
    await cluster.request('a', jar, 1)
    cluster.server('a').runtime.setSkew(6 * HOUR)
    cluster.server('b').runtime.setSkew(-6 * HOUR)
    await cluster.world.advance(IDLE_MS / 2)
    for (const node of ['a', 'b', 'c']) expect(await cluster.request(node, jar)).toBe(true)
    expect(cluster.expired()).toEqual([])
  })

  test('the good clocks may go and a server with a wrong one may join: it takes the time of those that hold sessions', async () => {
    const cluster = await startAll(strategy, { a: 0, b: 0 })
    const jar = new BrowserJar()
    await cluster.request('a', jar, 1)
    cluster.start('c', 9 * HOUR)
    await cluster.world.advance(IDLE_MS / 5)
    expect(await cluster.request('c', jar, 2)).toBe(true)
    cluster.kill('a')
    await cluster.world.advance(IDLE_MS - 600)
    for (const node of ['b', 'c']) expect(await cluster.request(node, jar)).toBe(true)
    expect(cluster.expired()).toEqual([])
  })
})
