import type { RecordMeta } from '../seam.ts'
import type { Lifetime } from '../types.ts'

/** Metadata of a session that begins now. */
export function beginMeta(now: number, userId: string | undefined, lifetime: Required<Lifetime>, persistent: boolean): RecordMeta {
  const { idleMs, touchEveryMs, absoluteMs } = lifetime
  return { userId, createdAt: now, lastActiveAt: now, idleMs, touchEveryMs, absoluteAt: now + absoluteMs, persistent }
}

/** Metadata of the same session with another lifetime; the absolute end counts from its creation. */
export function withLifetime(meta: RecordMeta, now: number, lifetime: Required<Lifetime>, persistent: boolean): RecordMeta {
  const { idleMs, touchEveryMs, absoluteMs } = lifetime
  return { ...meta, lastActiveAt: now, idleMs, touchEveryMs, absoluteAt: meta.createdAt + absoluteMs, persistent }
}

/** Unix ms: the earlier of the idle and the absolute end. */
export function endOf(meta: RecordMeta): number {
  return Math.min(meta.lastActiveAt + meta.idleMs, meta.absoluteAt)
}
