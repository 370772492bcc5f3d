/** Promise 6: what a write sends, counted message by message. */
import { describe, expect, test } from 'vitest'
import { decodeFrame, encodeMessage } from '../../src/cluster/messages.ts'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { testCluster, type TestCluster, type Visitor } from './table-harness.ts'

interface Sent {
  deltas: number
  deltaBytes: number
  records: number
  fetches: number
}

/** Counts what leaves through a transport while it counts at all. */
function counted(transport: Transport, sent: Sent, isOn: () => boolean): Transport {
  return {
    ...transport,
    send(incarnation, frame) {
      if (isOn()) {
        for (const message of decodeFrame(frame)) {
          if (message.kind === 'delta') {
            sent.deltas += 1
            sent.deltaBytes += encodeMessage(message).length
          } else if (message.kind === 'record') sent.records += 1
          else if (message.kind === 'fetch') sent.fetches += 1
        }
      }
      return transport.send(incarnation, frame)
    },
  }
}

interface Counting {
  readonly cluster: TestCluster
  readonly sent: Sent
  count<T>(work: () => Promise<T>): Promise<T>
}

async function counting(servers: number, strategy: (transport: Transport) => SessionStrategy): Promise<Counting> {
  const sent: Sent = { deltas: 0, deltaBytes: 0, records: 0, fetches: 0 }
  let isOn = false
  const nodes = Array.from({ length: servers }, (_, index) => `n${index}`)
  const cluster = await testCluster({ nodes, strategy: (transport) => strategy(counted(transport, sent, () => isOn)) })
  return {
    cluster,
    sent,
    async count(work) {
      isOn = true
      try {
        return await work()
      } finally {
        isOn = false
      }
    },
  }
}

const WRITES = 60
const COPIES = 3

/** The size of a delta of a 1 KB session of 8 fields, and how many copies of a write are sent, fetches counted apart. */
async function perWrite(servers: number, route: 'sticky' | 'random'): Promise<{ deltaBytes: number; copiesSent: number; fetches: number }> {
  const { cluster, sent, count } = await counting(servers, (transport) => replication({ transport, copies: COPIES, acks: 1 }))
  const visitors: Visitor[] = []
  for (let index = 0; index < 12; index++) {
    const visitor = cluster.visitor()
    await visitor.create(
      `n${index % servers}`,
      Object.fromEntries(Array.from({ length: 8 }, (_, field) => [`field${field}`, 'x'.repeat(120)])),
    )
    visitors.push(visitor)
  }
  const home = new Map(visitors.map((visitor, index) => [visitor, `n${index % servers}`]))
  await count(async () => {
    for (let write = 0; write < WRITES; write++) {
      const visitor = visitors[write % visitors.length] as Visitor
      const node = route === 'sticky' ? (home.get(visitor) as string) : `n${cluster.world.random.between(0, servers - 1)}`
      await visitor.write(node, { field1: 'y'.repeat(120) })
    }
  })
  return { deltaBytes: sent.deltaBytes / sent.deltas, copiesSent: (sent.deltas + sent.records) / WRITES, fetches: sent.fetches / WRITES }
}

describe('flat cost', () => {
  test('with copies 3 a write goes to at most 3 servers, whatever their number, and a delta is as large at 32 servers as at 4', async () => {
    const [small, large] = [await perWrite(4, 'sticky'), await perWrite(32, 'sticky')]
    expect(large.copiesSent).toBeLessThanOrEqual(COPIES + large.fetches)
    expect(large.deltaBytes / small.deltaBytes).toBeLessThanOrEqual(1.05)
  })

  test('routed at random, a delta is at most 1.3 times as large at 32 servers as at 4', async () => {
    const [small, large] = [await perWrite(4, 'random'), await perWrite(32, 'random')]
    expect(large.copiesSent).toBeLessThanOrEqual(COPIES + large.fetches)
    expect(large.deltaBytes / small.deltaBytes).toBeLessThanOrEqual(1.3)
  })

  test.each([
    ['replication', (transport: Transport) => replication({ transport })],
    ['affinity', (transport: Transport) => affinity({ transport, backups: 2 })],
  ] as const)('%s - one field of a 64 KB session of 100 fields ships at most 2% of its bytes per copy', async (_, strategy) => {
    const { cluster, sent, count } = await counting(3, strategy)
    const visitor = cluster.visitor()
    const fields = Object.fromEntries(Array.from({ length: 100 }, (_value, field) => [`field${field}`, 'x'.repeat(630)]))
    await visitor.create('n0', fields)
    const bytes = Object.entries(fields).reduce((sum, [name, value]) => sum + name.length + JSON.stringify(value).length, 0)
    expect(bytes).toBeGreaterThan(62_000)
    await count(() => visitor.write('n0', { field7: 'y'.repeat(630) }))
    expect([sent.deltas, sent.records]).toEqual([2, 0])
    expect(sent.deltaBytes / sent.deltas).toBeLessThanOrEqual(bytes * 0.02)
  })
})
