// Every store, as an application makes it.
import { dedicated } from 'holdfast'
import { expressStore, type ExpressStoreLike } from 'holdfast/stores/express-store'
import { memcachedStore } from 'holdfast/stores/memcached'
import { mysqlStore } from 'holdfast/stores/mysql'
import { postgresStore } from 'holdfast/stores/postgres'
import { redisStore } from 'holdfast/stores/redis'
import { sqliteStore } from 'holdfast/stores/sqlite'

/** As the types of express-session have it. */
declare class Store {
  get(sid: string, callback: (error: any, session?: { cookie: object } | null) => void): void
  set(sid: string, session: { cookie: object }, callback?: (error?: any) => void): void
  destroy(sid: string, callback?: (error?: any) => void): void
  on(event: string | symbol, listener: (...args: any[]) => void): this
}
const kept: ExpressStoreLike = new Store()

export const strategies = [
  sqliteStore({ file: 'sessions.db' }),
  redisStore({ url: 'redis+cluster://127.0.0.1:7000,127.0.0.1:7001' }, { prefix: 'shop' }),
  memcachedStore({ servers: ['127.0.0.1:11211'] }),
  postgresStore({ url: 'postgres://127.0.0.1/shop' }, { table: 'sessions', migrate: false }),
  mysqlStore({ url: 'mysql://127.0.0.1/shop' }, { table: 'sessions' }),
  expressStore(kept),
].map((store) => dedicated({ store }))

// @ts-expect-error a URL or a pool, not both
export const both = (pool: never): unknown => postgresStore({ url: 'postgres://127.0.0.1/shop', pool: pool as object })
