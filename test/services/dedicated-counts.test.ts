/** What a request costs the session server in steady state, as the server itself counts it. */
import { createConnection } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { type Data, visit } from '../../src/testing/visit.ts'
import { startMemcached } from '../setup/memcached.ts'
import { startPostgres } from '../setup/postgres.ts'
import { startRedis, waitFor } from '../setup/servers.ts'

const READS = 200
const WRITES = 50

interface Server {
  store(): SessionStore
  /** How often the server was asked, by kind; what keeps a push channel confirmed is not a session's doing. */
  counts(): Promise<{ reads: number; writes: number }>
  stop(): Promise<unknown>
}

/** Everything the server says to one line, until it closes the connection. */
function ask(port: number, lines: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    let text = ''
    socket.setTimeout(5_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.on('data', (data) => (text += data.toString()))
    socket.once('close', () => resolve(text))
    socket.write(lines)
  })
}

const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0)

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  async Redis() {
    const redis = await startRedis()
    return {
      store: () => redisStore({ url: redis.url }),
      async counts() {
        const stats = await ask(redis.port, 'INFO commandstats\r\nQUIT\r\n')
        const calls = (name: string): number => number(stats, new RegExp(`cmdstat_${name}:calls=(\\d+)`))
        const writes = calls('evalsha') + calls('eval')
        // A script reads its session once, the whole or its beginning.
        return { reads: calls('get') + calls('getrange') - writes, writes }
      },
      stop: () => redis.stop(),
    }
  },
  async PostgreSQL() {
    const postgres = await startPostgres({ args: ['-c', 'shared_preload_libraries=pg_stat_statements'] })
    const { Client } = (await import('pg')).default
    const client = new Client({ connectionString: postgres.url })
    client.on('error', () => {})
    await client.connect()
    await client.query('CREATE EXTENSION pg_stat_statements')
    return {
      store: () => postgresStore({ url: postgres.url }),
      async counts() {
        const { rows } = await client.query<{ query: string; calls: string }>(
          "SELECT query, calls FROM pg_stat_statements WHERE query LIKE '%holdfast_sessions%'",
        )
        const sum = (matches: (query: string) => boolean): number =>
          rows.filter(({ query }) => matches(query)).reduce((total, { calls }) => total + Number(calls), 0)
        const isWrite = (query: string): boolean => /\b(UPDATE|INSERT)\b/.test(query)
        return { reads: sum((query) => !isWrite(query)), writes: sum(isWrite) }
      },
      stop: async () => {
        await client.end()
        await postgres.stop()
      },
    }
  },
  async Memcached() {
    const memcached = await startMemcached()
    return {
      store: () => memcachedStore({ url: `memcached://${memcached.address}` }),
      async counts() {
        const stats = await ask(memcached.port, 'stats\r\nquit\r\n')
        return { reads: number(stats, /STAT cmd_get (\d+)/), writes: number(stats, /STAT cmd_set (\d+)/) }
      },
      stop: () => memcached.stop(),
    }
  },
}

describe.each(Object.entries(SERVERS))('dedicated, %s - in steady state', (_, start) => {
  let server: Server
  beforeAll(async () => void (server = await start()))
  afterAll(() => server.stop())

  test(`${READS} reads ask the store for nothing but where a lease ended, and a write asks once`, async () => {
    const sessions = createSessions<Data>({
      secrets: 'a secret for tests, long enough to be one',
      strategy: dedicated({ store: server.store(), nearCache: { leaseMs: 1_000 } }),
      lifetime: { touchEveryMs: 60_000 },
    })
    await sessions.ready()
    try {
      const jar = new BrowserJar()
      await visit(sessions, jar, (session) => void (session.data.n = 0))
      const read = (): Promise<void> => visit(sessions, jar, (session) => expect(session.data.n).toBeDefined())
      // Until the push channel has been confirmed, a read asks the store.
      await waitFor(async () => {
        const before = await server.counts()
        for (let count = 0; count < 5; count++) await read()
        return (await server.counts()).reads === before.reads
      })
      // The first writes of a server may have to bring their scripts along.
      for (let count = 0; count < 3; count++) await visit(sessions, jar, (session) => void (session.data.n = -count))
      const before = await server.counts()
      const from = performance.now()
      for (let count = 0; count < READS; count++) await read()
      const leases = Math.ceil((performance.now() - from) / 1_000)
      const between = await server.counts()
      expect(between.writes - before.writes).toBe(0)
      expect(between.reads - before.reads).toBeLessThanOrEqual(leases)
      for (let count = 1; count <= WRITES; count++) await visit(sessions, jar, (session) => void (session.data.n = count))
      const after = await server.counts()
      expect(after.writes - between.writes).toBe(WRITES)
      expect(after.reads - between.reads).toBeLessThanOrEqual(Math.ceil((performance.now() - from) / 1_000))
    } finally {
      await sessions.close()
    }
  })
})
