/** What records at rest have in common, whichever store keeps them: when they end, how a change applies, how the engine sees them. */
import { SessionError } from '../errors.ts'
import type { Change, Draft, RecordMeta, RecordView, StoredRecord } from '../seam.ts'
import type { SessionSummary } from '../types.ts'

/** Unix ms. The idle or the absolute end, whichever comes first. */
export function expiresAt(meta: RecordMeta): number {
  return Math.min(meta.lastActiveAt + meta.idleMs, meta.absoluteAt)
}

export function summaryOf(key: string, meta: RecordMeta): SessionSummary {
  const { userId, createdAt, lastActiveAt, persistent } = meta
  return { key, userId, createdAt, lastActiveAt, expiresAt: expiresAt(meta), persistent }
}

/** JSON's number, the only thing a counter can count on. */
const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/

/** The counter's new encoded value; `current` undefined: absent or removed. */
export function countOn(field: string, current: string | undefined, by: number, from: number): string {
  if (current !== undefined && !NUMBER.test(current)) throw notNumber(field)
  const sum = (current === undefined ? from : Number(current)) + by
  if (!Number.isFinite(sum)) throw notNumber(field)
  return String(sum)
}

export function notNumber(field: string): SessionError {
  return new SessionError(
    'FIELD_INVALID',
    `cannot add to ${JSON.stringify(field)}: it does not hold a finite number; assign a number first`,
  )
}

export function changeMeta(meta: RecordMeta, change: Change): RecordMeta {
  const lastActiveAt = Math.max(meta.lastActiveAt, change.touchAt)
  const { lifetime } = change
  if (lifetime === undefined) return lastActiveAt === meta.lastActiveAt ? meta : { ...meta, lastActiveAt }
  const absoluteAt = Math.min(meta.absoluteAt, lifetime.absoluteAt)
  return { ...meta, lastActiveAt, idleMs: lifetime.idleMs, touchEveryMs: lifetime.touchEveryMs, absoluteAt }
}

/** A touch alone neither counts as a write nor can it conflict. */
export function isTouch(change: Change): boolean {
  return change.set.size === 0 && change.add.size === 0 && change.lifetime === undefined
}

/** The last writes a record remembers, so that a retry applies once. */
export const WRITE_IDS_KEPT = 8

export function recordOf(draft: Draft, writeId: string): StoredRecord {
  return { meta: draft.meta, fields: new Map(draft.fields), version: 1, writeIds: [writeId] }
}

/** Which write made the record what it is, and those before it. */
export interface Stamp {
  readonly version: number
  readonly writeIds: readonly string[]
}

export function nextStamp({ version, writeIds }: Stamp, writeId: string): Stamp {
  return { version: version + 1, writeIds: [writeId, ...writeIds.slice(0, WRITE_IDS_KEPT - 1)] }
}

/** A new record; `counters`: the sums a store has already made. Throws FIELD_INVALID when a counter does not count. */
export function applyChange(record: StoredRecord, change: Change, stamp: Stamp, counters?: ReadonlyMap<string, string>): StoredRecord {
  const meta = changeMeta(record.meta, change)
  const { version, writeIds } = stamp
  if (change.set.size === 0 && change.add.size === 0) return { ...record, meta, version, writeIds }
  const fields = new Map(record.fields)
  let removed = record.removed === undefined ? undefined : new Set(record.removed)
  for (const [field, value] of change.set) {
    if (value === undefined) {
      fields.delete(field)
      removed = (removed ?? new Set()).add(field)
    } else {
      fields.set(field, value)
      removed?.delete(field)
    }
  }
  for (const [field, { by, from }] of change.add) {
    fields.set(field, counters?.get(field) ?? countOn(field, fields.get(field), by, from))
    removed?.delete(field)
  }
  return removed === undefined || removed.size === 0 ? { meta, fields, version, writeIds } : { meta, fields, removed, version, writeIds }
}

export function viewOf(key: string, record: StoredRecord): RecordView {
  return new StoredView(key, record)
}

export class StoredView implements RecordView {
  readonly key: string
  readonly stored: StoredRecord
  #bytes = -1

  constructor(key: string, stored: StoredRecord) {
    this.key = key
    this.stored = stored
  }

  get meta(): RecordMeta {
    return this.stored.meta
  }

  get(field: string): string | undefined {
    return this.stored.fields.get(field)
  }

  isRemoved(field: string): boolean {
    return this.stored.removed?.has(field) === true
  }

  fields(): Iterable<string> {
    return this.stored.fields.keys()
  }

  get bytes(): number {
    if (this.#bytes < 0) this.#bytes = bytesOfFields(this.stored.fields)
    return this.#bytes
  }
}

function bytesOfFields(fields: ReadonlyMap<string, string>): number {
  let bytes = 0
  for (const [field, value] of fields) bytes += Buffer.byteLength(field) + Buffer.byteLength(value)
  return bytes
}
