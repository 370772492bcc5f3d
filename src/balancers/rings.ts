/** Orders of servers that match a balancer's own hash, so that backups sit where it fails over to. */
import { crc32 } from 'node:zlib'
import { SessionError } from '../errors.ts'
import { rendezvousOrder, SLOTS, type SlotOrder } from '../core/slot-order.ts'
import { serverProblem } from './names.ts'

/** Points on a circle of 2^32, sorted, and the node that each belongs to. */
interface Ring {
  readonly points: Uint32Array
  readonly nodes: readonly string[]
}

const CIRCLE = 2 ** 32
const NGINX_POINTS = 160
const HAPROXY_SCALE = 16
const HAPROXY_RANGE = 256 * HAPROXY_SCALE
const HAPROXY_WEIGHT_MAX = 256

/** The default of `affinity`: rendezvous hashing (Thaler & Ravishankar, 1998). For a balancer that is told each visitor's server. */
export function rendezvous(): SlotOrder {
  return { name: 'rendezvous', order: rendezvousOrder }
}

/**
 * The order in which nginx's `hash $slot consistent` tries its servers (ngx_http_upstream_hash_module), with equal weights: `$slot` is the
 * number that `nginxHashRoute` puts into the route cookie.
 * @param servers each server's name (`node` of `createSessions`), and the text after `server` in nginx's configuration, such as `10.0.0.1:3000`.
 */
export function nginxRing(servers: Readonly<Record<string, string>>): SlotOrder {
  const problems = Object.values(servers).flatMap((server) => serverProblem(server))
  refuse(problems, servers)
  const ring = ringOf(Object.entries(servers).map(([node, server]) => [node, nginxPoints(server)]))
  return ordered('nginxRing', (slot, wanted) => clockwise(ring, crc32(String(slot)), wanted))
}

/**
 * The order of HAProxy's `balance hash` with `hash-type consistent crc32 avalanche` over the same number: the server with the nearest point
 * first, then the nearest of the others, as servers are found DOWN. Before a check has found a server DOWN, a redispatch goes elsewhere for about 40%
 * of its keys: such a request is served by a fetch.
 * @param ids each server's name, and the `id` that HAProxy's configuration gives it.
 * @param weight each server's `weight`. Default 100: with HAProxy's own default of 1 the fullest server gets 1.37 times the mean.
 */
export function haproxyRing(ids: Readonly<Record<string, number>>, { weight = 100 }: { readonly weight?: number } = {}): SlotOrder {
  const problems = Object.values(ids).every((id) => Number.isInteger(id) && id > 0) ? [] : ['each `id` must be a whole number above 0.']
  if (!Number.isInteger(weight) || weight < 1 || weight > HAPROXY_WEIGHT_MAX)
    problems.push('`weight` must be a whole number from 1 to 256.')
  refuse(problems, ids)
  const ring = ringOf(Object.entries(ids).map(([node, id]) => [node, haproxyPoints(id, weight)]))
  return ordered('haproxyRing', (slot, wanted) => outward(ring, avalanche(crc32(String(slot))), wanted))
}

function refuse(problems: readonly string[], servers: Readonly<Record<string, unknown>>): void {
  const all = Object.keys(servers).length === 0 ? ['name at least one server.'] : problems
  if (all.length > 0) throw new SessionError('CONFIG_INVALID', `placement: ${all.join(' ')}`)
}

/** Servers that the balancer does not know come last. */
function ordered(name: string, walk: (slot: number, wanted: Set<string>) => string[]): SlotOrder {
  return {
    name,
    order(slot, nodes) {
      const found = walk(slot % SLOTS, new Set(nodes))
      if (found.length === nodes.length) return found
      return [...found, ...rendezvousOrder(slot, nodes).filter((node) => !found.includes(node))]
    },
  }
}

function ringOf(servers: readonly (readonly [string, readonly number[]])[]): Ring {
  const all = servers.flatMap(([node, points]) => points.map((point) => ({ node, point })))
  all.sort((a, b) => a.point - b.point)
  return { points: Uint32Array.from(all, ({ point }) => point), nodes: all.map(({ node }) => node) }
}

/** The first point at or after the key; wraps to 0. */
function firstFrom({ points }: Ring, key: number): number {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((points[middle] as number) < key) low = middle + 1
    else high = middle
  }
  return low === points.length ? 0 : low
}

function clockwise(ring: Ring, key: number, wanted: Set<string>): string[] {
  const found: string[] = []
  const { length } = ring.points
  for (let at = firstFrom(ring, key), steps = 0; steps < length && wanted.size > 0; at = (at + 1) % length, steps++) {
    const node = ring.nodes[at] as string
    if (wanted.delete(node)) found.push(node)
  }
  return found
}

/** By distance in either direction; of two as near, the one before the key. */
function outward(ring: Ring, key: number, wanted: Set<string>): string[] {
  const found: string[] = []
  const { length } = ring.points
  let next = firstFrom(ring, key)
  let before = (next + length - 1) % length
  for (let steps = 0; steps < length && wanted.size > 0; steps++) {
    const back = (key - (ring.points[before] as number) + CIRCLE) % CIRCLE
    const forth = ((ring.points[next] as number) - key + CIRCLE) % CIRCLE
    const isBack = back <= forth
    const node = ring.nodes[isBack ? before : next] as string
    if (wanted.delete(node)) found.push(node)
    if (isBack) before = (before + length - 1) % length
    else next = (next + 1) % length
  }
  return found
}

/** Each point is the checksum of host, NUL, port and the point before it. */
function nginxPoints(server: string): number[] {
  const [, host, port = ''] = /^(.*?)(?::(\d*))?$/.exec(server) as unknown as [string, string, string | undefined]
  const base = crc32(`${host}\0${port}`)
  const last = Buffer.alloc(4)
  const points: number[] = []
  for (let count = 0; count < NGINX_POINTS; count++) {
    const point = crc32(last, base)
    last.writeUInt32LE(point)
    points.push(point)
  }
  return points
}

function haproxyPoints(id: number, weight: number): number[] {
  return Array.from({ length: weight * HAPROXY_SCALE }, (_, index) => avalanche((id * HAPROXY_RANGE + index) >>> 0))
}

/** Bob Jenkins' 32-bit full avalanche, times 3221225473. */
function avalanche(value: number): number {
  let hash = value | 0
  hash = (hash + 0x7ed55d16 + (hash << 12)) | 0
  hash = hash ^ 0xc761c23c ^ (hash >>> 19)
  hash = (hash + 0x165667b1 + (hash << 5)) | 0
  hash = (hash + 0xd3a2646c) ^ (hash << 9)
  hash = (hash + 0xfd7046c5 + (hash << 3)) | 0
  hash = hash ^ 0xb55a4f09 ^ (hash >>> 16)
  return Math.imul(hash, 3221225473) >>> 0
}
