/**
 * Anti-entropy: what was lost on the way without a broken link is found by comparing digests and mended (Demers et al., "Epidemic
 * algorithms for replicated database maintenance", 1987). Each round a server compares what it and one other should both
 * hold, in buckets of slots, and the two exchange what differs.
 */
import { type Core, DEADLINE_MS, stateMessage, tombstoneMessage } from './core.ts'
import type { Entry } from './entries.ts'
import { hashText, type Member } from './members.ts'
import type { MessageOf } from './messages.ts'
import { SLOTS, slotOf } from './placement.ts'

export interface Repair {
  /** Another server sent its digests. */
  digest(incarnation: string, message: MessageOf<'digest'>): void
  /** What the other server holds in the buckets that differ. */
  differ(incarnation: string, message: MessageOf<'differ'>): void
  /** Something this server should have may not have reached it: compare with it soon. */
  missed(incarnation: string): void
  stop(): void
}

export const BUCKETS = 1_024
const SLOTS_PER_BUCKET = SLOTS / BUCKETS
const ROUND_MS = 5_000
const SOON_MS = 500
/** Sessions per slice of work: under 10 ms. */
const SLICE = 2_048
const PAUSE_MS = 5
/** Sessions named in one answer; what is beyond waits for the next round. */
const MOST_NAMED = 1_024

export function createRepair(core: Core): Repair {
  const { context, entries, members, options, placement, requests } = core
  const { runtime } = context
  const busy = new Set<string>()
  const soon = new Set<string>()
  let isAwaited = false
  let stopped = false
  let turn = 0
  let timer = runtime.setTimer(ROUND_MS, round)

  /** Whether, as this server sees it, both should have a copy. */
  function isShared(entry: Entry, other: Member): boolean {
    const { policy } = options
    if (policy.kind === 'all') return true
    const { key } = entry
    if (policy.kind === 'first') {
      const first = placement.preference(key).slice(0, policy.copies)
      return first.includes(members.self) && first.includes(other)
    }
    if (entry.owner === core.self) return placement.home(key).others.includes(other)
    if (entry.owner !== other.incarnation) return false
    const backups = placement.preference(key).filter((member) => member !== other)
    return backups.slice(0, policy.backups).includes(members.self)
  }

  /** Visits the sessions shared with the other server, in slices. */
  async function visit(other: Member, see: (entry: Entry) => void): Promise<void> {
    let left = SLICE
    for (const entry of entries.all()) {
      // What has ended is dropped by each server's own sweep.
      if (entry.endAt > runtime.now() && isShared(entry, other)) see(entry)
      left -= 1
      if (left > 0) continue
      left = SLICE
      await new Promise<void>((resolve) => void runtime.setTimer(PAUSE_MS, resolve))
      if (stopped) return
    }
  }

  /** Per bucket: the digest, and how many sessions are in it. */
  async function digestsWith(other: Member): Promise<{ digests: Uint32Array; counts: Uint32Array }> {
    const digests = new Uint32Array(BUCKETS)
    const counts = new Uint32Array(BUCKETS)
    await visit(other, (entry) => {
      const bucket = bucketOf(entry.key)
      digests[bucket] = (digests[bucket] as number) ^ hashOf(entry)
      counts[bucket] = (counts[bucket] as number) + 1
    })
    return { digests, counts }
  }

  async function compareWith(other: Member): Promise<void> {
    if (busy.has(other.incarnation) || other.state === undefined) return
    busy.add(other.incarnation)
    try {
      const { digests } = await digestsWith(other)
      if (!stopped && members.get(other.incarnation) !== undefined) core.post(other.incarnation, { kind: 'digest', digests: [...digests] })
    } finally {
      busy.delete(other.incarnation)
    }
  }

  function round(): void {
    const others = members.others()
    // A state that was lost on the way would otherwise never be known.
    for (const { incarnation } of others) core.post(incarnation, stateMessage(core))
    const other = others[turn++ % Math.max(1, others.length)]
    if (other !== undefined) void compareWith(other)
    timer = runtime.setTimer(ROUND_MS, round)
  }

  async function answer(other: Member, theirs: readonly number[]): Promise<void> {
    const mine = await digestsWith(other)
    // Whole buckets only: a bucket named in part would look as if the rest were missing here.
    const told = new Set<number>()
    let room = MOST_NAMED
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = mine.counts[bucket] as number
      if (mine.digests[bucket] === theirs[bucket] || (count > room && told.size > 0)) continue
      room -= count
      told.add(bucket)
    }
    if (told.size === 0) return
    const named: { key: string; hash: number }[] = []
    await visit(other, (entry) => {
      if (told.has(bucketOf(entry.key))) named.push({ key: entry.key, hash: hashOf(entry) })
    })
    if (stopped || members.get(other.incarnation) === undefined) return
    core.post(other.incarnation, { kind: 'differ', buckets: [...told], named })
  }

  async function mend(other: Member, { buckets, named }: MessageOf<'differ'>): Promise<void> {
    const theirs = new Map(named.map(({ hash, key }) => [key, hash]))
    const wanted = new Set(buckets)
    await visit(other, (entry) => {
      const { key } = entry
      if (!wanted.has(bucketOf(key)) || theirs.get(key) === hashOf(entry)) return
      const claim = core.owns(entry) ? 'sender' : 'none'
      core.post(other.incarnation, { kind: 'record', sequence: 0, request: 0, claim, record: entry.peek() })
    })
    for (const { hash, key } of named) {
      const tombstone = entries.tombstone(key)
      if (tombstone !== undefined) core.post(other.incarnation, tombstoneMessage(core, key, tombstone))
      else if (hashOf(entries.get(key)) !== hash) void requests.fetch(other.incarnation, key, DEADLINE_MS)
    }
  }

  /** One after the other: after a death all others are to be compared with, and each walk passes over all sessions. */
  async function compareSoon(): Promise<void> {
    isAwaited = false
    for (const incarnation of [...soon]) {
      soon.delete(incarnation)
      const other = members.get(incarnation)
      if (other !== undefined && !stopped) await compareWith(other)
    }
  }

  function withMember(incarnation: string, work: (other: Member) => Promise<void>): void {
    const other = members.get(incarnation)
    if (other !== undefined && !stopped) void work(other)
  }

  return {
    digest: (incarnation, { digests }) => withMember(incarnation, (other) => answer(other, digests)),
    differ: (incarnation, message) => withMember(incarnation, (other) => mend(other, message)),
    missed(incarnation) {
      soon.add(incarnation)
      if (isAwaited) return
      isAwaited = true
      runtime.setTimer(SOON_MS, () => void compareSoon())
    },
    stop() {
      stopped = true
      timer.cancel()
    },
  }
}

function bucketOf(key: string): number {
  return Math.floor(slotOf(key) / SLOTS_PER_BUCKET)
}

/** Copies with equal heads hold the same writes. */
function hashOf(entry: Entry | undefined): number {
  if (entry === undefined) return 0
  const { heads, key } = entry
  let hash = hashText(key)
  for (const { counter, origin } of heads) hash = (Math.imul(hash ^ hashText(origin), 0x01000193) ^ counter) >>> 0
  return hash
}
