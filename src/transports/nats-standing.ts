import type { Peer, Runtime } from '../seam.ts'
import type { Warn } from './warnings.ts'

const MAX_REMEMBERED = 1000
export const SUPERSEDED = 'a newer run of the same name has taken its place: end the old one, or give each server its own name'

/** Whom this server does not link to, and why. */
export interface Standing {
  /** False: itself, one of its own name, one that was replaced, or one that is left alone for a while. Warns where it matters. */
  welcome(peer: Peer): boolean
  /** It is left alone for so long. */
  avoid(peer: Peer, ms: number): void
  isAvoided(peer: Peer): boolean
  /** A newer run of the same name has replaced it: it stays refused. */
  supersede(peer: Peer): void
}

/** What a log calls a server that has no address of its own. */
export function nameOf(peer: Peer): string {
  return `nats, named "${peer.node}"`
}

export function createStanding(self: Peer, runtime: Runtime, warn: Warn): Standing {
  /** Until when, monotonic ms. */
  const avoided = new Map<string, number>()
  const superseded = new Set<string>()
  const isAvoided = ({ incarnation }: Peer): boolean => (avoided.get(incarnation) ?? 0) > runtime.monotonic()

  return {
    isAvoided,
    welcome(peer) {
      if (peer.incarnation === self.incarnation || isAvoided(peer)) return false
      if (peer.node === self.node) warn('PEER_REFUSED', nameOf(peer), 'it is named as this one: give each server its own name')
      else if (superseded.has(peer.incarnation)) warn('PEER_REFUSED', nameOf(peer), SUPERSEDED)
      else return true
      return false
    },
    avoid(peer, ms) {
      const now = runtime.monotonic()
      for (const [incarnation, until] of avoided) if (until < now || avoided.size >= MAX_REMEMBERED) avoided.delete(incarnation)
      avoided.set(peer.incarnation, now + ms)
    },
    supersede: ({ incarnation }) => remember(superseded, incarnation),
  }
}

/** Adds a name; beyond the bound the oldest is forgotten. */
export function remember(names: Set<string>, name: string): void {
  names.delete(name)
  if (names.size >= MAX_REMEMBERED) for (const oldest of names) if (names.delete(oldest)) break
  names.add(name)
}
