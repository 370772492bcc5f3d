/**
 * Anti-entropy: what was lost on the way without a broken link is found by comparing digests and mended (Demers et al., "Epidemic
 * algorithms for replicated database maintenance", 1987). Each round a server compares what it and one other should both
 * hold, in buckets of slots, and the two exchange what differs.
 */
import { type Core, DEADLINE_MS, stateMessage, tombstoneMessage } from './core.ts'
import { copyHash } from './digests.ts'
import type { Member } from './members.ts'
import type { MessageOf } from './messages.ts'
import { PARTS } from './partitions.ts'
import { createSharing } from './sharing.ts'

export interface Repair {
  /** Another server sent its digests. */
  digest(incarnation: string, message: MessageOf<'digest'>): void
  /** What the other server holds in the buckets that differ. */
  differ(incarnation: string, message: MessageOf<'differ'>): void
  /** Something this server should have may not have reached it: compare with it soon. */
  missed(incarnation: string): void
  stop(): void
}

const ROUND_MS = 5_000
const SOON_MS = 500
/** Sessions named in one answer; what is beyond waits for the next round. */
const MOST_NAMED = 1_024

export function createRepair(core: Core): Repair {
  const { context, entries, members, requests } = core
  const { runtime } = context
  const sharing = createSharing(core)
  const waiting = new Set<string>()
  const soon = new Set<string>()
  let tail: Promise<void> = Promise.resolve()
  let isAwaited = false
  let stopped = false
  let turn = 0
  /** Where the next answer begins: buckets that always differ must not keep later ones from being named. */
  let firstBucket = 0
  let timer = runtime.setTimer(ROUND_MS, round)

  /** One walk at a time, so that requests wait for one slice; of each server one of a kind waits at most. */
  function inTurn(kind: 'compare' | 'answer' | 'mend', incarnation: string, work: (other: Member) => Promise<void>): void {
    const name = kind + incarnation
    if (waiting.has(name)) return
    waiting.add(name)
    tail = tail
      .then(async () => {
        waiting.delete(name)
        const other = members.get(incarnation)
        if (other !== undefined && !stopped) await work(other)
      })
      // One that fails must not keep those behind it from their turn.
      .catch((error: unknown) => context.logger.error('holdfast: comparing sessions with another server failed.', error))
  }

  const isLinked = (other: Member): boolean => !stopped && members.get(other.incarnation) !== undefined

  /** One that joins lacks nearly everything, and is being sent it: comparing would send it twice. */
  const isComparable = ({ state }: Member): boolean => state !== undefined && state !== 'joining' && members.self.state !== 'joining'

  async function compareWith(other: Member): Promise<void> {
    if (!isComparable(other)) return
    const { digests } = await sharing.digestsWith(other)
    if (isLinked(other)) core.post(other.incarnation, { kind: 'digest', digests: [...digests] })
  }

  function round(): void {
    const others = members.others()
    // A state that was lost on the way would otherwise never be known.
    for (const { incarnation } of others) core.post(incarnation, stateMessage(core))
    const other = others[turn++ % Math.max(1, others.length)]
    if (other !== undefined) inTurn('compare', other.incarnation, compareWith)
    timer = runtime.setTimer(ROUND_MS, round)
  }

  /** Whole buckets only: a bucket named in part would look as if the rest were missing here. */
  function differing(digests: Uint32Array, counts: Uint32Array, theirs: readonly number[]): number[] {
    const told: number[] = []
    let room = MOST_NAMED
    for (let step = 0; step < PARTS; step++) {
      const bucket = (firstBucket + step) % PARTS
      const count = counts[bucket] as number
      if (digests[bucket] === theirs[bucket] || (count > room && told.length > 0)) continue
      room -= count
      told.push(bucket)
    }
    firstBucket = ((told.at(-1) ?? -1) + 1) % PARTS
    return told
  }

  async function answer(other: Member, theirs: readonly number[]): Promise<void> {
    if (!isComparable(other)) return
    const { counts, digests } = await sharing.digestsWith(other)
    const buckets = differing(digests, counts, theirs)
    if (buckets.length === 0) return
    const named: { key: string; hash: number }[] = []
    await sharing.visit(other, buckets, ({ heads, key }) => named.push({ key, hash: copyHash(key, heads) }))
    if (isLinked(other)) core.post(other.incarnation, { kind: 'differ', buckets, named })
  }

  async function mend(other: Member, { buckets, named }: MessageOf<'differ'>): Promise<void> {
    const theirs = new Map(named.map(({ hash, key }) => [key, hash]))
    await sharing.visit(other, buckets, (entry) => {
      if (theirs.get(entry.key) === copyHash(entry.key, entry.heads)) return
      const claim = core.owns(entry) ? 'sender' : 'none'
      core.post(other.incarnation, { kind: 'record', sequence: 0, request: 0, claim, record: entry.peek() })
    })
    for (const { hash, key } of named) {
      const tombstone = entries.tombstone(key)
      if (tombstone !== undefined) core.post(other.incarnation, tombstoneMessage(core, key, tombstone))
      else if (copyHash(key, entries.get(key)?.heads) !== hash) void requests.fetch(other.incarnation, key, DEADLINE_MS)
    }
  }

  /** After a death all others are to be compared with. */
  function compareSoon(): void {
    isAwaited = false
    for (const incarnation of soon) inTurn('compare', incarnation, compareWith)
    soon.clear()
  }

  return {
    digest: (incarnation, { digests }) => inTurn('answer', incarnation, (other) => answer(other, digests)),
    differ: (incarnation, message) => inTurn('mend', incarnation, (other) => mend(other, message)),
    missed(incarnation) {
      soon.add(incarnation)
      if (isAwaited || stopped) return
      isAwaited = true
      runtime.setTimer(SOON_MS, compareSoon)
    },
    stop() {
      stopped = true
      sharing.stop()
      timer.cancel()
    },
  }
}
