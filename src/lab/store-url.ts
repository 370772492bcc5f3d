/** Where sessions are kept, as a URL: for the lab and for `holdfast sessions`. */
import type { SessionStore } from '../seam.ts'
import { labError } from './lab-error.ts'

/** What a URL does not say. Each goes with some stores only. */
export interface StoreUrlOptions {
  /** Redis, Memcached: what every key begins with. */
  readonly prefix?: string
  /** PostgreSQL, MySQL. */
  readonly table?: string
  /** SQLite, PostgreSQL, MySQL: create a table that is missing. Default true. */
  readonly migrate?: boolean
}

interface StoreKind {
  readonly scheme: RegExp
  readonly takes: 'prefix' | 'table' | undefined
  /** Drivers load only when they are asked for. */
  open(url: string, options: StoreUrlOptions): Promise<SessionStore>
}

const KINDS: readonly StoreKind[] = [
  {
    scheme: /^sqlite:./,
    takes: undefined,
    open: async (url, options) =>
      (await import('../stores/sqlite.ts')).sqliteStore({
        file: sqliteFile(url) ?? '',
        ...(options.migrate !== undefined && { migrate: options.migrate }),
      }),
  },
  {
    scheme: /^rediss?(\+sentinel|\+cluster)?:\/\/./,
    takes: 'prefix',
    open: async (url, options) => (await import('../stores/redis.ts')).redisStore({ url }, prefixOf(options)),
  },
  {
    scheme: /^memcached:\/\/./,
    takes: 'prefix',
    open: async (url, options) => (await import('../stores/memcached.ts')).memcachedStore({ url }, prefixOf(options)),
  },
  {
    scheme: /^postgres(ql)?:\/\/./,
    takes: 'table',
    open: async (url, options) => (await import('../stores/postgres.ts')).postgresStore({ url }, tableOf(options)),
  },
  {
    scheme: /^mysql:\/\/./,
    takes: 'table',
    open: async (url, options) => (await import('../stores/mysql.ts')).mysqlStore({ url }, tableOf(options)),
  },
]

/** The schemes known, for messages and help. */
export const STORE_URLS =
  'sqlite:FILE, redis://HOST:PORT (also rediss, redis+sentinel, redis+cluster), memcached://HOST:PORT,HOST:PORT, postgres://HOST:PORT/DATABASE or mysql://HOST:PORT/DATABASE'

/** Throws OPTION_INVALID for a scheme that is not known, and never repeats the URL: it may hold a password. */
export function checkStoreUrl(raw: unknown): string {
  if (typeof raw === 'string' && kindOf(raw) !== undefined) return raw
  throw labError(400, 'OPTION_INVALID', `The store must be ${STORE_URLS}.`)
}

/** Nothing is connected yet. Throws OPTION_INVALID, or the store's own CONFIG_INVALID. */
export async function storeFromUrl(url: string, options: StoreUrlOptions = {}): Promise<SessionStore> {
  const kind = kindOf(checkStoreUrl(url)) as StoreKind
  for (const name of ['prefix', 'table'] as const) {
    if (options[name] !== undefined && kind.takes !== name)
      throw labError(400, 'OPTION_INVALID', `This store takes no ${name}: ${WHOSE[name]} does.`)
  }
  return kind.open(url, options)
}

/** The URL for pages and answers: whatever may be a user, a password or a parameter is left out. */
export function shownStoreUrl(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//').replace(/[?#].*$/, '')
}

/** Undefined: not an SQLite URL. */
export function sqliteFile(url: string): string | undefined {
  return url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : undefined
}

const WHOSE = { prefix: 'Redis or Memcached', table: 'PostgreSQL or MySQL' } as const

function kindOf(url: string): StoreKind | undefined {
  return KINDS.find(({ scheme }) => scheme.test(url))
}

function prefixOf({ prefix }: StoreUrlOptions): { prefix?: string } {
  return prefix === undefined ? {} : { prefix }
}

function tableOf({ table, migrate }: StoreUrlOptions): { table?: string; migrate?: boolean } {
  return { ...(table !== undefined && { table }), ...(migrate !== undefined && { migrate }) }
}
