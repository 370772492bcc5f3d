import { describe, expect, test } from 'vitest'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { change, testCluster, valueOf, type TestCluster, type Visitor } from './table-harness.ts'

/** One visitor with two tabs and one jar; every request goes to a random server. */
async function tabs(cluster: TestCluster, visitor: Visitor, requests: number, base = 0): Promise<{ stale: number; reads: number }> {
  const { random } = cluster.world
  /** Per field the highest value an answer has brought into the jar. */
  const seen = new Map<string, number>()
  let stale = 0
  let reads = 0
  const see = (field: string, value: number): void => void seen.set(field, Math.max(seen.get(field) ?? 0, value))

  async function tab(name: string): Promise<void> {
    for (let request = 1; request <= requests; request++) {
      const server = cluster.server(random.pick([...cluster.servers.keys()]))
      const floor = new Map(seen)
      const opening = await server.strategy.open(visitor.jar())
      if (opening.outcome !== 'found') throw new Error(`${opening.outcome} at ${server.node}`)
      const { opened } = opening
      const values = new Map<string, number>()
      for (const field of ['x', 'y']) {
        const value = (valueOf(opened, field) as number | undefined) ?? 0
        values.set(field, value)
        reads++
        if (value < (floor.get(field) ?? 0)) stale++
      }
      if (random.chance(0.5)) {
        const done = await server.strategy.write(opened, change(server, { [name]: base + request }))
        visitor.take(done.jar)
        see(name, base + request)
      } else {
        visitor.take(server.strategy.settle(opened, true))
      }
      for (const [field, value] of values) see(field, value)
      if (random.chance(0.3)) await new Promise<void>((resolve) => void server.runtime.setTimer(random.between(0, 20), resolve))
    }
  }
  await cluster.run(Promise.all([tab('x'), tab('y')]), 3_600_000)
  return { stale, reads }
}

describe('0 stale reads over seeded rounds of parallel tabs on slow, lossy and lopsided links', () => {
  for (const [name, strategy] of [
    ['replication, acks 0', (transport: never) => replication({ transport, acks: 0 })],
    ['replication', (transport: never) => replication({ transport })],
    ['replication, 2 copies', (transport: never) => replication({ transport, copies: 2 })],
    ['affinity', (transport: never) => affinity({ transport })],
  ] as const) {
    test(`${name}`, async () => {
      let reads = 0
      for (let seed = 1; seed <= 12; seed++) {
        const cluster = await testCluster({ strategy, seed, latencyMs: [0, 6], nodes: ['a', 'b', 'c', 'd'] })
        cluster.network.faults('a', 'c', { latencyMs: [20, 80] })
        cluster.network.faults('b', 'd', { latencyMs: [0, 40], reorder: 0.2, duplicate: 0.1, drop: seed % 2 === 0 ? 0.02 : 0 })
        const visitor = cluster.visitor()
        await visitor.create('a', { x: 0, y: 0 })
        const result = await tabs(cluster, visitor, 60)
        expect(result.stale, `seed ${seed}`).toBe(0)
        expect(visitor.notes.size).toBeLessThanOrEqual(4)
        reads += result.reads
      }
      expect(reads).toBeGreaterThan(2_000)
    })
  }

  test('and through kills and restarts, with no acknowledged write lost', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const cluster = await testCluster({
        strategy: (transport: never) => replication({ transport }),
        seed,
        latencyMs: [0, 6],
        nodes: ['a', 'b', 'c'],
      })
      const visitor = cluster.visitor()
      await visitor.create('a', { x: 0, y: 0 })
      for (let round = 0; round < 4; round++) {
        expect((await tabs(cluster, visitor, 10, round * 10)).stale, `seed ${seed}`).toBe(0)
        const victim = ['a', 'b', 'c'][(seed + round) % 3] as string
        const before = await visitor.found(cluster.world.random.pick(['a', 'b', 'c']))
        await cluster.kill(victim)
        const rest = [...cluster.servers.keys()]
        for (const node of rest) {
          const after = await visitor.found(node)
          for (const field of ['x', 'y']) expect(valueOf(after, field)).toBe(valueOf(before, field))
        }
        await cluster.add(victim)
      }
    }
  })
})
