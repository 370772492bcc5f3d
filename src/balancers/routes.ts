/** What the route cookie says, in the form that the balancer in front understands: for `affinity({ route })`. */
import { createHash, createHmac } from 'node:crypto'
import { SessionError } from '../errors.ts'
import type { Route, RouteFormat } from '../core/slot-order.ts'

/** `owner.backup`, by the names that the servers have in the balancer's configuration: nginx, HAProxy. */
export function nameRoute({ nodes }: Route): string | undefined {
  return nodes.length === 0 ? undefined : nodes.join('.')
}

/** A number that stays with the session: for a balancer that hashes it (`--policy hash`), with `nginxRing` or `haproxyRing` as placement. */
export function slotRoute({ slot }: Route): string {
  return String(slot)
}

/**
 * Envoy's stateful session cookie: base64 of `ip:port`. It shows visitors the servers' addresses, because Envoy demands it.
 * @param addresses of each server by name (`node`), such as `{ n1: '10.0.0.1:3000' }`.
 */
export function envoyRoute(addresses: Readonly<Record<string, string>>): RouteFormat {
  return ofOwner(addresses, (address) => Buffer.from(address).toString('base64'))
}

/**
 * Traefik's sticky cookie: the first 16 hex digits of the SHA-256 of the server's URL, as it stands in its configuration.
 * @param urls of each server by name (`node`), such as `{ n1: 'http://10.0.0.1:3000' }`.
 */
export function traefikRoute(urls: Readonly<Record<string, string>>): RouteFormat {
  return ofOwner(urls, (url) => createHash('sha256').update(url).digest('hex').slice(0, 16))
}

/**
 * Caddy's `lb_policy cookie`: HMAC-SHA-256 of the upstream's address under the secret in its configuration, in hex.
 * @param dials each server's `host:port` by name (`node`), such as `{ n1: '10.0.0.1:3000' }`.
 */
export function caddyRoute(dials: Readonly<Record<string, string>>, secret: string): RouteFormat {
  if (secret === '') throw new SessionError('CONFIG_INVALID', "caddyRoute: give the secret of Caddy's `lb_policy cookie`.")
  return ofOwner(dials, (dial) => createHmac('sha256', secret).update(dial).digest('hex'))
}

/** These balancers know one server per visitor. Computed once per server. */
function ofOwner(servers: Readonly<Record<string, string>>, format: (server: string) => string): RouteFormat {
  const values = new Map(Object.entries(servers).map(([node, server]) => [node, format(server)]))
  return ({ nodes }) => (nodes[0] === undefined ? undefined : values.get(nodes[0]))
}
