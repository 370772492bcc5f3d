import { describe, expect, test } from 'vitest'
import type { Transport } from '../../src/seam.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { testCluster, type TestCluster, type Visitor } from './table-harness.ts'

const NODES = ['a', 'b', 'c'] as const
const SEEDS = 24
const APART_MS = 10_000
const HEALED_WITHIN_MS = 2_000

function copyOf(visitor: Visitor, cluster: TestCluster): Visitor {
  const copy = cluster.visitor()
  copy.id = visitor.id
  copy.notes = new Map(visitor.notes)
  return copy
}

/** What each server shows to the tabs of a visitor who wrote `left` on one side of a cut and `right` on the other. */
async function shownAfter(seed: number, strategy: (transport: Transport) => ReturnType<typeof affinity>): Promise<string[]> {
  const cluster = await testCluster({ strategy, seed, latencyMs: [0, 5] })
  const { random } = cluster.world
  const visitor = cluster.visitor()
  await visitor.create(random.pick(NODES), { before: 1 })
  for (const node of NODES) await visitor.read(node, 'before')
  cluster.network.partition(['a'], ['b', 'c'])
  await cluster.world.advance(APART_MS)
  const [left, right] = [copyOf(visitor, cluster), copyOf(visitor, cluster)]
  await left.write('a', { left: 1 })
  await right.write(random.pick(['b', 'c'] as const), { right: 1 })
  cluster.network.heal()
  await cluster.world.advance(HEALED_WITHIN_MS)
  const shown: string[] = []
  for (const node of NODES) {
    for (const tab of [left, right]) {
      const values = [await copyOf(tab, cluster).read(node, 'left'), await copyOf(tab, cluster).read(node, 'right')]
      shown.push(values.join(' '))
    }
  }
  return shown
}

describe('a server is cut off, both sides write to one session, and the cut heals', () => {
  // Two backups of one session may each follow another owner: the owners have to learn of each other through them.
  test.each([
    ['replication', (transport: Transport) => replication({ transport })],
    ['affinity, 1 backup', (transport: Transport) => affinity({ transport, backups: 1 })],
    ['affinity, 2 backups', (transport: Transport) => affinity({ transport, backups: 2 })],
  ])(`%s - every server has both writes within ${HEALED_WITHIN_MS} ms`, async (_, strategy) => {
    const wrong: string[] = []
    for (let seed = 1; seed <= SEEDS; seed++) {
      const shown = await shownAfter(seed, strategy)
      if (shown.some((values) => values !== '1 1')) wrong.push(`seed ${seed}: ${shown.join(', ')}`)
    }
    expect(wrong).toEqual([])
  })
})
