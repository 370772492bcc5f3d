import * as v from 'valibot'
import { SessionError } from '../errors.ts'

export interface TcpTransportOptions {
  /** Name of the cluster: servers of another name are refused. 1 to 64 characters of `A-Za-z0-9._-`. */
  cluster: string
  /** Newest first, each at least 32 bytes; the mesh's keys are derived from them. Not needed with `tls` or `plaintext`. */
  secrets?: string | undefined | readonly (string | undefined)[]
  /** Default 7946; 0 takes a free one. */
  port?: number
  /** Address to listen on. Default: all; with `plaintext` 127.0.0.1. */
  host?: string
  /** How others reach this server, where that differs from host and port. */
  advertise?: { host: string; port: number }
  /** `host`, `host:port` or `[ipv6]:port` of servers, this one may be among them; or a DNS name polled every 5 s. */
  peers: readonly string[] | { dns: string; port: number }
  /** Mutual TLS instead of the pre-shared key: PEM texts. The authority must be the cluster's own: whom it signs is a member. */
  tls?: { cert: string | Buffer; key: string | Buffer; ca: string | Buffer | readonly (string | Buffer)[] }
  /** No encryption and no authentication: whoever reaches the port is a member. */
  plaintext?: boolean
}

export interface Address {
  readonly host: string
  readonly port: number
}

export type Security =
  | { readonly mode: 'psk'; readonly secrets: readonly string[] }
  | {
      readonly mode: 'mtls'
      readonly cert: string | Buffer
      readonly key: string | Buffer
      readonly ca: string | Buffer | (string | Buffer)[]
    }
  | { readonly mode: 'plaintext' }

/** Checked options, defaults filled in. */
export interface TcpSettings {
  readonly cluster: string
  readonly security: Security
  readonly port: number
  readonly host: string | undefined
  readonly advertise: Address | undefined
  readonly peers: { readonly addresses: readonly Address[] } | { readonly dns: string; readonly port: number }
}

export const DEFAULT_PORT = 7946
const SECRET_BYTES = 32
/** Host names and IP addresses. */
export const HOST: RegExp = /^[A-Za-z0-9.:_%-]{1,253}$/

const port = v.pipe(
  v.number('must be a number'),
  v.integer('must be whole'),
  v.minValue(1, 'must be 1 to 65535'),
  v.maxValue(65_535, 'must be 1 to 65535'),
)
const host = v.pipe(v.string('must be a text'), v.regex(HOST, 'must be a host name or an IP address'))
const pem = v.union([v.pipe(v.string(), v.nonEmpty()), v.instance(Buffer)], 'must be PEM text or a Buffer')
const secret = v.pipe(
  v.string('must be a text (is the environment variable set?)'),
  v.check(
    (text) => Buffer.byteLength(text) >= SECRET_BYTES,
    `must have at least ${SECRET_BYTES} bytes (make one with: openssl rand -base64 48)`,
  ),
)
const peer = v.pipe(
  v.string('must be a text'),
  v.check((text) => parseAddress(text, DEFAULT_PORT) !== undefined, 'must be host, host:port or [ipv6]:port'),
)

// valibot's own messages would repeat values.
const shape = (issue: { expected: string | null }): string =>
  issue.expected === 'never' ? 'is not an option' : 'is missing or of the wrong type'

const schema = v.pipe(
  v.strictObject(
    {
      cluster: v.pipe(v.string('must be a text'), v.regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -')),
      secrets: v.optional(v.array(secret, 'must be a text or a list of texts')),
      port: v.optional(v.union([v.literal(0), port], 'must be 0 to 65535'), DEFAULT_PORT),
      host: v.optional(host),
      advertise: v.optional(v.strictObject({ host, port }, shape)),
      peers: v.union([v.array(peer), v.strictObject({ dns: host, port }, shape)], 'must be a list of host:port, or { dns, port }'),
      tls: v.optional(
        v.strictObject({ cert: pem, key: pem, ca: v.union([pem, v.array(pem)], 'must be PEM text, a Buffer or a list of them') }, shape),
      ),
      plaintext: v.optional(v.boolean('must be true or false'), false),
    },
    shape,
  ),
  v.check((o) => !(o.plaintext && o.tls !== undefined), 'plaintext and tls exclude each other'),
  v.check((o) => o.plaintext || o.tls !== undefined || (o.secrets?.length ?? 0) > 0, 'secrets: needed unless tls or plaintext is given'),
)

/** `host`, `host:port`, `[ipv6]:port` or a bare IPv6 address. */
export function parseAddress(text: string, defaultPort: number): Address | undefined {
  const match =
    /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? /^([0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*)$/.exec(text)
  if (match === null) return undefined
  const name = match[1] ?? match[2] ?? ''
  const number = match[3] === undefined ? defaultPort : Number(match[3])
  return v.is(host, name) && v.is(port, number) ? { host: name, port: number } : undefined
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** Throws CONFIG_INVALID that lists every problem; values are not repeated, they may be secret. */
export function checkTcpOptions(options: TcpTransportOptions): TcpSettings {
  const given = typeof options?.secrets === 'string' ? { ...options, secrets: [options.secrets] } : options
  const result = v.safeParse(schema, given)
  if (!result.success) {
    const problems = result.issues.map((issue) => `${v.getDotPath(issue) ?? ''}${v.getDotPath(issue) === null ? '' : ': '}${issue.message}`)
    throw new SessionError('CONFIG_INVALID', `tcpTransport: ${problems.join('; ')}.`)
  }
  const o = result.output
  return {
    cluster: o.cluster,
    security: securityOf(o.plaintext, o.tls, o.secrets ?? []),
    port: o.port,
    host: o.host ?? (o.plaintext ? '127.0.0.1' : undefined),
    advertise: o.advertise,
    peers: Array.isArray(o.peers) ? { addresses: addressesOf(o.peers, o.port) } : o.peers,
  }
}

function securityOf(plaintext: boolean, tls: v.InferOutput<typeof schema>['tls'], secrets: readonly string[]): Security {
  if (plaintext) return { mode: 'plaintext' }
  return tls === undefined ? { mode: 'psk', secrets } : { mode: 'mtls', ...tls }
}

function addressesOf(list: readonly string[], ownPort: number): Address[] {
  return list.map((text) => parseAddress(text, ownPort === 0 ? DEFAULT_PORT : ownPort)).filter((address) => address !== undefined)
}
