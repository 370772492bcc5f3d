/** The rules of a patch where the store itself cannot apply them: seen before, then version, then apply. */
import { applyChange, isTouch, nextStamp } from '../core/stored-record.ts'
import type { PatchResult, StoredRecord, StorePatch } from '../seam.ts'

/** How long a replaced session's mark tells late writers why, at least: longer than any request should take. */
export const MARK_MS = 600_000

/** What is left of an ended session for a while. */
export interface GoneMark {
  readonly gone: 'destroyed' | 'replaced'
  readonly endedAt: number
}

export interface Patched {
  readonly result: PatchResult
  /** Absent: nothing to store. */
  readonly record?: StoredRecord
}

export function patchRecord(record: StoredRecord, patch: StorePatch): Patched {
  const { version, writeIds } = record
  const seen = writeIds.indexOf(patch.writeId)
  if (seen >= 0) {
    const after = version - seen
    return { result: { outcome: 'applied', before: after - 1, after, counters: countersOf(record, patch) } }
  }
  if (patch.ifVersion !== undefined && patch.ifVersion !== version) return { result: { outcome: 'conflict', version } }
  const touch = isTouch(patch)
  const changed = applyChange(record, patch, touch ? record : nextStamp(record, patch.writeId))
  const result: PatchResult = { outcome: 'applied', before: version, after: changed.version, counters: countersOf(changed, patch) }
  return touch && changed.meta === record.meta ? { result } : { result, record: changed }
}

function countersOf(record: StoredRecord, patch: StorePatch): ReadonlyMap<string, string> {
  const counters = new Map<string, string>()
  for (const field of patch.add.keys()) counters.set(field, record.fields.get(field) ?? '0')
  return counters
}
