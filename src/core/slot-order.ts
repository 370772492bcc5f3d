/** Sessions are placed by slot, not one by one: 16,384 of them, the first 14 bits of a session's key. */
export const SLOTS = 16_384

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const SEXTET = new Uint8Array(128)
for (let value = 0; value < ALPHABET.length; value++) SEXTET[ALPHABET.charCodeAt(value)] = value

/** The first 14 bits of a key, which is a SHA-256 in base64url. */
export function slotOf(key: string): number {
  return (sextet(key, 0) << 8) | (sextet(key, 1) << 2) | (sextet(key, 2) >> 4)
}

function sextet(key: string, at: number): number {
  return SEXTET[key.charCodeAt(at) & 127] as number
}

/** In which order servers should hold the sessions of a slot: what `affinity({ placement })` takes. */
export interface SlotOrder {
  readonly name: string
  /** All of `nodes`, best first. Pure: every server computes the same. */
  order(slot: number, nodes: readonly string[]): readonly string[]
}

/** Where a session lives, for the cookie that tells it to the balancer in front. */
export interface Route {
  /** Names of servers (`node` of `createSessions`), the owner's first, then those of its backups. */
  readonly nodes: readonly string[]
  readonly slot: number
}

/** The route cookie's value, or undefined where the balancer cannot be told: no cookie is set then. */
export type RouteFormat = (route: Route) => string | undefined

/** Seed of a server's rendezvous scores: FNV-1a, 32 bits. */
export function rendezvousSeed(node: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < node.length; at++) hash = Math.imul(hash ^ node.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

/** The server with the highest score comes first (Thaler & Ravishankar, 1998). */
export function rendezvousScore(seed: number, slot: number): number {
  return mix(seed ^ Math.imul(slot + 1, 0x9e3779b1))
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The names in rendezvous order. Equal scores: by name. */
export function rendezvousOrder(slot: number, nodes: readonly string[]): readonly string[] {
  const scored = nodes.map((node) => ({ node, score: rendezvousScore(rendezvousSeed(node), slot) }))
  scored.sort((a, b) => b.score - a.score || (a.node < b.node ? -1 : 1))
  return scored.map(({ node }) => node)
}
