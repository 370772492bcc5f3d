/** `dedicated` over each session server: the strategy's contract, near copies included. */
import { afterAll, beforeAll } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { strategyContract } from '../../src/testing/strategy-contract.ts'
import { startMariaDb } from '../setup/mariadb.ts'
import { startMemcached } from '../setup/memcached.ts'
import { startPostgres } from '../setup/postgres.ts'
import { startRedis } from '../setup/servers.ts'
import { runContract } from './run-contract.ts'
import { cluster, times } from './strategy-cluster.ts'

interface Running {
  /** A store for one case: cases share a server and no records. */
  store(name: string): SessionStore
  stop(): Promise<unknown>
}

const KINDS: Readonly<Record<string, { readonly sample: SessionStore; start(): Promise<Running> }>> = {
  Redis: {
    sample: redisStore({ url: 'redis://127.0.0.1' }),
    async start() {
      const { url, stop } = await startRedis()
      return { store: (prefix) => redisStore({ url }, { prefix }), stop }
    },
  },
  PostgreSQL: {
    sample: postgresStore({ url: 'postgres://127.0.0.1' }),
    async start() {
      const { url, stop } = await startPostgres()
      return { store: (table) => postgresStore({ url }, { table }), stop: () => stop() }
    },
  },
  MariaDB: {
    sample: mysqlStore({ url: 'mysql://root@127.0.0.1/test' }),
    async start() {
      const { url, stop } = await startMariaDb()
      return { store: (table) => mysqlStore({ url }, { table }), stop: () => stop() }
    },
  },
  Memcached: {
    sample: memcachedStore({ url: 'memcached://127.0.0.1:11211' }),
    async start() {
      const { address, stop } = await startMemcached()
      return { store: (prefix) => memcachedStore({ url: `memcached://${address}` }, { prefix }), stop }
    },
  },
}

for (const [name, { sample, start }] of Object.entries(KINDS)) {
  let running: Running | undefined
  let cases = 0
  beforeAll(async () => void (running = await start()))
  afterAll(() => running?.stop())
  runContract(
    `dedicated, ${name}`,
    strategyContract({
      capabilities: dedicated({ store: sample }).capabilities,
      async start(options) {
        const own = `case_${++cases}`
        return cluster(
          options,
          times(() => dedicated({ store: (running as Running).store(own) })),
        )
      },
    }),
  )
}
