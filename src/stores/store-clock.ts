import type { RecordMeta, Runtime, StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'

/** Below this a difference may be the network's, and does no harm. */
const IGNORED_MS = 1_000

/**
 * Sessions end by the store's clock, so times at rest are in it: a server with a wrong clock must neither expire sessions nor
 * lengthen them. Each server reads and writes them in its own clock, moved by the difference.
 */
export interface StoreClock {
  /** Takes the store's Unix ms and when it was asked for, by the server's clock. */
  set(storeMs: number, askedAt: number, runtime: Runtime): void
  toStore(ms: number): number
  metaToStore(meta: RecordMeta): RecordMeta
  metaFromStore(meta: RecordMeta): RecordMeta
  fromStore<R extends StoredRecord | GoneMark>(found: R): R
}

/** What stores can keep: whole, and not negative. */
export function wholeMs(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms)), Number.MAX_SAFE_INTEGER)
}

export function storeClock(): StoreClock {
  let aheadMs: number | undefined

  function move(meta: RecordMeta, by: number): RecordMeta {
    if (by === 0) return meta
    return { ...meta, createdAt: meta.createdAt + by, lastActiveAt: meta.lastActiveAt + by, absoluteAt: meta.absoluteAt + by }
  }

  return {
    set(storeMs, askedAt, runtime): void {
      const answeredAt = runtime.now()
      // A slow answer says little about the moment it was made.
      if (aheadMs !== undefined && answeredAt - askedAt > IGNORED_MS) return
      const measured = Math.round(storeMs - (askedAt + answeredAt) / 2)
      aheadMs = Math.abs(measured) < IGNORED_MS ? 0 : measured
    },
    toStore: (ms) => ms + (aheadMs ?? 0),
    metaToStore: (meta) => move(meta, aheadMs ?? 0),
    metaFromStore: (meta) => move(meta, -(aheadMs ?? 0)),
    fromStore<R extends StoredRecord | GoneMark>(found: R): R {
      if (aheadMs === undefined || aheadMs === 0) return found
      if ('gone' in found) return { ...found, endedAt: found.endedAt - aheadMs }
      return { ...found, meta: move(found.meta, -aheadMs) }
    },
  }
}
