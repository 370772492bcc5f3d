/** A record as memory and SQLite keep it, and the rules of a patch: gone, then seen before, then version, then apply. */
import { applyChange, isTouch } from '../core/stored-record.ts'
import type { Draft, PatchResult, StoredRecord, StorePatch } from '../seam.ts'

/** How long a replaced session's mark tells late writers why: longer than any request should take. */
export const MARK_MS = 600_000

/** The last writes a record remembers, so that a retry applies once. */
export const WRITE_IDS_KEPT = 8

/** What is left of an ended session for a while. */
export interface GoneMark {
  readonly gone: 'destroyed' | 'replaced'
  readonly endedAt: number
}

export interface Row {
  readonly record: StoredRecord
  /** Newest first: the i-th made version `record.version - i`. */
  readonly writeIds: readonly string[]
}

export function rowOf(draft: Draft, writeId: string): Row {
  return { record: { meta: draft.meta, fields: new Map(draft.fields), version: 1 }, writeIds: [writeId] }
}

export interface Patched {
  readonly result: PatchResult
  /** Absent: nothing to store. */
  readonly row?: Row
}

export function patchRow(row: Row, patch: StorePatch): Patched {
  const { record, writeIds } = row
  const seen = writeIds.indexOf(patch.writeId)
  if (seen >= 0) {
    const after = record.version - seen
    return { result: { outcome: 'applied', before: after - 1, after, counters: countersOf(record, patch) } }
  }
  if (patch.ifVersion !== undefined && patch.ifVersion !== record.version) {
    return { result: { outcome: 'conflict', version: record.version } }
  }
  const touch = isTouch(patch)
  const after = touch ? record.version : record.version + 1
  const changed = applyChange(record, patch, after)
  const result: PatchResult = { outcome: 'applied', before: record.version, after, counters: countersOf(changed, patch) }
  if (touch) return changed.meta === record.meta ? { result } : { result, row: { record: changed, writeIds } }
  return { result, row: { record: changed, writeIds: [patch.writeId, ...writeIds.slice(0, WRITE_IDS_KEPT - 1)] } }
}

function countersOf(record: StoredRecord, patch: StorePatch): ReadonlyMap<string, string> {
  const counters = new Map<string, string>()
  for (const field of patch.add.keys()) counters.set(field, record.fields.get(field) ?? '0')
  return counters
}
