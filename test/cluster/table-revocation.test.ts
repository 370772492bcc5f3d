import { describe, expect, test } from 'vitest'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import type { Peer, Transport } from '../../src/seam.ts'
import { codeOf, testCluster, type TestCluster } from './table-harness.ts'

const STRATEGIES = {
  replication: (transport: Transport, whenCutOff: 'continue' | 'fail' = 'continue') => replication({ transport, whenCutOff }),
  affinity: (transport: Transport, whenCutOff: 'continue' | 'fail' = 'continue') => affinity({ transport, whenCutOff }),
}

/** Virtual milliseconds that the work took. */
async function timed(cluster: TestCluster, work: () => Promise<unknown>): Promise<number> {
  const from = cluster.world.elapsed()
  await cluster.run(work())
  return cluster.world.elapsed() - from
}

describe.each(Object.entries(STRATEGIES))('revocation - %s', (_, strategy) => {
  const start = (whenCutOff?: 'continue' | 'fail'): Promise<TestCluster> =>
    testCluster({ strategy: (transport) => strategy(transport, whenCutOff), latencyMs: 2 })

  test('with all servers there it takes one round trip, and then no server accepts the session', async () => {
    const cluster = await start()
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await visitor.found('b')
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(visitor.key, {}))).toBeLessThanOrEqual(10)
    for (const node of ['a', 'b', 'c']) expect(await visitor.open(node)).toMatchObject({ outcome: 'gone' })
  })

  test('a server that the revoker cannot reach learns it from the others before the revocation resolves', async () => {
    const cluster = await start()
    const visitor = cluster.visitor()
    await visitor.create('c', { n: 1 })
    cluster.network.hold('a', 'c')
    cluster.network.hold('c', 'a')
    const revoked = cluster.server('b').strategy.get(visitor.key)
    await cluster.run(Promise.resolve(revoked))
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(visitor.key, {}))).toBeLessThanOrEqual(700)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone' })
  })

  test('a paused server does not accept it when it returns, and the revocation does not wait for it for longer than a second', async () => {
    const cluster = await start()
    const visitor = cluster.visitor()
    await visitor.create('c', { n: 1 })
    await visitor.found('a')
    // Stopped: nothing goes in or out, and what was sent waits in its sockets.
    for (const node of ['a', 'b']) {
      cluster.network.hold('c', node)
      cluster.network.hold(node, 'c')
    }
    cluster.server('c').runtime.pause()
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(visitor.key, {}))).toBeLessThanOrEqual(1_000)
    await cluster.world.advance(2_000)
    cluster.server('c').runtime.resume()
    // The request is handled before anything that waits in the sockets.
    const opening = Promise.resolve(cluster.server('c').strategy.open(visitor.jar()))
    cluster.network.release()
    expect(await cluster.run(opening)).toMatchObject({ outcome: 'gone' })
  })

  test.each(['continue', 'fail'] as const)('cut off from all: %s', async (whenCutOff) => {
    const cluster = await start(whenCutOff)
    const visitor = cluster.visitor()
    await visitor.create('c', { n: 1 })
    await visitor.found('a')
    cluster.network.partition(['a', 'b'], ['c'])
    await cluster.world.advance(100)
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(visitor.key, {}))).toBeLessThanOrEqual(1_000)
    const open = (): Promise<string> => codeOf(visitor.open('c').then((opening) => Promise.reject(new Error(opening.outcome))))
    expect(await open()).toBe(whenCutOff === 'fail' ? 'SESSION_UNAVAILABLE' : 'not ours: Error: found')
    expect(await cluster.server('c').strategy.status()).toMatchObject({ details: { inContact: false } })
    cluster.network.heal()
    await cluster.world.advance(1_000)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone' })
    expect(await cluster.server('c').strategy.status()).toMatchObject({ details: { inContact: true } })
  })

  test('the survivors of a death end sessions, at once after the lease', async () => {
    const cluster = await start()
    const [first, second] = [cluster.visitor(), cluster.visitor()]
    await first.create('a', { n: 1 })
    await second.create('a', { n: 1 })
    await cluster.kill('c')
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(first.key, {}))).toBeLessThanOrEqual(600)
    await cluster.world.advance(1_000)
    expect(await timed(cluster, () => cluster.server('a').strategy.revoke(second.key, {}))).toBeLessThanOrEqual(10)
    expect(await first.open('b')).toMatchObject({ outcome: 'gone' })
    expect(await second.open('b')).toMatchObject({ outcome: 'gone' })
  })

  test('a server that starts anew does not accept it', async () => {
    const cluster = await start()
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await cluster.kill('c')
    await cluster.run(cluster.server('a').strategy.revoke(visitor.key, {}))
    await cluster.add('c')
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone' })
  })

  test('a link that breaks while the revocation waits for its answer does not count as told', async () => {
    const wraps = new Map<string, Transport>()
    const cluster = await testCluster({ strategy: (transport) => strategy(named(transport, wraps)), latencyMs: 2 })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await visitor.found('c')
    const [incarnation] = (wraps.get('a') as Transport)
      .peers()
      .filter(({ node }) => node === 'c')
      .map((peer) => peer.incarnation)
    for (const node of ['a', 'b']) cluster.network.hold(node, 'c')
    const from = cluster.world.elapsed()
    let took = -1
    void cluster
      .server('a')
      .strategy.revoke(visitor.key, {})
      .then(() => (took = cluster.world.elapsed() - from))
    await cluster.world.advance(55)
    wraps.get('a')?.refuse(String(incarnation), 'reset by peer')
    await cluster.world.advance(200)
    expect(took).toBe(-1)
    await cluster.world.advance(1_000)
    expect(took).toBeGreaterThan(300)
  })

  test('an ending that a full queue refused is sent as soon as there is room', async () => {
    let isFull = false
    const full = (transport: Transport): Transport => ({ ...transport, send: (to, frame) => !isFull && transport.send(to, frame) })
    const cluster = await testCluster({ strategy: (transport) => strategy(full(transport)), nodes: ['a', 'c'], latencyMs: 2 })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await visitor.found('c')
    isFull = true
    const revoking = cluster.server('a').strategy.revoke(visitor.key, {})
    await cluster.world.advance(100)
    isFull = false
    await cluster.world.advance(30)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone' })
    await cluster.run(revoking)
  })

  test('a server that the revoker has never known is told by those that know it', async () => {
    const wraps = new Map<string, Transport>()
    const apart = new Set(['a', 'c'])
    const cluster = await testCluster({
      strategy: (transport) => strategy(named(transport, wraps, apart)),
      nodes: ['c', 'b', 'a'],
      latencyMs: 2,
    })
    const visitor = cluster.visitor()
    await visitor.create('b', { n: 1 })
    await visitor.found('c')
    await visitor.found('a')
    await cluster.run(cluster.server('a').strategy.revoke(visitor.key, {}))
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone' })
  })

  test('servers that start at about the same time get in contact: 40 seeds', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const cluster = await testCluster({ strategy: (transport) => strategy(transport, 'fail'), nodes: [], seed, latencyMs: [1, 5] })
      for (const node of ['a', 'b', 'c']) {
        cluster.start(node)
        await cluster.world.advance(cluster.world.random.between(0, 20))
      }
      await cluster.world.advance(10_000)
      for (const { strategy: running } of cluster.servers.values()) {
        expect(await running.status(), `seed ${seed}`).toMatchObject({ details: { inContact: true } })
      }
    }
  })
})

/** Remembers each server's transport; the servers named in `apart` never learn of each other. */
function named(transport: Transport, wraps: Map<string, Transport>, apart: ReadonlySet<string> = new Set()): Transport {
  return {
    ...transport,
    start(handlers) {
      const { node } = handlers.self
      wraps.set(node, transport)
      const isHidden = (peer: Peer): boolean => apart.has(node) && apart.has(peer.node)
      return transport.start({
        ...handlers,
        up: (peer) => isHidden(peer) || handlers.up(peer),
        down: (peer, why) => isHidden(peer) || handlers.down(peer, why),
        frame: (peer, frame) => isHidden(peer) || handlers.frame(peer, frame),
      })
    },
  }
}
