/** The servers behind the stores, one table: what a test shows of one store it shows of all. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SessionStore } from '../../src/seam.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { startMariaDb } from './mariadb.ts'
import { startMemcached } from './memcached.ts'
import { startPostgres } from './postgres.ts'
import { startRedis } from './servers.ts'

/** A server under the test's control. */
export interface StoreServer {
  /** For `storeAt`, in any process. */
  readonly url: string
  /** SIGSTOP and SIGCONT. */
  pause(): void
  resume(): void
  /** SIGKILL. */
  kill(): Promise<void>
  /** After `kill()`, at the same address. */
  restart(): Promise<void>
  /** Its data goes with it. */
  stop(): Promise<void>
}

export const SERVERS = {
  /** Every write is on disk before it is acknowledged. */
  redis: () => startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] }).then((server) => under(server, server.url)),
  postgres: () => startPostgres().then((server) => under(server, server.url)),
  mysql: () => startMariaDb().then((server) => under(server, server.url)),
  memcached: () => startMemcached().then((server) => under(server, `memcached://${server.address}`)),
} as const

export type ServerName = keyof typeof SERVERS
export const SERVER_NAMES = Object.keys(SERVERS) as ServerName[]

interface Restartable {
  pause(): void
  resume(): void
  kill(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<Restartable>
}

function under(first: Restartable, url: string): StoreServer {
  let server = first
  return {
    url,
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: async () => void (server = await server.restart()),
    stop: () => server.stop(),
  }
}

/** A place where sessions are kept: a server, or a file. */
export interface StorePlace {
  readonly url: string
  stop(): Promise<void>
}

export const PLACES: Readonly<Record<'sqlite' | ServerName, () => Promise<StorePlace>>> = {
  sqlite: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-places-'))
    return { url: `sqlite:${join(folder, 'sessions.db')}`, stop: () => rm(folder, { recursive: true, force: true }) }
  },
  ...SERVERS,
}

/** Not yet ready. `space`: a prefix, or the name of a table. */
export function storeAt(url: string, space = 'test'): SessionStore {
  if (url === 'memory') return memoryStore()
  if (url.startsWith('sqlite:')) return sqliteStore({ file: url.slice('sqlite:'.length) })
  if (url.startsWith('redis:')) return redisStore({ url }, { prefix: space })
  if (url.startsWith('memcached:')) return memcachedStore({ url }, { prefix: space })
  if (url.startsWith('postgres:')) return postgresStore({ url }, { table: space })
  if (url.startsWith('mysql:')) return mysqlStore({ url }, { table: space })
  throw new Error(`no store for ${url}`)
}
