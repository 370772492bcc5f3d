import { type Coverage, covers, coversDot } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'
import type { Timer } from '../seam.ts'
import { areConflicting, isConflicting } from './conflicts.ts'
import { type Core, DEADLINE_MS, goneError, tombstoneMessage } from './core.ts'
import type { Entry, Tombstone } from './entries.ts'
import type { Claim } from './message-codes.ts'
import type { MessageOf } from './messages.ts'
import type { Ownership } from './ownership.ts'
import { applyDelta, type ClusterRecord, mergeRecords, touched } from './record.ts'

/** What comes in from other servers, applied in causal order. */
export interface Delivery {
  delta(incarnation: string, message: MessageOf<'delta'>): void
  record(incarnation: string, message: MessageOf<'record'>): void
  tombstone(incarnation: string, message: MessageOf<'tombstone'>): void
  touch(message: MessageOf<'touch'>): void
  /** Says that what this sequence stands for has been applied. */
  acknowledge(incarnation: string, sequence: number): void
  /** Ends a session here. False: it had ended before. */
  bury(key: string, tombstone: Tombstone): boolean
  /** Keeps the copies that others send back of a session that goes on under a new id, until `stop`. */
  gather(key: string): { readonly records: readonly ClusterRecord[]; stop(): void }
  /** Takes over what `record` knows. Undefined: the session has ended. */
  adopt(record: ClusterRecord): Entry | undefined
}

interface Waiting {
  readonly incarnation: string
  readonly message: MessageOf<'delta'>
}

interface Backlog {
  waiting: Waiting[]
  timer: Timer | undefined
  attempts: number
}

/** A delta whose parents are missing waits this long for them before the whole record is fetched. */
const PATIENCE_MS = 20
const MOST_ATTEMPTS = 5
const MOST_PER_KEY = 256
const MOST_WAITING = 20_000

export function createDelivery(core: Core, ownership: Ownership): Delivery {
  const { acks, context, entries, requests, self } = core
  const { runtime } = context
  const backlogs = new Map<string, Backlog>()
  const pendingAcks = new Map<string, number[]>()
  const gathering = new Map<string, ClusterRecord[]>()
  let waitingCount = 0

  function acknowledge(incarnation: string, sequence: number): void {
    if (sequence === 0) return
    const sequences = pendingAcks.get(incarnation)
    if (sequences !== undefined) {
      sequences.push(sequence)
      return
    }
    if (pendingAcks.size === 0) runtime.defer(flushAcks)
    pendingAcks.set(incarnation, [sequence])
  }

  function flushAcks(): void {
    for (const [incarnation, sequences] of pendingAcks) core.post(incarnation, { kind: 'ack', sequences })
    pendingAcks.clear()
    core.outbox.flush()
  }

  function applyClaim(entry: Entry, claim: Claim, incarnation: string, dot: Dot | undefined): void {
    if (claim !== 'none' && dot !== undefined) ownership.claimed(entry, claim === 'sender' ? incarnation : self, dot)
  }

  /** False: its parents are missing. */
  function applyNow({ incarnation, message: { claim, delta, sequence } }: Waiting): boolean {
    const entry = entries.get(delta.key)
    if (entry === undefined) return false
    if (!coversDot(entry.record.coverage, delta.dot)) {
      if (!covers(entry.record.coverage, delta.parents)) return false
      if (isConflicting(entry.record, delta)) tellConflict(entry.record)
      entries.put(applyDelta(entry.record, delta))
    }
    applyClaim(entry, claim, incarnation, delta.dot)
    acknowledge(incarnation, sequence)
    return true
  }

  function forget(key: string): void {
    const backlog = backlogs.get(key)
    if (backlog === undefined) return
    backlog.timer?.cancel()
    waitingCount -= backlog.waiting.length
    backlogs.delete(key)
  }

  function drainBacklog(key: string): void {
    const backlog = backlogs.get(key)
    if (backlog === undefined) return
    let before = -1
    while (before !== backlog.waiting.length) {
      before = backlog.waiting.length
      backlog.waiting = backlog.waiting.filter((waiting) => !applyNow(waiting))
      waitingCount -= before - backlog.waiting.length
    }
    if (backlog.waiting.length === 0) forget(key)
  }

  function hold(waiting: Waiting): void {
    const { key } = waiting.message.delta
    let backlog = backlogs.get(key)
    if (backlog === undefined) {
      backlog = { waiting: [], timer: undefined, attempts: 0 }
      backlogs.set(key, backlog)
    }
    // Beyond the bounds only the acknowledgement is missed: the fetch brings the write itself.
    if (backlog.waiting.length < MOST_PER_KEY && waitingCount < MOST_WAITING) {
      backlog.waiting.push(waiting)
      waitingCount++
    }
    if (backlog.timer !== undefined) return
    const patience = entries.get(key) === undefined ? 0 : PATIENCE_MS
    backlog.timer = runtime.setTimer(patience, () => void mend(key, waiting.incarnation))
  }

  /** Fetches the record from a server whose delta could not be applied. */
  async function mend(key: string, sender: string): Promise<void> {
    const outcome = await requests.fetch(sender, key, DEADLINE_MS).outcome
    drainBacklog(key)
    const backlog = backlogs.get(key)
    if (backlog === undefined) return
    backlog.attempts++
    const next = backlog.waiting.at(-1)
    if (outcome === 'not-held' || next === undefined || backlog.attempts >= MOST_ATTEMPTS) forget(key)
    else backlog.timer = runtime.setTimer(PATIENCE_MS, () => void mend(key, next.incarnation))
  }

  /** Each server that merges two such copies tells; which one is the first, none can know. */
  function tellConflict({ key, meta: { userId } }: ClusterRecord): void {
    const detail = 'Two updates of the session were committed while servers could not reach each other: their fields were merged.'
    context.emit('conflict', { key, ...(userId !== undefined && { userId }), detail })
  }

  function sendTombstone(incarnation: string, key: string, tombstone: Tombstone): void {
    core.post(incarnation, tombstoneMessage(core, key, tombstone))
  }

  /** Two servers own it, on the two sides of a cut that has healed, and do not know of each other: both get what the other has. */
  function tellRivals({ owner, record }: Entry, rival: string, theirs: ClusterRecord): void {
    if (covers(theirs.coverage, record.heads)) return
    for (const incarnation of [rival, owner]) {
      if (incarnation === self || core.members.get(incarnation) === undefined) continue
      core.post(incarnation, { kind: 'record', sequence: 0, request: 0, claim: 'none', record })
    }
  }

  function adopt(record: ClusterRecord): Entry | undefined {
    if (entries.tombstone(record.key) !== undefined) return undefined
    const known = entries.get(record.key)
    if (known !== undefined && areConflicting(known.record, record)) tellConflict(record)
    const merged = known === undefined ? record : mergeRecords(known.record, record)
    return known !== undefined && merged === known.record ? known : entries.put(merged)
  }

  function bury(key: string, tombstone: Tombstone): boolean {
    if (!entries.bury(key, tombstone)) return false
    forget(key)
    acks.fail(key, () => goneError(tombstone.reason))
    context.ended(key, tombstone.reason)
    return true
  }

  return {
    acknowledge,
    adopt,
    bury,
    delta(incarnation, message) {
      const tombstone = entries.tombstone(message.delta.key)
      if (tombstone !== undefined) sendTombstone(incarnation, message.delta.key, tombstone)
      else if (!applyNow({ incarnation, message })) hold({ incarnation, message })
      else if (backlogs.size > 0) drainBacklog(message.delta.key)
    },
    gather(key) {
      const records: ClusterRecord[] = []
      gathering.set(key, records)
      return { records, stop: () => void gathering.delete(key) }
    },
    record(incarnation, { claim, record, request, sequence }) {
      const { key } = record
      if (request === 0) gathering.get(key)?.push(record)
      const entry = adopt(record)
      if (entry === undefined) sendTombstone(incarnation, key, entries.tombstone(key) as Tombstone)
      else {
        applyClaim(entry, claim, incarnation, record.heads.at(-1))
        acknowledge(incarnation, sequence)
        if (claim === 'sender' && entry.owner !== incarnation) tellRivals(entry, incarnation, record)
      }
      if (request !== 0) requests.answered(incarnation, request, entry === undefined ? 'tombstone' : 'record')
      if (backlogs.size > 0) drainBacklog(key)
    },
    tombstone(incarnation, { ageMs, key, reason, request, seen, sequence, until }) {
      const entry = seen === undefined ? undefined : entries.get(key)
      // A write of another request that was confirmed meanwhile: it goes where the session goes. Before the acknowledgement, on the same link.
      if (entry !== undefined && !covers(seen as Coverage, entry.record.heads))
        core.post(incarnation, { kind: 'record', sequence: 0, request: 0, claim: 'none', record: entry.record })
      bury(key, { reason, endedAt: runtime.now() - ageMs, until })
      acknowledge(incarnation, sequence)
      if (request !== 0) requests.answered(incarnation, request, 'tombstone')
    },
    touch({ key, touchAt }) {
      const entry = entries.get(key)
      if (entry === undefined) return
      const record = touched(entry.record, touchAt)
      if (record !== entry.record) entries.put(record)
    },
  }
}
