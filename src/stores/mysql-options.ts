import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { SessionError } from '../errors.ts'
import type { CorePoolLike, MysqlAddress } from './mysql-driver.ts'

/** A pool of `mysql2` or of `mysql2/promise`. */
export type MysqlPoolLike = CorePoolLike | { readonly pool: CorePoolLike }

/** Where MySQL or MariaDB is: an address, or a pool of `mysql2` that the application already has. */
export type MysqlTarget =
  | {
      /** `mysql://USER:PASSWORD@HOST:PORT/DATABASE`; with `?ssl=true` over TLS, the certificate and the host's name verified. */
      readonly url: string
      /** Options of TLS that `mysql2` takes, such as `ca`; they replace what the URL says. `true`: with Node's authorities. */
      readonly ssl?: boolean | ConnectionOptions
      readonly pool?: never
    }
  | { readonly pool: MysqlPoolLike; readonly url?: never; readonly ssl?: never }

export interface MysqlStoreOptions {
  /** Created by `ready()` unless `migrate` is false. Default `holdfast_sessions`. */
  readonly table?: string
  /** Create the table if it is missing. Default true; without it a missing table is an error that holds the SQL to run. */
  readonly migrate?: boolean
}

export interface CheckedMysqlOptions {
  readonly address: MysqlAddress | undefined
  readonly pool: CorePoolLike | undefined
  /** The address without credentials. */
  readonly shown: string
  readonly table: string
  readonly migrate: boolean
}

const TABLE = /^[A-Za-z_]\w{0,62}$/
const TLS_NAMES = ['ssl', 'ssl-mode', 'sslmode']
const TLS_ON = /^(true|1|required?|verify[-_](ca|full|identity))$/i
const TLS_OFF = /^(false|0|disabled?)$/i
const URL_ADVICE =
  'url must look like mysql://USER:PASSWORD@HOST:PORT/DATABASE (user, password and database percent-encoded), optionally with ?ssl=true'

/** Throws CONFIG_INVALID, all problems together, and never repeats the URL: it may hold a password. */
export function checkedMysqlOptions(target: MysqlTarget, options: MysqlStoreOptions): CheckedMysqlOptions {
  const given = (target ?? {}) as { url?: unknown; pool?: unknown; ssl?: unknown }
  const { table = 'holdfast_sessions', migrate = true } = (options ?? {}) as Record<string, unknown>
  const problems: string[] = []
  if ((given.url === undefined) === (given.pool === undefined))
    problems.push("give either { url: 'mysql://127.0.0.1:3306/app' } or { pool }")
  const address = given.url === undefined ? undefined : addressOf(given.url, given.ssl, problems)
  const pool = given.pool === undefined ? undefined : corePool(given.pool)
  if (given.pool !== undefined && pool === undefined) problems.push('pool must be a pool of mysql2 or mysql2/promise')
  if (given.pool !== undefined && given.ssl !== undefined) problems.push('ssl goes with a url')
  if (typeof table !== 'string' || !TABLE.test(table))
    problems.push('table must be a letter or underscore followed by at most 62 letters, digits or underscores')
  if (typeof migrate !== 'boolean') problems.push('migrate must be true or false')
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `mysqlStore: ${problems.join('; ')}`)
  const shown = address === undefined ? 'the given pool' : shownAddress(address)
  return { address, pool, shown, table: table as string, migrate: migrate as boolean }
}

function corePool(given: unknown): CorePoolLike | undefined {
  const { pool } = (given ?? {}) as { pool?: unknown }
  for (const candidate of [pool, given]) {
    if (typeof (candidate as Partial<CorePoolLike> | undefined | null)?.getConnection === 'function') return candidate as CorePoolLike
  }
  return undefined
}

function addressOf(text: unknown, ssl: unknown, problems: string[]): MysqlAddress | undefined {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  const parts = url === undefined ? undefined : partsOf(url)
  if (url === undefined || parts === undefined) {
    problems.push(URL_ADVICE)
    return undefined
  }
  for (const name of url.searchParams.keys()) {
    if (!TLS_NAMES.includes(name)) problems.push('url has a parameter other than ssl: give such options to a pool of your own')
  }
  const tls = tlsOf(url, ssl)
  if (tls === 'invalid') problems.push('TLS is asked for in an unknown way: use ?ssl=true, or { url, ssl: { ca } }')
  if (tls === 'invalid' || tls === undefined) return parts
  if (isIP(parts.host) !== 0 && tls['rejectUnauthorized'] !== false)
    problems.push('TLS needs the name of the host in the url: mysql2 cannot verify a bare address')
  return { ...parts, ssl: tls }
}

function partsOf({ protocol, hostname, port, pathname, username, password }: URL): MysqlAddress | undefined {
  if (protocol !== 'mysql:' && protocol !== 'mariadb:') return undefined
  if (hostname === '' || !/^\/[^/]+$/.test(pathname)) return undefined
  try {
    return {
      host: decodeURIComponent(hostname.replace(/^\[|\]$/g, '')),
      port: port === '' ? 3306 : Number(port),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
    }
  } catch {
    return undefined
  }
}

/** Undefined: none. The driver verifies a host's name only when told to. */
function tlsOf(url: URL, ssl: unknown): Record<string, unknown> | undefined | 'invalid' {
  const verified = { rejectUnauthorized: true, verifyIdentity: true }
  if (ssl === true) return verified
  if (ssl === false) return undefined
  if (typeof ssl === 'object' && ssl !== null) return { ...verified, ...ssl }
  if (ssl !== undefined) return 'invalid'
  const asked = TLS_NAMES.flatMap((name) => url.searchParams.getAll(name))
  if (asked.every((value) => TLS_OFF.test(value))) return undefined
  if (asked.every((value) => TLS_ON.test(value))) return verified
  const own = asked.length === 1 ? objectIn(asked[0] as string) : undefined
  return own === undefined ? 'invalid' : { ...verified, ...own }
}

/** The driver's own spelling: `?ssl={"rejectUnauthorized":true}`. */
function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Neither user nor password, and no parameters. */
function shownAddress({ host, port, database }: MysqlAddress): string {
  return `mysql://${host.includes(':') ? `[${host}]` : host}:${port}/${encodeURIComponent(database)}`
}
