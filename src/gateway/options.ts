/** Every option of the gateway, its default and its check. */
import * as v from 'valibot'
import { SessionError } from '../errors.ts'

export const POLICY_NAMES = ['round-robin', 'least-connections', 'ip-hash', 'consistent-hash', 'sticky'] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

export interface ServerAddress {
  /** What you call it; default: its host and port. */
  readonly id: string
  /** `http://HOST:PORT`. */
  readonly url: string
}

export interface GatewayOptions {
  /** The servers to send requests to. May be empty: `add` brings more. */
  readonly to: readonly (string | ServerAddress)[]
  /**
   * Default `round-robin`. `ip-hash` is nginx's, `consistent-hash` hashes the visitor's address so that a new server moves only
   * its share, `sticky` follows the route cookie and sends the rest to the server with the fewest requests under way.
   */
  readonly policy?: PolicyName
  /** Default 0: a free one. */
  readonly port?: number
  /** Default 127.0.0.1. */
  readonly host?: string
  readonly health?: {
    /** Default `/health`. 2xx (or 404: no such page): up; 503: gets no new requests; everything else: down. */
    readonly path?: string
    /** Default 500. A server that is down is checked every 200 ms. */
    readonly everyMs?: number
    /** Default 500. */
    readonly timeoutMs?: number
  }
  /** `sticky`: the cookie whose value is `owner.backup1.backup2…`. Default `session-route`. */
  readonly routeCookie?: string
  /** Further servers a request may try. Default 3. */
  readonly retries?: number
  /** Time for a server to begin its answer. Default 30,000. */
  readonly headersTimeoutMs?: number
  /** Time to connect to a server. Default 2,000. */
  readonly connectTimeoutMs?: number
  /** A connection that carries nothing in either direction for so long is closed, WebSockets included. Default 300,000. */
  readonly idleTimeoutMs?: number
  /** A trusted proxy stands in front: its X-Forwarded-* are kept and continued. Default false: they are replaced. */
  readonly trustForwarded?: boolean
  readonly logger?: Pick<Console, 'warn' | 'error'>
}

export interface GatewaySettings {
  readonly to: readonly ServerAddress[]
  readonly policy: PolicyName
  readonly port: number
  readonly host: string
  readonly health: { readonly path: string; readonly everyMs: number; readonly timeoutMs: number }
  readonly routeCookie: string
  readonly retries: number
  readonly headersTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly trustForwarded: boolean
  readonly logger: Pick<Console, 'warn' | 'error'> | undefined
}

const ID = /^[A-Za-z0-9._:[\]-]{1,128}$/
const milliseconds = v.pipe(v.number(), v.integer(), v.minValue(10), v.maxValue(86_400_000))
const id = v.pipe(v.string(), v.regex(ID, 'Use 1 to 128 letters, digits and any of . _ : [ ] -'))
const url = v.pipe(v.string(), v.check(isServerUrl, 'Give http://HOST:PORT, without a path.'))
const server = v.union([url, v.strictObject({ id, url })], 'Give http://HOST:PORT or { id, url }.')

const schema = v.strictObject({
  to: v.array(server, 'Give a list of servers, each http://HOST:PORT.'),
  policy: v.optional(v.picklist(POLICY_NAMES, `Choose one of ${POLICY_NAMES.join(', ')}.`), 'round-robin'),
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)), 0),
  host: v.optional(v.pipe(v.string(), v.minLength(1)), '127.0.0.1'),
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
  headersTimeoutMs: v.optional(milliseconds, 30_000),
  connectTimeoutMs: v.optional(milliseconds, 2_000),
  idleTimeoutMs: v.optional(milliseconds, 300_000),
  trustForwarded: v.optional(v.boolean(), false),
  logger: v.optional(v.custom<Pick<Console, 'warn' | 'error'>>((value) => typeof value === 'object' && value !== null, 'Give a logger.')),
})

/** Checks everything at once. Throws CONFIG_INVALID with all problems. */
export function gatewaySettings(options: GatewayOptions): GatewaySettings {
  const checked = v.safeParse(schema, options)
  if (!checked.success) throw invalid(checked.issues.map(describe))
  const to = checked.output.to.map(addressOf)
  const problems = to.flatMap((one, at) => duplicateProblems(one, to.slice(0, at)))
  if (problems.length > 0) throw invalid(problems)
  return { ...checked.output, to, logger: checked.output.logger }
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
