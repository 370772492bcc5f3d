import { SLOTS, slotOf } from '../core/slot-order.ts'
import type { Core } from './core.ts'
import { copyHash } from './digests.ts'
import type { Entry } from './entries.ts'
import type { Member } from './members.ts'
import { PARTS, partOf, SLOTS_PER_PART } from './partitions.ts'
import { createSlices } from './slices.ts'

/** What this server and another should both hold. */
export interface Sharing {
  /** Per bucket of slots (`partOf`): the digest, and how many sessions are in it. */
  digestsWith(other: Member): Promise<{ readonly digests: Uint32Array; readonly counts: Uint32Array }>
  /** Visits the shared sessions of these buckets that have not ended: what has is dropped by each server's own sweep. */
  visit(other: Member, buckets: readonly number[], see: (entry: Entry) => void): Promise<void>
  /** Ends what is under way. */
  stop(): void
}

const SLICE = 16_384
const PAUSE_MS = 5

export function createSharing(core: Core): Sharing {
  const { context, entries, members, placement } = core
  const { policy } = core.options
  const { runtime } = context
  let stopped = false

  /** In slices, between which requests have their turn. */
  async function walk<T>(items: Iterable<T>, see: (item: T) => void): Promise<void> {
    const slices = createSlices(runtime, () => items[Symbol.iterator](), SLICE)
    for (;;) {
      await new Promise<void>((resolve) => void runtime.setTimer(PAUSE_MS, resolve))
      if (stopped || slices.next(see)) return
    }
  }

  /** As this server sees it, all that is in the slot. With owners it goes by session. */
  function isSlotShared(slot: number, other: Member): boolean {
    if (policy.kind !== 'first') return policy.kind === 'all'
    const first = placement.preferenceOf(slot).slice(0, policy.copies)
    return first.includes(members.self) && first.includes(other)
  }

  function isShared({ key, owner }: Entry, other: Member): boolean {
    if (policy.kind !== 'owner') return isSlotShared(slotOf(key), other)
    if (owner === core.self) return placement.home(key).others.includes(other)
    if (owner !== other.incarnation) return false
    const backups = placement.preference(key).filter((member) => member !== other)
    return backups.slice(0, policy.backups).includes(members.self)
  }

  function* slotsShared(other: Member): Generator<number | undefined> {
    for (let slot = 0; slot < SLOTS; slot++) yield isSlotShared(slot, other) ? slot : undefined
  }

  function* entriesOf(buckets: readonly number[]): Generator<Entry> {
    for (const bucket of buckets) if (bucket < PARTS) yield* entries.allOf(bucket)
  }

  return {
    async digestsWith(other) {
      const digests = new Uint32Array(PARTS)
      const counts = new Uint32Array(PARTS)
      const add = (bucket: number, digest: number, count: number): void => {
        digests[bucket] = (digests[bucket] as number) ^ digest
        counts[bucket] = (counts[bucket] as number) + count
      }
      if (policy.kind === 'owner') {
        await walk(entries.all(), (entry) => {
          if (entry.endAt > runtime.now() && isShared(entry, other)) add(partOf(entry.key), copyHash(entry.key, entry.heads), 1)
        })
      } else {
        await walk(slotsShared(other), (slot) => {
          if (slot !== undefined) add(Math.floor(slot / SLOTS_PER_PART), entries.digests.ofSlot(slot), entries.digests.countOf(slot))
        })
      }
      return { digests, counts }
    },
    visit: (other, buckets, see) =>
      walk(entriesOf(buckets), (entry) => {
        if (entry.endAt > runtime.now() && isShared(entry, other)) see(entry)
      }),
    stop() {
      stopped = true
    },
  }
}
