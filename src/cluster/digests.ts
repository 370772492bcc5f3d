import type { Heads } from '../core/floor.ts'
import { rendezvousSeed, SLOTS, slotOf } from '../core/slot-order.ts'

/** What the copies of each slot amount to, kept up to date with every write: comparing two servers passes over no session. */
export interface Digests {
  /** A copy came, changed or went: its heads before and after; undefined: no copy. */
  changed(key: string, before: Heads | undefined, after: Heads | undefined): void
  /** Equal where equal copies are held. */
  ofSlot(slot: number): number
  /** Copies in the slot. */
  countOf(slot: number): number
}

export function createDigests(): Digests {
  const digests = new Uint32Array(SLOTS)
  const counts = new Uint32Array(SLOTS)

  return {
    changed(key, before, after) {
      if (before === after) return
      const slot = slotOf(key)
      digests[slot] = (digests[slot] as number) ^ copyHash(key, before) ^ copyHash(key, after)
      counts[slot] = (counts[slot] as number) + (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1)
    },
    ofSlot: (slot) => digests[slot] as number,
    countOf: (slot) => counts[slot] as number,
  }
}

/** Copies with equal heads hold the same writes. 0: no copy. */
export function copyHash(key: string, heads: Heads | undefined): number {
  if (heads === undefined) return 0
  let hash = rendezvousSeed(key)
  for (const { counter, origin } of heads) hash = (Math.imul(hash ^ rendezvousSeed(origin), 0x01000193) ^ counter) >>> 0
  return hash
}
