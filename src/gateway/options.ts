/** Every option of the gateway, its default and its check. */
import * as v from 'valibot'
import { SessionError } from '../errors.ts'
import type { AccessLine } from './access-log.ts'
import { isNetwork } from './trust.ts'

export const POLICY_NAMES = ['round-robin', 'least-connections', 'ip-hash', 'consistent-hash', 'sticky'] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

export interface ServerAddress {
  /** What you call it; default: its host and port. */
  readonly id: string
  /** `http://HOST:PORT`. */
  readonly url: string
}

export interface GatewayOptions {
  /** The servers to send requests to. May be empty: `add` and `setServers` bring more. */
  readonly to: readonly (string | ServerAddress)[]
  /**
   * Default `round-robin`. `ip-hash` is nginx's, `consistent-hash` hashes the visitor's address so that a new server moves only
   * its share, `sticky` follows the route cookie and sends the rest where the fewest sessions are or, when servers do not tell theirs
   * (`x-holdfast-load` on health answers), the fewest requests under way.
   */
  readonly policy?: PolicyName
  /** Default 0: a free one. */
  readonly port?: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** PEM texts. HTTP/2 and HTTP/1.1 over TLS instead of plain HTTP/1.1. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
  readonly health?: {
    /** Default `/health`. 2xx (or 404: no such page): up; 503: gets no new requests; everything else: down. */
    readonly path?: string
    /** Default 500. A server that is down is checked every 200 ms. */
    readonly everyMs?: number
    /** Default 500. */
    readonly timeoutMs?: number
  }
  /** `sticky`, `consistent-hash`: the cookie whose value is `owner.backup1.backup2…`. Default `session-route`. */
  readonly routeCookie?: string
  /** Further servers a request may try. Default 3. */
  readonly retries?: number
  /** A new process among others gets a tenth of its share first, all of it after so long. Default 0: all at once. */
  readonly slowStartMs?: number
  readonly limits?: {
    /** Requests and WebSockets under way on one server. Default 1,024. */
    readonly perServer?: number
    /** Requests that wait for one server to have room; one more is answered 503. Default 1,024. */
    readonly queue?: number
    /** The longest wait. Default 5,000. */
    readonly queueMs?: number
    /** Connections of clients. Default 16,384. */
    readonly connections?: number
  }
  /** Time for a client to send the head of a request. Default 30,000. */
  readonly clientHeadersTimeoutMs?: number
  /** Time for a client to send a body, to which every 500 bytes add a second. Default 20,000. Time that the server lets it wait does not count. */
  readonly clientBodyTimeoutMs?: number
  /** Time for a server to begin its answer. Default 30,000. */
  readonly headersTimeoutMs?: number
  /** Time to connect to a server. Default 2,000. */
  readonly connectTimeoutMs?: number
  /** A connection that carries nothing in either direction for so long is closed, WebSockets included. Default 300,000. */
  readonly idleTimeoutMs?: number
  /**
   * Whose X-Forwarded-* are kept and continued; everybody else's are replaced. `true`: every peer's, for a gateway that only a proxy can
   * reach. Default `false`: nobody's. A list: proxies' addresses and networks, `['10.0.0.0/8', '::1']`.
   */
  readonly trustForwarded?: boolean | readonly string[]
  /** Called once for each request, when it is over. */
  readonly accessLog?: (line: AccessLine) => void
  /** Prometheus text at `/metrics` on a port of its own, on 127.0.0.1 unless `host` says otherwise. */
  readonly metrics?: { readonly port: number; readonly host?: string }
  readonly logger?: Pick<Console, 'warn' | 'error'>
}

export interface GatewaySettings {
  readonly to: readonly ServerAddress[]
  readonly policy: PolicyName
  readonly port: number
  readonly host: string
  readonly tls: { readonly key: string | Buffer; readonly cert: string | Buffer } | undefined
  readonly health: { readonly path: string; readonly everyMs: number; readonly timeoutMs: number }
  readonly routeCookie: string
  readonly retries: number
  readonly slowStartMs: number
  readonly limits: { readonly perServer: number; readonly queue: number; readonly queueMs: number; readonly connections: number }
  readonly clientHeadersTimeoutMs: number
  readonly clientBodyTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly trustForwarded: boolean | readonly string[]
  readonly accessLog: ((line: AccessLine) => void) | undefined
  readonly metrics: { readonly port: number; readonly host: string } | undefined
  readonly logger: Pick<Console, 'warn' | 'error'> | undefined
}

const ID = /^[A-Za-z0-9._:[\]-]{1,128}$/
const milliseconds = v.pipe(v.number(), v.integer(), v.minValue(10), v.maxValue(86_400_000))
const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000))
const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535))
const id = v.pipe(v.string(), v.regex(ID, 'Use 1 to 128 letters, digits and any of . _ : [ ] -'))
const url = v.pipe(v.string(), v.check(isServerUrl, 'Give http://HOST:PORT, without a path.'))
const server = v.union([url, v.strictObject({ id, url })], 'Give http://HOST:PORT or { id, url }.')
const pem = v.union([v.pipe(v.string(), v.minLength(1)), v.instance(Buffer)], 'Give PEM text.')
const network = v.pipe(v.string(), v.check(isNetwork, 'Give addresses or networks, such as 10.0.0.0/8.'))
const aFunction = v.custom<(line: AccessLine) => void>((value) => typeof value === 'function', 'Give a function.')
const aLogger = v.custom<Pick<Console, 'warn' | 'error'>>((value) => typeof value === 'object' && value !== null, 'Give a logger.')

const schema = v.strictObject({
  to: v.array(server, 'Give a list of servers, each http://HOST:PORT.'),
  policy: v.optional(v.picklist(POLICY_NAMES, `Choose one of ${POLICY_NAMES.join(', ')}.`), 'round-robin'),
  port: v.optional(port, 0),
  host: v.optional(v.pipe(v.string(), v.minLength(1)), '127.0.0.1'),
  tls: v.optional(v.strictObject({ key: pem, cert: pem })),
  health: v.optional(
    v.strictObject({
      path: v.optional(v.pipe(v.string(), v.regex(/^\/[\u0021-\u007e]*$/, 'Start with "/".')), '/health'),
      everyMs: v.optional(milliseconds, 500),
      timeoutMs: v.optional(milliseconds, 500),
    }),
    {},
  ),
  routeCookie: v.optional(
    v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/, 'Use 1 to 64 letters, digits, "_" and "-".')),
    'session-route',
  ),
  retries: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(20)), 3),
  slowStartMs: v.optional(v.pipe(count, v.maxValue(600_000)), 0),
  limits: v.optional(
    v.strictObject({
      perServer: v.optional(v.pipe(count, v.minValue(1)), 1_024),
      queue: v.optional(count, 1_024),
      queueMs: v.optional(milliseconds, 5_000),
      connections: v.optional(v.pipe(count, v.minValue(1)), 16_384),
    }),
    {},
  ),
  clientHeadersTimeoutMs: v.optional(milliseconds, 30_000),
  clientBodyTimeoutMs: v.optional(milliseconds, 20_000),
  headersTimeoutMs: v.optional(milliseconds, 30_000),
  connectTimeoutMs: v.optional(milliseconds, 2_000),
  idleTimeoutMs: v.optional(milliseconds, 300_000),
  trustForwarded: v.optional(v.union([v.boolean(), v.array(network)], 'Give true, false or a list of addresses and networks.'), false),
  accessLog: v.optional(aFunction),
  metrics: v.optional(v.strictObject({ port, host: v.optional(v.pipe(v.string(), v.minLength(1)), '127.0.0.1') })),
  logger: v.optional(aLogger),
})

const listOnly = v.strictObject({ to: schema.entries.to })

/** Checks everything at once. Throws CONFIG_INVALID with all problems. */
export function gatewaySettings(options: GatewayOptions): GatewaySettings {
  const checked = v.safeParse(schema, options)
  if (!checked.success) throw invalid(checked.issues.map(describe))
  const { tls, accessLog, metrics, logger, to, ...others } = checked.output
  return { ...others, tls, accessLog, metrics, logger, to: listed(to) }
}

/** Checks a whole list of servers. */
export function serverList(given: readonly (string | ServerAddress)[]): ServerAddress[] {
  const checked = v.safeParse(listOnly, { to: given })
  if (!checked.success) throw invalid(checked.issues.map(describe))
  return listed(checked.output.to)
}

function listed(given: readonly (string | ServerAddress)[]): ServerAddress[] {
  const to = given.map(addressOf)
  const problems = to.flatMap((one, at) => duplicateProblems(one, to.slice(0, at)))
  if (problems.length > 0) throw invalid(problems)
  return to
}

/** Checks one server that joins `others`. */
export function joiningServer(given: string | ServerAddress, others: readonly ServerAddress[]): ServerAddress {
  const checked = v.safeParse(server, given)
  if (!checked.success) throw invalid(checked.issues.map(describe))
  const address = addressOf(checked.output)
  const problems = duplicateProblems(address, others)
  if (problems.length > 0) throw invalid(problems)
  return address
}

function addressOf(given: string | ServerAddress): ServerAddress {
  const { origin, host } = new URL(typeof given === 'string' ? given : given.url)
  return { id: typeof given === 'string' ? host : given.id, url: origin }
}

function duplicateProblems(address: ServerAddress, others: readonly ServerAddress[]): string[] {
  const same = others.find((other) => other.url === address.url)
  if (same !== undefined) return [`to: ${address.url} is named twice: remove one.`]
  if (others.some((other) => other.id === address.id)) return [`to: two servers are called ${address.id}: give each its own id.`]
  return []
}

function isServerUrl(text: string): boolean {
  const parsed = URL.canParse(text) ? new URL(text) : undefined
  if (parsed === undefined || parsed.protocol !== 'http:' || parsed.username !== '' || parsed.password !== '') return false
  return parsed.pathname === '/' && parsed.search === '' && parsed.hash === ''
}

function describe(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue)
  return path === null ? issue.message : `${path}: ${issue.message}`
}

function invalid(problems: readonly string[]): SessionError {
  return new SessionError('CONFIG_INVALID', `Gateway: ${problems.join('\n')}`)
}
