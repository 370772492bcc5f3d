import type { Member, Members } from './members.ts'

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

/** `all`: every server. `first`: the first `copies` of the preference. `owner`: where it was written, and the next `backups`. */
export type Policy =
  | { readonly kind: 'all' }
  | { readonly kind: 'first'; readonly copies: number }
  | { readonly kind: 'owner'; readonly backups: number }

/** Where a session written at this server has to be. */
export interface Home {
  /** This server counts as a holder. */
  readonly self: boolean
  /** The other servers that get every write. */
  readonly others: readonly Member[]
  /** Those of them whose acknowledgement counts. */
  readonly counting: readonly Member[]
}

export interface Placement {
  /** Servers in the order in which they should hold the key. */
  preference(key: string): readonly Member[]
  /** The same object as long as membership stays. */
  home(key: string): Home
}

/**
 * Rendezvous hashing (Thaler & Ravishankar, 1998) per slot. Adding a server moves keys to it only, and a moved key's old
 * home is its new second choice.
 */
export function createPlacement(members: Members, policy: Policy): Placement {
  let version = -1
  let orders: (readonly Member[] | undefined)[] = []
  let homes: (Home | undefined)[] = []
  let everyone: Home | undefined

  function refresh(): void {
    if (version === members.version()) return
    version = members.version()
    orders = Array.from({ length: SLOTS })
    homes = Array.from({ length: SLOTS })
    everyone = undefined
  }

  function orderOf(slot: number): readonly Member[] {
    let order = orders[slot]
    if (order === undefined) {
      order = rank(members.holders(), slot)
      orders[slot] = order
    }
    return order
  }

  function homeOfSlot(slot: number): Home {
    const staying = members.holders().includes(members.self)
    const notSelf = (member: Member): boolean => member !== members.self
    if (policy.kind === 'first') {
      const first = orderOf(slot).slice(0, policy.copies)
      const others = first.filter(notSelf)
      return { self: first.includes(members.self), others, counting: others }
    }
    // A server that leaves hands its sessions over: one more server takes its place.
    const count = policy.kind === 'owner' ? policy.backups + (staying ? 0 : 1) : 0
    const others = orderOf(slot).filter(notSelf).slice(0, count)
    return { self: staying, others, counting: others }
  }

  function homeOfAll(): Home {
    const others = members.others()
    const holders = members.holders()
    return { self: holders.includes(members.self), others, counting: others.filter((member) => holders.includes(member)) }
  }

  return {
    preference(key) {
      refresh()
      return orderOf(slotOf(key))
    },
    home(key) {
      refresh()
      if (policy.kind === 'all') return (everyone ??= homeOfAll())
      const slot = slotOf(key)
      let home = homes[slot]
      if (home === undefined) {
        home = homeOfSlot(slot)
        homes[slot] = home
      }
      return home
    },
  }
}

function rank(members: readonly Member[], slot: number): readonly Member[] {
  const scored = members.map((member) => ({ member, score: mix(member.seed ^ Math.imul(slot + 1, 0x9e3779b1)) }))
  scored.sort((a, b) => b.score - a.score || (a.member.peer.node < b.member.peer.node ? -1 : 1))
  return scored.map(({ member }) => member)
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
