import * as v from 'valibot'
import { SessionError } from '../errors.ts'

/** Answers a NATS server's challenge: what the driver's `credsAuthenticator`, `nkeyAuthenticator` and others return. */
export type NatsAuthenticator = (nonce?: string) => void | object

export interface NatsTlsOptions {
  readonly ca?: string
  readonly caFile?: string
  readonly cert?: string
  readonly certFile?: string
  readonly key?: string
  readonly keyFile?: string
  /** The server expects TLS from the first byte. */
  readonly handshakeFirst?: boolean
  /** Default true: the server's certificate is verified. */
  readonly rejectUnauthorized?: boolean
}

export interface NatsTransportOptions {
  /** Name of the cluster: servers of another name share nothing. 1 to 64 characters of `A-Za-z0-9._-`. */
  cluster: string
  /** Newest first, each at least 32 bytes. All that is sent over NATS is sealed with keys derived from them. */
  secrets: string | undefined | readonly (string | undefined)[]
  /** `host`, `host:port` or `nats://host:port` of NATS servers, default port 4222; `tls://` demands TLS. Others of their cluster are learned. */
  servers: string | readonly string[]
  /** As for the driver, as all below. Credentials are never part of `servers`. */
  user?: string
  pass?: string
  token?: string
  authenticator?: NatsAuthenticator | readonly NatsAuthenticator[]
  /** `{}` demands TLS, `null` refuses it. Default: TLS where the server offers it. */
  tls?: NatsTlsOptions | null
  /** Milliseconds a NATS server has for its handshake. Default 20,000; another server is tried after 2,000 already. */
  timeout?: number
  noRandomize?: boolean
  ignoreClusterUpdates?: boolean
  /** How often servers tell each other that they live; the same on all. Default 500. */
  heartbeatMs?: number
  /** A server not heard for so long is down. At least 3 heartbeats; the same on all. Default 3,000. */
  silenceMs?: number
}

/** What is handed to the driver as it is. */
export type DriverOptions = Pick<
  NatsTransportOptions,
  'user' | 'pass' | 'token' | 'authenticator' | 'tls' | 'timeout' | 'noRandomize' | 'ignoreClusterUpdates'
>

/** Checked options, defaults filled in. */
export interface NatsSettings {
  readonly cluster: string
  readonly secrets: readonly string[]
  readonly servers: readonly string[]
  readonly driver: DriverOptions
  readonly heartbeatMs: number
  readonly silenceMs: number
}

const SECRET_BYTES = 32
const HEARTBEAT_MS = 500
const SILENCE_MS = 3000
const HEARTBEATS_MIN = 3
const DRIVER_TIMEOUT_MS = 20_000
const SERVER = /^(?:(?:nats|tls):\/\/)?(?:\[[0-9A-Fa-f:.%]{2,64}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?$/

const text = v.pipe(v.string('must be a text'), v.nonEmpty('must not be empty'))
const flag = v.boolean('must be true or false')
const duration = (least: number): v.GenericSchema<number> =>
  v.pipe(
    v.number('must be a number'),
    v.integer('must be whole'),
    v.minValue(least, `must be ${least} or more`),
    v.maxValue(600_000, 'must be 600000 or less'),
  )
const callable = v.custom<NatsAuthenticator>((value) => typeof value === 'function', 'must be a function or a list of functions')
const server = v.pipe(
  v.string('must be a text'),
  v.check((given) => !given.includes('@'), 'must hold no credentials: give user and pass, token or authenticator'),
  v.regex(SERVER, 'must be host, host:port, nats://host:port or tls://host:port'),
)
const secret = v.pipe(
  v.string('must be a text (is the environment variable set?)'),
  v.check(
    (given) => Buffer.byteLength(given) >= SECRET_BYTES,
    `must have at least ${SECRET_BYTES} bytes (make one with: openssl rand -base64 48)`,
  ),
)

// valibot's own messages would repeat values.
const shape = (issue: { expected: string | null }): string =>
  issue.expected === 'never' ? 'is not an option' : 'is missing or of the wrong type'

const tlsSchema = v.strictObject(
  {
    ca: v.optional(text),
    caFile: v.optional(text),
    cert: v.optional(text),
    certFile: v.optional(text),
    key: v.optional(text),
    keyFile: v.optional(text),
    handshakeFirst: v.optional(flag),
    rejectUnauthorized: v.optional(flag),
  },
  shape,
)

const schema = v.pipe(
  v.strictObject(
    {
      cluster: v.pipe(v.string('must be a text'), v.regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -')),
      secrets: v.pipe(v.array(secret, 'must be a text or a list of texts'), v.minLength(1, 'needs at least one')),
      servers: v.pipe(v.array(server, 'must be a text or a list of texts'), v.minLength(1, 'needs at least one')),
      user: v.optional(text),
      pass: v.optional(text),
      token: v.optional(text),
      authenticator: v.optional(v.union([callable, v.array(callable)], 'must be a function or a list of functions')),
      tls: v.optional(v.nullable(tlsSchema)),
      timeout: v.optional(duration(100), DRIVER_TIMEOUT_MS),
      noRandomize: v.optional(flag),
      ignoreClusterUpdates: v.optional(flag),
      heartbeatMs: v.optional(duration(20), HEARTBEAT_MS),
      silenceMs: v.optional(duration(60), SILENCE_MS),
    },
    shape,
  ),
  v.check(
    (o) => o.silenceMs >= HEARTBEATS_MIN * o.heartbeatMs,
    `silenceMs: must be at least ${HEARTBEATS_MIN} times heartbeatMs, or servers that live are taken for dead`,
  ),
  v.check((o) => o.tls !== null || !o.servers.some(isTls), 'servers: tls:// and tls: null exclude each other'),
)

function isTls(address: string): boolean {
  return address.startsWith('tls://')
}

/** Throws CONFIG_INVALID that lists every problem; values are not repeated, they may be secret. */
export function checkNatsOptions(options: NatsTransportOptions): NatsSettings {
  const listed = (given: unknown): unknown => (typeof given === 'string' ? [given] : given)
  const result = v.safeParse(schema, { ...options, secrets: listed(options?.secrets), servers: listed(options?.servers) })
  if (!result.success) {
    const problems = result.issues.map((issue) => `${v.getDotPath(issue) ?? ''}${v.getDotPath(issue) === null ? '' : ': '}${issue.message}`)
    throw new SessionError('CONFIG_INVALID', `natsTransport: ${problems.join('; ')}.`)
  }
  const { cluster, secrets, servers, heartbeatMs, silenceMs, ...driver } = result.output
  // The driver ignores the scheme, so that TLS would be a matter of what the server offers.
  if (servers.some(isTls)) driver.tls ??= {}
  return {
    cluster,
    secrets,
    servers: servers.map((address) => address.replace(/^(nats|tls):\/\//, '')),
    driver: driver as DriverOptions,
    heartbeatMs,
    silenceMs,
  }
}
