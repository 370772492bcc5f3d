import { describe, expect, test } from 'vitest'
import type { Opened, Transport } from '../../src/seam.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { testCluster, type TestCluster, type Visitor } from './table-harness.ts'

const STRATEGIES = {
  'replication, all copies': (transport: Transport) => replication({ transport, acks: 0 }),
  'replication, copies 2': (transport: Transport) => replication({ transport, copies: 2, acks: 0 }),
  affinity: (transport: Transport) => affinity({ transport, backups: 1, acks: 0 }),
}

const SESSIONS = 60

/** What the server holds of the session by itself, asking nobody; undefined: nothing. */
async function held(cluster: TestCluster, node: string, visitor: Visitor): Promise<string | undefined> {
  const opening = await Promise.race([
    Promise.resolve(cluster.server(node).strategy.open({ ...visitor.jar(), notes: [] })),
    cluster.world.settle().then(() => undefined),
  ])
  return opening?.outcome === 'found' ? (opening.opened as Opened).record.get('n') : opening?.outcome
}

/** With few copies a server that holds none keeps what it wrote as a near copy, which nobody else should have. */
const NODES: Readonly<Record<string, readonly string[]>> = { 'replication, copies 2': ['a', 'b'] }

describe.each(Object.entries(STRATEGIES))('repair - %s', (name, strategy) => {
  const nodes = NODES[name] ?? ['a', 'b', 'c']
  const others = nodes.slice(1)

  test('what was lost on links that did not break is found and mended: writes, sessions and endings', async () => {
    const cluster = await testCluster({ strategy, nodes, latencyMs: 1 })
    const visitors = Array.from({ length: SESSIONS }, () => cluster.visitor())
    const before = visitors.slice(0, 40)
    for (const visitor of before) await visitor.create('a', { n: 0 })
    // From here on nothing that a says arrives, and nobody notices.
    cluster.network.faults('a', '*', { drop: 1 })
    for (const visitor of before.slice(0, 20)) await visitor.write('a', { n: 1 })
    for (const visitor of visitors.slice(40)) await visitor.create('a', { n: 1 })
    for (const visitor of before.slice(35))
      void Promise.resolve(cluster.server('a').strategy.revoke(visitor.key, {})).catch(() => undefined)
    await cluster.world.advance(100)
    cluster.network.faults('a', '*', { drop: 0 })
    await cluster.world.advance(30_000)

    const live = [...before.slice(0, 35), ...visitors.slice(40)]
    for (const visitor of live) {
      const atA = await held(cluster, 'a', visitor)
      const elsewhere = await Promise.all(others.map((node) => held(cluster, node, visitor)))
      const copies = [atA, ...elsewhere].filter((value) => value === '0' || value === '1')
      expect(copies.length).toBeGreaterThanOrEqual(2)
      expect(new Set(copies).size).toBe(1)
    }
    for (const visitor of before.slice(35)) for (const node of others) expect(await visitor.open(node)).toMatchObject({ outcome: 'gone' })
  })
})
