import { SessionError } from '../errors.ts'

/** Where Memcached is: one server or several, in any order. Every application server has to name the same ones. */
export type MemcachedTarget =
  | {
      /** `host`, `host:port` or `[ipv6]:port`; port 11211 unless given. */ readonly servers: readonly string[]
      readonly url?: never
    }
  | { /** `memcached://HOST:PORT,HOST:PORT` */ readonly url: string; readonly servers?: never }

export interface MemcachedStoreOptions {
  /** Begins every key, so that applications can share a Memcached. Default `holdfast`. */
  readonly prefix?: string
}

export interface MemcachedAddress {
  readonly host: string
  readonly port: number
  /** As it decides which server holds a key: `host:port` in lower case. */
  readonly name: string
}

export interface CheckedMemcachedOptions {
  readonly servers: readonly MemcachedAddress[]
  readonly prefix: string
}

const DEFAULT_PORT = 11_211
const SERVERS_MOST = 256
const PREFIX = /^[A-Za-z_]\w{0,62}$/
const URL_FORM = /^memcached:\/\/([^/?#@]+)\/?$/
const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?$/

/** Throws CONFIG_INVALID, all problems together, and never repeats a URL: it may hold a password. */
export function checkedMemcachedOptions(target: MemcachedTarget, options: MemcachedStoreOptions): CheckedMemcachedOptions {
  const { servers: given, url } = (target ?? {}) as { servers?: unknown; url?: unknown }
  const prefix: unknown = options?.prefix ?? 'holdfast'
  const problems: string[] = []
  let servers: MemcachedAddress[] = []
  if ((given === undefined) === (url === undefined))
    problems.push("give either { servers: ['127.0.0.1:11211'] } or { url: 'memcached://127.0.0.1:11211' }")
  else servers = addresses(given === undefined ? listOf(url, problems) : given, problems)
  if (typeof prefix !== 'string' || !PREFIX.test(prefix))
    problems.push('prefix must be a letter or underscore followed by at most 62 letters, digits or underscores')
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `memcachedStore: ${problems.join('; ')}`)
  return { servers, prefix: prefix as string }
}

function listOf(url: unknown, problems: string[]): unknown {
  const hosts = typeof url === 'string' ? URL_FORM.exec(url)?.[1] : undefined
  if (hosts !== undefined) return hosts.split(',')
  problems.push('url must look like memcached://HOST:PORT or memcached://HOST:PORT,HOST:PORT (no user or password: SASL is not supported)')
  return undefined
}

function addresses(given: unknown, problems: string[]): MemcachedAddress[] {
  if (given === undefined) return []
  if (!Array.isArray(given) || given.length === 0 || given.length > SERVERS_MOST) {
    problems.push(`servers must be a list of 1 to ${SERVERS_MOST} addresses like '127.0.0.1:11211'`)
    return []
  }
  const found = given.map(addressOf)
  const bad = found.flatMap((address, index) => (address === undefined ? [index + 1] : []))
  if (bad.length > 0) problems.push(`server ${bad.join(', ')} of the list must be host, host:port or [ipv6]:port`)
  const good = found.filter((address) => address !== undefined)
  const twice = good.find(({ name }, index) => good.findIndex((other) => other.name === name) !== index)
  if (twice !== undefined) problems.push(`${twice.name} is named twice`)
  return good
}

function addressOf(text: unknown): MemcachedAddress | undefined {
  const parts = typeof text === 'string' ? ADDRESS.exec(text) : null
  if (parts === null) return undefined
  const [, ipv6, name, digits] = parts
  const port = digits === undefined ? DEFAULT_PORT : Number(digits)
  if (port < 1 || port > 65_535) return undefined
  const host = (ipv6 ?? (name as string)).toLowerCase()
  return { host, port, name: ipv6 === undefined ? `${host}:${port}` : `[${host}]:${port}` }
}
