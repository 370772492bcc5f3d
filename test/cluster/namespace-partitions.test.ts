/** Partitions made by the kernel: a server's network link is taken down and comes back. */
import { afterAll, describe, expect, test } from 'vitest'
import { allowance } from './allowance.ts'
import { type Namespaces, namespaces, whyNoNamespaces } from './namespaces.ts'
import { startTableServer, type TableServer } from './table-cluster.ts'

const SESSIONS = 2_000
const PORT = 7946
const DEADLINE_MS = 60_000
/** Frames that the kernel has in its queues when a link comes back are sent again after growing pauses. */
const HEALED_WITHIN_MS = 10_000

const reason = await whyNoNamespaces()
const running: TableServer[] = []
let network: Namespaces | undefined
afterAll(async () => {
  await Promise.all(running.map((server) => server.process.stop()))
  network?.remove()
})

describe('replication, three servers in network namespaces', () => {
  const title = 'a server whose link was down has what both sides wrote once it is up again'
  test.skipIf(reason !== undefined)(
    reason === undefined ? title : `${title} (not permitted here: ${reason})`,
    { timeout: 4 * DEADLINE_MS },
    async () => {
      network = await namespaces(3)
      const peers = network.all.map(({ host }) => `${host}:${PORT}`)
      const started = await Promise.all(
        network.all.map(({ host, name }, index) => startTableServer({ node: `n${index + 1}`, host, port: PORT, peers, namespace: name })),
      )
      running.push(...started)
      const [a, b, c] = started as [TableServer, TableServer, TableServer]
      for (const server of started) expect(await server.run({ do: 'peers', count: 2 })).toBe(true)
      await a.run({ do: 'create', from: 0, to: SESSIONS, fields: 2 })
      for (const server of started) expect(await server.run({ do: 'wait', sessions: SESSIONS, withinMs: DEADLINE_MS })).toBe(true)

      network.setLink(0, 'down')
      expect(await a.run({ do: 'peers', count: 0 })).toBe(true)
      for (const server of [b, c]) expect(await server.run({ do: 'peers', count: 1 })).toBe(true)
      const all = { from: 0, to: SESSIONS } as const
      const acknowledged = await Promise.all([
        a.run({ do: 'write', ...all, field: 'left', value: '1' }),
        c.run({ do: 'write', ...all, field: 'right', value: '1' }),
      ])
      expect(acknowledged).toEqual([SESSIONS, SESSIONS])

      network.setLink(0, 'up')
      const healedAt = Date.now()
      const doneAt = await Promise.all(
        started.map((server) => server.run<number | null>({ do: 'until', ...all, fields: ['left', 'right'], value: '1' })),
      )
      expect(doneAt.includes(null)).toBe(false)
      const healedMs = Math.max(...(doneAt as number[])) - healedAt
      console.log(`identical ${Math.round(healedMs)} ms after the link was up again`)
      expect(healedMs).toBeLessThanOrEqual(HEALED_WITHIN_MS * allowance())
      expect(new Set(await Promise.all(started.map((server) => server.run({ do: 'hash', ...all })))).size).toBe(1)
    },
  )
})
