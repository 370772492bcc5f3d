import { SessionError } from '../errors.ts'
import { parseRedisUrl } from './redis-address.ts'
import type { RedisPlace } from './redis-address.ts'
import type { RedisClientLike } from './redis-driver.ts'

/** Where Redis is: an address, or a client of `@redis/client` that the application already has. */
export type RedisTarget =
  | {
      /**
       * One server: `redis://HOST:PORT/DATABASE`. Sentinel: `redis+sentinel://HOST:PORT,HOST:PORT/MASTER`, optionally `/DATABASE`.
       * Cluster: `redis+cluster://HOST:PORT,HOST:PORT` with some of its nodes. `rediss`, `rediss+sentinel`, `rediss+cluster`: over
       * TLS, verified. `USER:PASSWORD@` before the hosts, percent-encoded, is for the servers that hold the data.
       */
      readonly url: string
      readonly client?: never
    }
  | {
      /** Of `createClient`. Changes by others are then not announced to near copies, which live for the lease. */
      readonly client: RedisClientLike
      readonly url?: never
    }

export interface RedisTlsOptions {
  /** PEM of the authorities to trust instead of the well-known ones. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** PEM of a certificate and its key, where the server asks for one. */
  readonly cert?: string | Uint8Array
  readonly key?: string | Uint8Array
  /** The name to find in the server's certificate. Default: the host of the address. */
  readonly servername?: string
}

export interface RedisStoreOptions {
  /** Begins every key, so that applications can share a Redis. Default `holdfast`. */
  readonly prefix?: string
  /** For addresses that begin with `rediss`. */
  readonly tls?: RedisTlsOptions
  /** For Sentinels that want a password of their own. Default: none is sent to them. */
  readonly sentinel?: { readonly username?: string; readonly password: string }
}

export interface CheckedRedisOptions {
  readonly place: RedisPlace | undefined
  readonly client: RedisClientLike | undefined
  readonly prefix: string
  readonly tls: RedisTlsOptions
  readonly sentinel: { readonly username?: string; readonly password?: string }
  /** The address without credentials. */
  readonly shown: string
}

const PREFIX = /^[A-Za-z_]\w{0,62}$/
const TLS: ReadonlySet<string> = new Set(['ca', 'cert', 'key', 'servername'])
const ADDRESSES =
  'url must look like redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT (rediss for TLS), optionally with USER:PASSWORD@ and /DATABASE (user and password percent-encoded)'

/** Throws CONFIG_INVALID, all problems together, and never repeats the URL: it may hold a password. */
export function checkedRedisOptions(target: RedisTarget, options: RedisStoreOptions): CheckedRedisOptions {
  const given = (target ?? {}) as { url?: unknown; client?: unknown }
  const { prefix = 'holdfast', tls, sentinel } = (options ?? {}) as Partial<Record<keyof RedisStoreOptions, unknown>>
  const problems: string[] = []
  if ((given.url === undefined) === (given.client === undefined))
    problems.push("give either { url: 'redis://127.0.0.1:6379' } or { client }")
  if (typeof prefix !== 'string' || !PREFIX.test(prefix))
    problems.push('prefix must be a letter or underscore followed by at most 62 letters, digits or underscores')
  const place = given.url === undefined ? undefined : parseRedisUrl(given.url)
  if (given.url !== undefined && place === undefined) problems.push(ADDRESSES)
  if (given.client !== undefined && !isClient(given.client))
    problems.push('client must be a client of createClient of @redis/client; for Sentinel and Cluster give the url')
  problems.push(...tlsProblems(tls, place), ...sentinelProblems(sentinel, place))
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `redisStore: ${problems.join('; ')}`)
  return {
    place,
    client: given.client as RedisClientLike | undefined,
    prefix: prefix as string,
    tls: (tls ?? {}) as RedisTlsOptions,
    sentinel: (sentinel ?? {}) as CheckedRedisOptions['sentinel'],
    shown: place?.shown ?? 'the given client',
  }
}

function tlsProblems(tls: unknown, place: RedisPlace | undefined): string[] {
  if (tls === undefined) return []
  if (typeof tls !== 'object' || tls === null || Object.keys(tls).some((name) => !TLS.has(name)))
    return ['tls must be an object of ca, cert, key and servername; what a server presents is always verified']
  return place === undefined || place.isEncrypted ? [] : ['tls needs a url that begins with rediss']
}

function sentinelProblems(sentinel: unknown, place: RedisPlace | undefined): string[] {
  if (sentinel === undefined) return []
  const { username, password } = (sentinel ?? {}) as { username?: unknown; password?: unknown }
  if (typeof password !== 'string' || (username !== undefined && typeof username !== 'string'))
    return ['sentinel must be { username?, password }']
  return place === undefined || place.kind === 'sentinel' ? [] : ['sentinel needs a url that begins with redis+sentinel or rediss+sentinel']
}

function isClient(client: unknown): boolean {
  const { sendCommand, on } = (client ?? {}) as { sendCommand?: unknown; on?: unknown }
  // Clients of clusters and Sentinels take other arguments.
  const isOther = typeof client === 'object' && client !== null && ('masters' in client || 'getSentinelNode' in client)
  return typeof sendCommand === 'function' && typeof on === 'function' && !isOther
}
