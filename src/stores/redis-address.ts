/** The addresses that `redisStore` takes. Nothing here repeats an address that is wrong: it may hold a password. */

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

export interface RedisPlace {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  /** Of the server, the Sentinels, or some of the cluster's nodes. */
  readonly addresses: readonly RedisAddress[]
  /** With Sentinel: the name it gives to the master. */
  readonly master: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
  readonly isEncrypted: boolean
  /** The address without credentials. */
  readonly shown: string
}

const SCHEME = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#@]+)(?:\/([^?#]*))?$/
const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/
const MASTER = /^([A-Za-z0-9._-]{1,128})(?:\/(\d{1,9}))?$/
const PORT = 6_379
const SENTINEL_PORT = 26_379

/** Undefined: not an address that the store takes. */
export function parseRedisUrl(url: unknown): RedisPlace | undefined {
  const parts = typeof url === 'string' ? SCHEME.exec(url) : null
  if (parts === null) return undefined
  const [, scheme = '', topology, credentials, hosts = '', path = ''] = parts
  const kind = (topology ?? 'single') as RedisPlace['kind']
  const addresses = hosts.split(',').map((host) => parseAddress(host, kind === 'sentinel' ? SENTINEL_PORT : PORT))
  const rest = parsePath(kind, path)
  const user = parseCredentials(credentials)
  if (rest === undefined || user === undefined || (kind === 'single' && addresses.length > 1)) return undefined
  if (!addresses.every((address) => address !== undefined)) return undefined
  const shown = `${scheme}${topology === undefined ? '' : `+${topology}`}://${hosts}${path === '' ? '' : `/${path}`}`
  return { kind, addresses, ...rest, ...user, isEncrypted: scheme === 'rediss', shown }
}

function parseAddress(text: string, defaultPort: number): RedisAddress | undefined {
  const parts = ADDRESS.exec(text)
  if (parts === null) return undefined
  const port = parts[2] === undefined ? defaultPort : Number(parts[2])
  return port > 0 && port < 65_536 ? { host: (parts[1] as string).replace(/^\[(.*)\]$/, '$1'), port } : undefined
}

function parsePath(kind: RedisPlace['kind'], path: string): { master: string; database: number } | undefined {
  if (kind === 'sentinel') {
    const parts = MASTER.exec(path)
    return parts === null ? undefined : { master: parts[1] as string, database: Number(parts[2] ?? 0) }
  }
  // A cluster has one database.
  if (!/^\d{0,9}$/.test(path) || (kind === 'cluster' && Number(path) !== 0)) return undefined
  return { master: '', database: Number(path) }
}

function parseCredentials(text: string | undefined): { username: string | undefined; password: string | undefined } | undefined {
  if (text === undefined) return { username: undefined, password: undefined }
  const colon = text.indexOf(':')
  const [user, password] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  try {
    return { username: decodeURIComponent(user) || undefined, password: decodeURIComponent(password) || undefined }
  } catch {
    return undefined
  }
}
