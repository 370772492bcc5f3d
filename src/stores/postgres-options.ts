import type { ConnectionOptions } from 'node:tls'
import { SessionError } from '../errors.ts'

/** The part of a connection (`pg`'s `PoolClient`) that the store uses. */
export interface PostgresClientLike {
  query(config: any): Promise<{ rows: any[] }>
  on(event: string, listener: (...args: any[]) => void): unknown
  off(event: string, listener: (...args: any[]) => void): unknown
  /** `true`: the connection is closed rather than used again. */
  release(destroy?: boolean): void
  ref?(): void
  unref?(): void
}

/** The part of a `pg.Pool` that the store uses. */
export interface PostgresPoolLike {
  connect(callback: (error: Error | undefined, client: PostgresClientLike | undefined) => void): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  readonly options?: { readonly max?: number }
}

/** Where PostgreSQL is: an address, or a pool of `pg` that the application already has. */
export type PostgresTarget =
  | {
      /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; with `?sslmode=require` over TLS, the certificate verified as for `verify-full`. */
      readonly url: string
      /** Options of `tls.connect`, such as `ca`; they replace what the URL says about TLS. `true`: with Node's authorities. */
      readonly ssl?: boolean | ConnectionOptions
      readonly pool?: never
    }
  | { readonly pool: PostgresPoolLike; readonly url?: never; readonly ssl?: never }

export interface PostgresStoreOptions {
  /** Created by `ready()` unless `migrate` is false. Default `holdfast_sessions`. */
  readonly table?: string
  /** Create the table if it is missing. Default true; without it a missing table is an error that holds the SQL to run. */
  readonly migrate?: boolean
  /**
   * `push`: every write announces itself (NOTIFY), so that near copies on other servers end at once. `lease`: it does not; PostgreSQL lets
   * announcing writes commit one at a time, so this is for more writes than its disk can sync one by one. The same on all servers. Default
   * `push`; `lease` with a pool of one connection.
   */
  readonly freshness?: 'push' | 'lease'
}

export interface CheckedPostgresOptions {
  /** As the driver takes it. */
  readonly connection: { readonly connectionString: string; readonly ssl?: boolean | ConnectionOptions } | undefined
  readonly pool: PostgresPoolLike | undefined
  /** The address without credentials. */
  readonly shown: string
  readonly table: string
  readonly migrate: boolean
  readonly freshness: 'push' | 'lease'
}

const TABLE = /^[A-Za-z_]\w{0,62}$/
const FRESHNESS: readonly unknown[] = ['push', 'lease']
const URL_ADVICE =
  'url must look like postgres://USER:PASSWORD@HOST:PORT/DATABASE (user, password and database percent-encoded), optionally with ?sslmode=require'

/** Throws CONFIG_INVALID, all problems together, and never repeats the URL: it may hold a password. */
export function checkedPostgresOptions(target: PostgresTarget, options: PostgresStoreOptions): CheckedPostgresOptions {
  const given = (target ?? {}) as { url?: unknown; pool?: unknown; ssl?: unknown }
  const {
    table = 'holdfast_sessions',
    migrate = true,
    freshness = defaultFreshness(given.pool),
  } = (options ?? {}) as Record<string, unknown>
  const problems: string[] = []
  if ((given.url === undefined) === (given.pool === undefined))
    problems.push("give either { url: 'postgres://127.0.0.1:5432/app' } or { pool }")
  const url = given.url === undefined ? undefined : checkedUrl(given.url, given.ssl !== undefined)
  if (given.url !== undefined && url === undefined) problems.push(URL_ADVICE)
  if (given.pool !== undefined && !isPool(given.pool)) problems.push('pool must be a Pool of pg')
  if (given.ssl !== undefined && (given.url === undefined || !isSsl(given.ssl)))
    problems.push('ssl goes with a url: true, false or options of tls.connect')
  if (typeof table !== 'string' || !TABLE.test(table))
    problems.push('table must be a letter or underscore followed by at most 62 letters, digits or underscores')
  if (typeof migrate !== 'boolean') problems.push('migrate must be true or false')
  if (!FRESHNESS.includes(freshness)) problems.push("freshness must be 'push' or 'lease'")
  if (freshness === 'push' && maxOf(given.pool) === 1)
    problems.push("freshness 'push' takes a connection for itself: give a pool of at least two")
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `postgresStore: ${problems.join('; ')}`)
  return {
    connection:
      url === undefined ? undefined : { connectionString: url.href, ...(given.ssl !== undefined && { ssl: given.ssl as boolean }) },
    pool: given.pool as PostgresPoolLike | undefined,
    shown: url === undefined ? 'the given pool' : shownUrl(url),
    table: table as string,
    migrate: migrate as boolean,
    freshness: freshness as 'push' | 'lease',
  }
}

function defaultFreshness(pool: unknown): 'push' | 'lease' {
  return maxOf(pool) === 1 ? 'lease' : 'push'
}

function maxOf(pool: unknown): number | undefined {
  const max = (pool as Partial<PostgresPoolLike> | undefined | null)?.options?.max
  return typeof max === 'number' ? max : undefined
}

function isPool(pool: unknown): boolean {
  const { connect, on, off } = (pool ?? {}) as { connect?: unknown; on?: unknown; off?: unknown }
  return typeof connect === 'function' && typeof on === 'function' && typeof off === 'function'
}

function isSsl(ssl: unknown): boolean {
  return typeof ssl === 'boolean' || (typeof ssl === 'object' && ssl !== null)
}

/** Undefined: not a URL that the driver takes. */
function checkedUrl(text: unknown, hasOwnSsl: boolean): URL | undefined {
  if (typeof text !== 'string' || !URL.canParse(text)) return undefined
  const url = new URL(text)
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') return undefined
  try {
    decodeURIComponent(url.username + url.password + url.pathname)
  } catch {
    return undefined
  }
  verifyTls(url.searchParams, hasOwnSsl)
  return url
}

/** The driver's next major version will take `require` for "encrypt, but trust anybody", as libpq does: here it always verifies. */
function verifyTls(parameters: URLSearchParams, hasOwnSsl: boolean): void {
  parameters.delete('uselibpqcompat')
  if (hasOwnSsl) for (const name of ['ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey']) parameters.delete(name)
  const mode = parameters.get('sslmode')
  if (mode !== null && mode !== 'disable' && mode !== 'no-verify') parameters.set('sslmode', 'verify-full')
}

/** Neither user nor password, and no parameters: a password may be one. */
function shownUrl({ host, pathname }: URL): string {
  return `postgres://${host}${pathname === '/' ? '' : pathname}`
}
