import { applyChange, expiresAt, isTouch, nextStamp } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { PatchResult, StoredRecord, StorePatch } from '../seam.ts'
import { beginningOf, packStored } from './redis-record.ts'
import { wholeMs } from './store-clock.ts'
import type { StoreClock } from './store-clock.ts'

/** Beyond this a patch is cheaper to merge in Redis than the whole to send. */
const LARGEST_CHARS = 8_192

/** A patch as the replacement of a session that is believed to be known. */
export interface RedisSwap {
  readonly args: [beginning: string, packed: string, endsAt: string]
  readonly result: PatchResult
}

/**
 * Merging inside Redis takes its one thread 33 µs, replacing what is as expected 10 (1 KB of 8 fields, measured). Undefined: the
 * patch has to be merged there.
 */
export function swapOf(patch: StorePatch, clock: StoreClock): RedisSwap | undefined {
  const { base, ifVersion } = patch
  if (base === undefined || isTouch(patch) || (ifVersion !== undefined && ifVersion !== base.version)) return undefined
  const beginning = beginningOf(inStoreTime(base, clock))
  const next = beginning === undefined ? undefined : changed(base, patch)
  if (beginning === undefined || next === undefined) return undefined
  const stored = inStoreTime(next, clock)
  const packed = packStored(stored)
  if (packed.length > LARGEST_CHARS) return undefined
  const counters = new Map([...patch.add.keys()].map((field) => [field, next.fields.get(field) as string]))
  return {
    args: [beginning, packed, String(wholeMs(expiresAt(stored.meta)))],
    result: { outcome: 'applied', before: base.version, after: next.version, counters, record: next },
  }
}

function inStoreTime(record: StoredRecord, clock: StoreClock): StoredRecord {
  const meta = clock.metaToStore(record.meta)
  return meta === record.meta ? record : { ...record, meta }
}

/** Undefined: a counter does not count, as far as is known here; the store says. */
function changed(base: StoredRecord, patch: StorePatch): StoredRecord | undefined {
  try {
    return applyChange(base, patch, nextStamp(base, patch.writeId))
  } catch (error) {
    if (SessionError.is(error)) return undefined
    throw error
  }
}
