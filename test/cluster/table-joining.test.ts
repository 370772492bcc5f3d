import { expect, test } from 'vitest'
import { replication } from '../../src/strategies/replication.ts'
import { type TestCluster, testCluster } from './table-harness.ts'

const SESSIONS = 400
const VALUE = 'x'.repeat(500)
/** What a session takes beside its data, and what servers say to each other meanwhile. */
const OVERHEAD = 1.5
/** A join over such links lasts for several rounds of comparing. */
const SLOW_MS = 900

async function sentBytes(cluster: TestCluster, nodes: readonly string[]): Promise<number> {
  const statuses = await Promise.all(nodes.map(async (node) => cluster.server(node).strategy.status()))
  return statuses.reduce((sum, { details }) => sum + Number(details?.sentBytes), 0)
}

test('joining - each session is sent once, however long it takes: nobody compares with a server that joins', async () => {
  const cluster = await testCluster({ strategy: (transport) => replication({ transport }), nodes: ['a', 'b'], latencyMs: 1 })
  for (let number = 0; number < SESSIONS; number++) await cluster.visitor().create('a', { n: VALUE })
  const before = await sentBytes(cluster, ['a', 'b'])
  cluster.network.faults('*', 'c', { latencyMs: SLOW_MS })
  const c = cluster.start('c')
  await cluster.run(c.strategy.ready(), 60_000)
  const sent = (await sentBytes(cluster, ['a', 'b'])) - before
  expect((await c.strategy.status()).sessions).toBe(SESSIONS)
  expect(sent).toBeGreaterThan(SESSIONS * VALUE.length)
  expect(sent).toBeLessThan(SESSIONS * VALUE.length * OVERHEAD)
})
