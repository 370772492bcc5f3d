import { SessionError } from '../errors.ts'
import type { RedisClientLike } from './redis-connection.ts'

/** Where Redis is: an address, or a client of `@redis/client` that the application already has. */
export type RedisTarget =
  | {
      /** `redis://` or `rediss://` (TLS, verified), with user, password and database as needed. */ readonly url: string
      readonly client?: never
    }
  | { readonly client: RedisClientLike; readonly url?: never }

export interface RedisStoreOptions {
  /** Begins every key, so that applications can share a Redis. Default `holdfast`. */
  readonly prefix?: string
}

export interface CheckedRedisOptions {
  readonly url: string | undefined
  readonly client: RedisClientLike | undefined
  readonly prefix: string
  /** The address without credentials. */
  readonly shown: string
}

const PREFIX = /^[A-Za-z_]\w{0,62}$/

/** Throws CONFIG_INVALID, all problems together, and never repeats the URL: it may hold a password. */
export function checkedRedisOptions(target: RedisTarget, options: RedisStoreOptions): CheckedRedisOptions {
  const given = (target ?? {}) as { url?: unknown; client?: unknown }
  const prefix: unknown = options?.prefix ?? 'holdfast'
  const problems: string[] = []
  if ((given.url === undefined) === (given.client === undefined))
    problems.push("give either { url: 'redis://127.0.0.1:6379' } or { client }")
  if (typeof prefix !== 'string' || !PREFIX.test(prefix))
    problems.push('prefix must be a letter or underscore followed by at most 62 letters, digits or underscores')
  const shown = given.url === undefined ? 'the given client' : withoutCredentials(given.url)
  if (shown === undefined)
    problems.push(
      'url must look like redis://HOST:PORT or rediss://HOST:PORT, optionally with USER:PASSWORD@ and /DATABASE (user and password percent-encoded)',
    )
  if (given.client !== undefined && !isClient(given.client)) problems.push('client must be a client of @redis/client')
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `redisStore: ${problems.join('; ')}`)
  return {
    url: given.url as string | undefined,
    client: given.client as RedisClientLike | undefined,
    prefix: prefix as string,
    shown: shown as string,
  }
}

/** Undefined: not a URL that the driver takes. */
function withoutCredentials(url: unknown): string | undefined {
  if (typeof url !== 'string' || !URL.canParse(url)) return undefined
  const { protocol, host, pathname, username, password } = new URL(url)
  if ((protocol !== 'redis:' && protocol !== 'rediss:') || host === '' || !/^(\/\d*)?$/.test(pathname)) return undefined
  try {
    decodeURIComponent(username + password)
  } catch {
    return undefined
  }
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}

function isClient(client: unknown): boolean {
  const { sendCommand, on } = (client ?? {}) as { sendCommand?: unknown; on?: unknown }
  return typeof sendCommand === 'function' && typeof on === 'function'
}
