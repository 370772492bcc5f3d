import { describe, expect, test } from 'vitest'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { change, testCluster, type ClusterOptions, valueOf } from './table-harness.ts'

const ADDITIONS = 200
const AT_ONCE = 6

/** Additions of one visitor by parallel requests at random servers; what the servers read in the end. */
async function sumAfter(seed: number, strategy: ClusterOptions['strategy']): Promise<unknown[]> {
  const cluster = await testCluster({ strategy, seed, latencyMs: [0, 6] })
  const { random } = cluster.world
  const nodes = [...cluster.servers.keys()]
  const visitor = cluster.visitor()
  await visitor.create('a', { visits: 0 })
  let left = ADDITIONS
  async function lane(): Promise<void> {
    while (left-- > 0) {
      const server = cluster.server(random.pick(nodes))
      const opening = await server.strategy.open(visitor.jar())
      if (opening.outcome !== 'found') throw new Error(`seed ${seed}: ${opening.outcome}`)
      await new Promise<void>((resolve) => void server.runtime.setTimer(random.between(0, 4), resolve))
      const { jar } = await server.strategy.write(opening.opened, change(server, {}, { visits: 1 }))
      await new Promise<void>((resolve) => void server.runtime.setTimer(random.between(0, 8), resolve))
      visitor.take(jar)
    }
  }
  await cluster.run(Promise.all(Array.from({ length: AT_ONCE }, lane)), 600_000)
  const sums: unknown[] = []
  for (const node of nodes) sums.push(valueOf(await visitor.found(node), 'visits'))
  return sums
}

async function wrongSums(strategy: ClusterOptions['strategy']): Promise<string[]> {
  const wrong: string[] = []
  for (let seed = 1; seed <= 60; seed++) {
    const sums = await sumAfter(seed, strategy)
    if (sums.some((sum) => sum !== ADDITIONS)) wrong.push(`seed ${seed}: ${sums.join(', ')}`)
  }
  return wrong
}

describe('parallel additions while the session moves between servers sum exactly', () => {
  test('replication', async () => {
    expect(await wrongSums((transport) => replication({ transport }))).toEqual([])
  })

  // A server that dropped its copy may take over one that lacks its own latest write: it must not count on under the same origin.
  test('affinity', async () => {
    expect(await wrongSums((transport) => affinity({ transport }))).toEqual([])
  })
})
