/**
 * `npm run bench -- cluster [--only memory,pauses,convergence,join]`: the replicated table at size, in real processes over TLS: bytes per session
 * beside express-session's MemoryStore, pauses of the event loop with 1,000,000 sessions, how soon a write is readable elsewhere, and how soon a
 * joiner has everything. Wants an idle machine.
 */
import { parseArgs } from 'node:util'
import { freePort } from '../test/setup/ports.ts'
import { spawnNode } from '../test/setup/servers.ts'
import { startTableServer, startTableServers, type TableServer, type TableStatus } from '../test/cluster/table-cluster.ts'

const SESSIONS = 100_000
const FIELDS = 8
const WARM_UP = 10_000
const SMALL_SESSIONS = 1_000_000
const SMALL_IDLE_MS = 90_000
const WRITES = 2_000
const WRITE_EVERY_MS = 5
const LONGEST_MS = 1_800_000

const { values } = parseArgs({
  options: { only: { type: 'string', default: 'memory,pauses,convergence,join' }, flags: { type: 'string', default: '' } },
})
const nodeFlags = values.flags.split(',').filter((flag) => flag !== '')

async function withServers(count: number, work: (servers: readonly TableServer[]) => Promise<void>): Promise<void> {
  const servers = await startTableServers(count, { nodeFlags })
  try {
    await work(servers)
  } finally {
    await Promise.all(servers.map((server) => server.process.kill()))
  }
}

/** What compiling and the first buffers take is not the sessions'. */
async function warmUp(server: TableServer): Promise<void> {
  await server.run({ do: 'create', from: -WARM_UP, to: 0, fields: FIELDS })
  await server.run({ do: 'end', from: -WARM_UP, to: 0 })
}

const perSession = (full: TableStatus, empty: TableStatus): string =>
  `${Math.round((full.heapUsed - empty.heapUsed) / SESSIONS)} bytes of heap, ${Math.round((full.rss - empty.rss) / SESSIONS)} resident`

async function memory(): Promise<void> {
  await withServers(2, async (servers) => {
    const [a, b] = servers as [TableServer, TableServer]
    await warmUp(a)
    await b.run({ do: 'wait', sessions: 0, withinMs: LONGEST_MS })
    const empty = await b.status({ collect: true })
    await a.run({ do: 'create', from: 0, to: SESSIONS, fields: FIELDS })
    await b.run({ do: 'wait', sessions: SESSIONS, withinMs: LONGEST_MS })
    const full = await b.status({ collect: true })
    console.log(`memory: ${full.bytes / SESSIONS} bytes of data in ${FIELDS} fields take ${perSession(full, empty)}`)
  })
  const peer = await spawnNode(new URL('./memory-store.ts', import.meta.url), {
    args: [String(SESSIONS)],
    execArgv: ['--expose-gc', ...nodeFlags],
    readyDeadlineMs: LONGEST_MS,
  })
  console.log(`memory, express-session's MemoryStore: ${peer.ready.replace('READY ', '')}`)
  await peer.kill()
}

async function pauses(): Promise<void> {
  await withServers(2, async (servers) => {
    for (const server of servers) await server.status({ collect: true })
    for (const server of servers) await server.status()
    const tell = async (what: string): Promise<void> => {
      for (const [index, server] of servers.entries()) {
        const { heapUsed, longestBusyMs, longestCollectionMs, longestMs, sessions } = await server.status()
        const times = `${longestMs.toFixed(1)} ms (${longestBusyMs.toFixed(1)} busy, collection ${longestCollectionMs.toFixed(1)})`
        console.log(`pauses: ${what}, n${index + 1}: longest ${times}, ${sessions} sessions, ${heapUsed >> 20} MiB of heap`)
      }
    }
    await servers[0]?.run({ do: 'create', from: 0, to: SMALL_SESSIONS, fields: 1, idleMs: SMALL_IDLE_MS })
    await tell('created and replicated')
    // Two rounds of comparing digests, and the start of the expiry.
    await new Promise((resolve) => setTimeout(resolve, 15_000))
    await tell('compared')
    for (const server of servers) await server.run({ do: 'wait', sessions: 0, withinMs: LONGEST_MS })
    await tell('expired')
  })
}

async function convergence(): Promise<void> {
  await withServers(3, async (servers) => {
    const [a, b, c] = servers as [TableServer, TableServer, TableServer]
    await a.run({ do: 'create', from: 0, to: 1, fields: FIELDS })
    for (const server of [b, c]) await server.run({ do: 'wait', sessions: 1, withinMs: 10_000 })
    const watching = Promise.all([b, c].map((server) => server.run<number[]>({ do: 'watch', session: 0, values: WRITES })))
    const written = await a.run<number[]>({ do: 'series', session: 0, values: WRITES, everyMs: WRITE_EVERY_MS })
    const seen = await watching
    const took = written
      .map((at, value) => Math.max(...seen.map((times) => times[value] ?? Number.POSITIVE_INFINITY)) - at)
      .sort((x, y) => x - y)
    const percentile = (share: number): string => (took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0).toFixed(2)
    console.log(`convergence: a write is readable at both others after ${percentile(0.5)} ms (p50), ${percentile(0.99)} ms (p99)`)
  })
}

async function join(): Promise<void> {
  await withServers(2, async (servers) => {
    const [a, b] = servers as [TableServer, TableServer]
    await a.run({ do: 'create', from: 0, to: SESSIONS, fields: FIELDS })
    await b.run({ do: 'wait', sessions: SESSIONS, withinMs: LONGEST_MS })
    const joiner = await startTableServer({ node: 'n3', port: await freePort(), peers: [a.address, b.address], nodeFlags })
    const { sessions } = await joiner.status()
    console.log(`join: ready after ${joiner.readyMs} ms with ${sessions} sessions of 1 KB`)
    await joiner.process.kill()
  })
}

const PARTS: Readonly<Record<string, () => Promise<void>>> = { memory, pauses, convergence, join }
for (const name of values.only.split(',')) {
  const part = PARTS[name]
  if (part === undefined) throw new Error(`no part ${name}: choose from ${Object.keys(PARTS).join(', ')}`)
  await part()
}
