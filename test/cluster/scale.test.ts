/** Sizes: what a session costs in memory, how soon a joiner has 100,000 of them, and that the event loop never stands still over many. */
import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../setup/ports.ts'
import { allowance } from './allowance.ts'
import { startTableServer, startTableServers, type TableServer } from './table-cluster.ts'

const SESSIONS = 100_000
const FIELDS = 8
const WARM_UP = 10_000
const BYTES_PER_SESSION = 1_300
/** What the allocator and the code that was compiled meanwhile take differs from run to run. */
const RESIDENT_MARGIN = 1.25
const JOINED_WITHIN_MS = 10_000
const SENDERS_GROW_BY = 0.1

const SMALL_SESSIONS = 200_000
const IDLE_MS = 5_000
const PAUSE_MS = 50
const DEADLINE_MS = 600_000

const running: TableServer[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.process.kill()))
})

async function start(count: number): Promise<[TableServer, TableServer]> {
  const servers = await startTableServers(count)
  running.push(...servers)
  return servers as [TableServer, TableServer]
}

describe(`${SESSIONS} sessions of 1 KB in ${FIELDS} fields`, () => {
  test(`take at most ${BYTES_PER_SESSION} bytes each, and a joiner gets them from both others within ${JOINED_WITHIN_MS} ms`, {
    timeout: DEADLINE_MS,
  }, async () => {
    const [a, b] = await start(2)
    // What compiling and the first buffers take is not the sessions'.
    await a.run({ do: 'create', from: -WARM_UP, to: 0, fields: FIELDS })
    await a.run({ do: 'end', from: -WARM_UP, to: 0 })
    expect(await b.run({ do: 'wait', sessions: 0, withinMs: DEADLINE_MS })).toBe(true)
    const empty = await b.status({ collect: true })
    await Promise.all([
      a.run({ do: 'create', from: 0, to: SESSIONS / 2, fields: FIELDS }),
      b.run({ do: 'create', from: SESSIONS / 2, to: SESSIONS, fields: FIELDS }),
    ])
    for (const server of [a, b]) expect(await server.run({ do: 'wait', sessions: SESSIONS, withinMs: DEADLINE_MS })).toBe(true)
    const before = await Promise.all([a, b].map((server) => server.status({ collect: true })))
    const full = before[1] as (typeof before)[number]
    const heap = (full.heapUsed - empty.heapUsed) / SESSIONS
    const resident = (full.rss - empty.rss) / SESSIONS
    console.log(`${Math.round(full.bytes / SESSIONS)} bytes of data: ${Math.round(heap)} of heap, ${Math.round(resident)} resident`)
    expect(heap).toBeLessThanOrEqual(BYTES_PER_SESSION)
    expect(resident).toBeLessThanOrEqual(BYTES_PER_SESSION * RESIDENT_MARGIN)

    const joining = startTableServer({ node: 'n3', port: await freePort(), peers: [a.address, b.address] })
    let joiner: TableServer | undefined
    const joined = joining.then((server) => {
      joiner = server
      running.push(server)
    })
    let grown = 0
    while (joiner === undefined) {
      const during = await Promise.all([a, b].map((server) => server.status({ collectOnce: true })))
      for (const [index, { heapUsed }] of during.entries()) grown = Math.max(grown, heapUsed / (before[index]?.heapUsed as number) - 1)
      await Promise.race([joined, new Promise((resolve) => setTimeout(resolve, 500))])
    }
    await joined
    const { cpuMs, sessions } = await joiner.status()
    console.log(
      `a joiner was ready after ${joiner.readyMs} ms, ${Math.round(cpuMs)} of them its own work; senders grew ${(grown * 100).toFixed(1)}%`,
    )
    expect(sessions).toBe(SESSIONS)
    expect(Math.min(joiner.readyMs, cpuMs)).toBeLessThanOrEqual(JOINED_WITHIN_MS * allowance())
    expect(grown).toBeLessThanOrEqual(SENDERS_GROW_BY)
    const all = { do: 'hash', from: 0, to: SESSIONS } as const
    expect(new Set(await Promise.all([a, b, joiner].map((server) => server.run(all)))).size).toBe(1)
  })
})

describe(`${SMALL_SESSIONS} sessions of 200 bytes`, () => {
  test(`are created, replicated, compared and expired without a pause of the event loop above ${PAUSE_MS} ms`, {
    timeout: DEADLINE_MS,
  }, async () => {
    const servers = await start(2)
    for (const server of servers) await server.status({ collect: true })
    // What was compiled and collected so far is not what is measured.
    for (const server of servers) await server.status()
    await servers[0].run({ do: 'create', from: 0, to: SMALL_SESSIONS, fields: 1, idleMs: IDLE_MS })
    for (const server of servers) expect(await server.run({ do: 'wait', sessions: 0, withinMs: DEADLINE_MS })).toBe(true)
    const statuses = await Promise.all(servers.map((server) => server.status()))
    for (const { longestBusyMs, longestCollectionMs, longestMs } of statuses) {
      console.log(
        `longest pause ${longestMs.toFixed(1)} ms, ${longestBusyMs.toFixed(1)} of them busy; collection ${longestCollectionMs.toFixed(1)} ms`,
      )
      expect(longestBusyMs).toBeLessThanOrEqual(PAUSE_MS * allowance())
    }
    // One of the servers reports each end.
    expect(statuses.reduce((sum, { expired }) => sum + expired, 0)).toBe(SMALL_SESSIONS)
  })
})
