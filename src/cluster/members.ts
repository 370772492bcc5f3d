import { rendezvousSeed } from '../core/slot-order.ts'
import type { Keys, Peer, Runtime } from '../seam.ts'
import type { ServerState } from './message-codes.ts'

export const LABEL_BYTES = 4

/** A server that vanished may be cut off rather than dead: what it alone may hold stays undecided this long. */
const LOST_MS = 2_000

/** One that never came back counts as a member for this long: a majority is one of those who may still serve. */
const FORGET_MS = 600_000

/** A server of which another knows that it vanished. */
export interface LostServer {
  readonly node: string
  /** How long ago: clocks of servers differ. */
  readonly ageMs: number
}

/** Names that one server tells another, or remembers. */
export const MOST_LOST = 1024

export interface Member {
  readonly peer: Peer
  readonly incarnation: string
  /** 8 hex digits: names the server in hints, of use only to who has the secrets. */
  readonly label: string
  /** Seed of its rendezvous scores. */
  readonly seed: number
  /** Undefined until its first state message. */
  state: ServerState | undefined
  sessions: number
}

/** Who is in the cluster, as this server sees it: the servers it has a link to, and itself. */
export interface Members {
  readonly self: Member
  /** Counts changes that placement depends on. */
  version(): number
  get(incarnation: string): Member | undefined
  /** All linked servers, without this one. */
  others(): readonly Member[]
  /** Servers that may hold copies: all but those that leave. This one included. */
  holders(): readonly Member[]
  byLabel(label: string): Member | undefined
  up(peer: Peer): Member
  down(peer: Peer): void
  setState(member: Member, state: ServerState, sessions: number): void
  /** True while a server that did not say goodbye is missing for a short time only. */
  recentlyLost(): boolean
  /** Names of servers that vanished without a goodbye, with the monotonic time of their loss: they may still serve visitors. */
  lost(): ReadonlyMap<string, number>
  /** What another server knows of those that vanished: they count here, too, unless they are linked or said goodbye since. */
  heard(lost: readonly LostServer[]): void
  /** Of the names of all who may be serving: servers that know the same ones have the same. */
  fingerprint(): number
  /** How many servers, this one included, are more than half of those that may be serving. */
  majority(): number
  label(node: string): string
}

export function createMembers(self: Peer, keys: Keys, runtime: Runtime): Members {
  const byIncarnation = new Map<string, Member>()
  const lost = new Map<string, number>()
  const goodbyes = new Map<string, number>()
  let version = 0
  let others: readonly Member[] = []
  let holders: readonly Member[] = []

  const label = (node: string): string => keys.mac('hint', node).toString('hex', 0, LABEL_BYTES)
  const memberOf = (peer: Peer): Member => ({
    peer,
    incarnation: peer.incarnation,
    label: label(peer.node),
    seed: rendezvousSeed(peer.node),
    state: undefined,
    sessions: 0,
  })
  const own = memberOf(self)
  own.state = 'joining'
  const leaving = (member: Member): boolean => member.state === 'draining' || member.state === 'leaving'

  function changed(): void {
    version++
    others = [...byIncarnation.values()]
    holders = [own, ...others].filter((member) => !leaving(member))
  }
  changed()

  return {
    self: own,
    version: () => version,
    get: (incarnation) => byIncarnation.get(incarnation),
    others: () => others,
    holders: () => holders,
    byLabel: (wanted) => (own.label === wanted ? own : others.find((member) => member.label === wanted)),
    up(peer) {
      const member = memberOf(peer)
      byIncarnation.set(peer.incarnation, member)
      lost.delete(peer.node)
      goodbyes.delete(peer.node)
      changed()
      return member
    },
    down(peer) {
      const member = byIncarnation.get(peer.incarnation)
      if (member === undefined) return
      byIncarnation.delete(peer.incarnation)
      const back = [...byIncarnation.values()].some((other) => other.peer.node === peer.node)
      if (member.state === 'leaving') remember(goodbyes, peer.node, runtime.monotonic())
      else if (!back) remember(lost, peer.node, runtime.monotonic())
      changed()
    },
    setState(member, state, sessions) {
      member.sessions = sessions
      if (member.state === state) return
      member.state = state
      changed()
    },
    recentlyLost() {
      const since = runtime.monotonic() - LOST_MS
      for (const at of lost.values()) if (at > since) return true
      return false
    },
    lost() {
      const until = runtime.monotonic() - FORGET_MS
      forget(lost, until)
      forget(goodbyes, until)
      return lost
    },
    heard(list) {
      const now = runtime.monotonic()
      const linked = new Set([own, ...others].map(({ peer }) => peer.node))
      for (const { ageMs, node } of list) {
        const at = now - ageMs
        const leftAt = goodbyes.get(node) ?? Number.NEGATIVE_INFINITY
        // Others may have lost it while it said goodbye here.
        if (ageMs >= FORGET_MS || linked.has(node) || at < leftAt + LOST_MS) continue
        remember(lost, node, Math.max(at, lost.get(node) ?? at))
      }
    },
    fingerprint() {
      const names = new Set([own, ...others].map(({ peer }) => peer.node))
      for (const node of this.lost().keys()) names.add(node)
      let sum = 0
      for (const node of names) sum = (sum ^ rendezvousSeed(node)) >>> 0
      return sum
    },
    majority() {
      return Math.floor((1 + others.length + this.lost().size) / 2) + 1
    },
    label,
  }
}

function remember(times: Map<string, number>, node: string, at: number): void {
  if (!times.has(node) && times.size >= MOST_LOST) return
  times.set(node, at)
}

function forget(times: Map<string, number>, until: number): void {
  for (const [node, at] of times) if (at <= until) times.delete(node)
}
