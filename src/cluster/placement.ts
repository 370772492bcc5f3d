import { rendezvousScore, slotOf, SLOTS, type SlotOrder } from '../core/slot-order.ts'
import type { Member, Members } from './members.ts'

export { slotOf, SLOTS }

/** `all`: every server. `first`: the first `copies` of the preference. `owner`: where it was written, and the next `backups`. */
export type Policy =
  | { readonly kind: 'all' }
  | { readonly kind: 'first'; readonly copies: number }
  | { readonly kind: 'owner'; readonly backups: number; readonly order?: SlotOrder }

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
  /** The same, of all keys of a slot. */
  preferenceOf(slot: number): readonly Member[]
  /** The same object as long as membership stays. */
  home(key: string): Home
}

/** What a slot's sessions need to know, valid for one version of the membership. */
class Slot {
  version = -1
  order: readonly Member[] = []
  home: Home | undefined
}

/**
 * Rendezvous hashing (Thaler & Ravishankar, 1998) per slot, or the order of a balancer. Adding a server moves keys to it only, and
 * a moved key's old home is its new second choice. Each slot is computed when it is first asked for: a change of membership costs nothing by itself.
 */
export function createPlacement(members: Members, policy: Policy): Placement {
  const slots: (Slot | undefined)[] = []
  const given = policy.kind === 'owner' ? policy.order : undefined
  let everyone: { readonly version: number; readonly home: Home } | undefined

  function slotFor(number: number): Slot {
    const version = members.version()
    if (slots.length === 0) slots.length = SLOTS
    const slot = (slots[number] ??= new Slot())
    if (slot.version === version) return slot
    slot.version = version
    slot.order = given === undefined ? rank(members.holders(), number) : byName(members.holders(), given, number)
    slot.home = undefined
    return slot
  }

  function homeOf(order: readonly Member[]): Home {
    const notSelf = (member: Member): boolean => member !== members.self
    if (policy.kind === 'first') {
      const first = order.slice(0, policy.copies)
      const others = first.filter(notSelf)
      return { self: first.includes(members.self), others, counting: others }
    }
    const staying = members.holders().includes(members.self)
    // A server that leaves hands its sessions over: one more server takes its place.
    const count = policy.kind === 'owner' ? policy.backups + (staying ? 0 : 1) : 0
    const others = order.filter(notSelf).slice(0, count)
    return { self: staying, others, counting: others }
  }

  function homeOfAll(): Home {
    const others = members.others()
    const holders = members.holders()
    return { self: holders.includes(members.self), others, counting: others.filter((member) => holders.includes(member)) }
  }

  return {
    preference: (key) => slotFor(slotOf(key)).order,
    preferenceOf: (slot) => slotFor(slot).order,
    home(key) {
      if (policy.kind === 'all') {
        const version = members.version()
        if (everyone?.version !== version) everyone = { version, home: homeOfAll() }
        return everyone.home
      }
      const slot = slotFor(slotOf(key))
      return (slot.home ??= homeOf(slot.order))
    },
  }
}

/** One buffer for all: nothing else runs between filling and reading it. */
let scores = new Float64Array(64)

/** By score, highest first; members are few, so they are inserted one by one. */
function rank(members: readonly Member[], slot: number): readonly Member[] {
  if (scores.length < members.length) scores = new Float64Array(members.length * 2)
  const ranked: Member[] = []
  for (const member of members) {
    const score = rendezvousScore(member.seed, slot)
    let at = ranked.length
    for (; at > 0; at--) {
      const before = scores[at - 1] as number
      if (before > score || (before === score && (ranked[at - 1] as Member).peer.node < member.peer.node)) break
      scores[at] = before
      ranked[at] = ranked[at - 1] as Member
    }
    scores[at] = score
    ranked[at] = member
  }
  return ranked
}

/** A name may be there twice for a moment: a server that came back before its former run was found dead. */
function byName(members: readonly Member[], order: SlotOrder, slot: number): readonly Member[] {
  const names = [...new Set(members.map(({ peer }) => peer.node))].sort()
  return order.order(slot, names).flatMap((node) => members.filter(({ peer }) => peer.node === node))
}
