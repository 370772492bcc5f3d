import type { Draft, StoredRecord, Runtime } from '../seam.ts'
import type { GoneMark } from './row.ts'

/** Below this a difference may be the network's, and does no harm. */
const IGNORED_MS = 1_000

/**
 * Redis ends sessions by its own clock, so times at rest are in it: a server with a wrong clock must neither expire
 * sessions nor lengthen them. Each server reads and writes them in its own clock, moved by the difference.
 */
export interface RedisClock {
  /** Takes the reply of TIME and when it was asked for, by the server's clock. */
  set(reply: unknown, askedAt: number, runtime: Runtime): void
  toStore(ms: number): number
  draftToStore(draft: Draft): Draft
  fromStore<R extends StoredRecord | GoneMark>(found: R): R
}

export function redisClock(): RedisClock {
  let aheadMs = 0

  function move<M extends StoredRecord['meta']>(meta: M, by: number): M {
    return { ...meta, createdAt: meta.createdAt + by, lastActiveAt: meta.lastActiveAt + by, absoluteAt: meta.absoluteAt + by }
  }

  return {
    set(reply, askedAt, runtime): void {
      if (!Array.isArray(reply)) return
      const [seconds, microseconds] = reply.map(Number) as [number, number]
      const measured = Math.round(seconds * 1_000 + microseconds / 1_000 - (askedAt + runtime.now()) / 2)
      aheadMs = Math.abs(measured) < IGNORED_MS ? 0 : measured
    },
    toStore: (ms) => ms + aheadMs,
    draftToStore: (draft) => (aheadMs === 0 ? draft : { ...draft, meta: move(draft.meta, aheadMs) }),
    fromStore<R extends StoredRecord | GoneMark>(found: R): R {
      if (aheadMs === 0) return found
      if ('gone' in found) return { ...found, endedAt: found.endedAt - aheadMs }
      return { ...found, meta: move(found.meta, -aheadMs) }
    },
  }
}
