import { SessionError } from '../errors.ts'
import { nodeProblem, serverProblem } from './names.ts'

export type BalancerPolicy = 'affinity' | 'hash' | 'least-connections' | 'round-robin'

export const BALANCER_POLICIES: readonly BalancerPolicy[] = ['affinity', 'hash', 'least-connections', 'round-robin']

export interface BalancerOptions {
  /**
   * The servers as URLs, such as `http://10.0.0.1:3000`; `n1=http://10.0.0.1:3000` names one as its `node` does. Without names: n1, n2 … in
   * this order.
   */
  readonly to: readonly string[]
  /** Port to listen on. Default 8080. */
  readonly port?: number
  /** Address to listen on. Default: all. */
  readonly host?: string
  /**
   * `affinity` (default): each visitor at the server that the route cookie names. `hash`: by the number in it. The others spread requests
   * evenly: for replication, dedicated and cookieBased.
   */
  readonly policy?: BalancerPolicy
  /** Name of the session cookie, whose route cookie is `<name>-route`. Default `__Host-session`. */
  readonly cookie?: string
  /** Path that answers 200 where a server takes requests and an error while it drains. Default: only its port is looked at. */
  readonly health?: string
}

export interface BalancedServer {
  /** As `node` of its `createSessions`. */
  readonly name: string
  readonly host: string
  readonly port: number
  /** `host:port` */
  readonly address: string
}

/** Checked options, as the writers take them. */
export interface BalancerPlan {
  readonly servers: readonly BalancedServer[]
  readonly port: number
  readonly host: string | undefined
  readonly policy: BalancerPolicy
  readonly routeCookie: string
  readonly health: string | undefined
}

const DEFAULT_PORT = 8080
const SERVERS_MAX = 256
const COOKIE = /^[A-Za-z0-9_-]{1,64}$/
const HEALTH = /^\/[A-Za-z0-9._~/-]{0,255}$/
/** Words of nginx's `map`, HAProxy's and YAML's: a server of that name would be read as something else. */
const RESERVED = new Set(['default', 'include', 'hostnames', 'volatile', 'on', 'off', 'yes', 'no', 'true', 'false', 'null', 'any'])

/** Throws CONFIG_INVALID that names every problem, and shows none of the texts: they may hold anything. */
export function planOf(options: BalancerOptions): BalancerPlan {
  const { cookie = '__Host-session', health, host, policy = 'affinity', port = DEFAULT_PORT } = options
  const problems: string[] = []
  const servers = options.to.flatMap((text, index) => serverOf(text, index, problems))
  if (options.to.length === 0) problems.push('name at least one server, such as http://10.0.0.1:3000.')
  if (servers.length > SERVERS_MAX) problems.push(`at most ${SERVERS_MAX} servers.`)
  problems.push(...doubles(servers))
  if (!Number.isInteger(port) || port < 1 || port > 65_535) problems.push('port: give a number from 1 to 65535.')
  if (host !== undefined && !isHost(host)) problems.push('host: give an address to listen on, such as 127.0.0.1.')
  if (!BALANCER_POLICIES.includes(policy)) problems.push(`policy: use one of ${BALANCER_POLICIES.join(', ')}.`)
  if (!COOKIE.test(cookie)) problems.push('cookie: use 1 to 64 letters, digits, "_" and "-".')
  if (health !== undefined && !HEALTH.test(health)) problems.push('health: give a path of letters, digits and . _ ~ / -, such as /health.')
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `balancer: ${problems.join(' ')}`)
  return { servers, port, host, policy, routeCookie: `${cookie}-route`, health }
}

function isHost(host: string): boolean {
  return serverProblem(host).length === 0
}

function serverOf(text: string, index: number, problems: string[]): BalancedServer[] {
  const which = `server ${index + 1}`
  const named = /^([^=:/]*)=(.*)$/s.exec(text)
  const name = named?.[1] ?? `n${index + 1}`
  const target = named?.[2] ?? text
  const found = nodeProblem(name)
  if (RESERVED.has(name.toLowerCase())) found.push('its name is a word of the configuration: choose another.')
  // Not the URL parser alone: it drops line breaks and turns letters of other scripts into ASCII.
  const parts = /^http:\/\/(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?\/?$/.exec(target)
  const port = Number(parts?.[2] ?? 80)
  if (parts === null || port < 1 || port > 65_535) found.push('give http://HOST:PORT, its host of letters, digits and . : _ [ ] - only.')
  problems.push(...found.map((problem) => `${which}: ${problem}`))
  if (parts === null || found.length > 0) return []
  const host = parts[1] as string
  return [{ name, host, port, address: `${host}:${port}` }]
}

function doubles(servers: readonly BalancedServer[]): string[] {
  const problems: string[] = []
  const names = new Set<string>()
  const addresses = new Set<string>()
  for (const [index, { address, name }] of servers.entries()) {
    // nginx compares names without regard to case.
    if (names.has(name.toLowerCase())) problems.push(`server ${index + 1}: another one has its name.`)
    if (addresses.has(address.toLowerCase())) problems.push(`server ${index + 1}: another one has its address.`)
    names.add(name.toLowerCase())
    addresses.add(address.toLowerCase())
  }
  return problems
}
