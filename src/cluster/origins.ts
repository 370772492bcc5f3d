import type { Coverage } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'

/** Dropped copies remembered; for a copy beyond them the server writes under a fresh origin. */
const REMEMBERED_MOST = 100_000

/**
 * Under which name this server writes to a session. Covering a write of an origin means covering all of its earlier ones, so an
 * origin must never go on from a copy that lacks one of its own writes. A server that dropped its copy, and takes over one that
 * lacks its own latest write, therefore writes under another name from then on.
 */
export interface Origins {
  /** For a copy that comes (back) to this server. */
  of(key: string, coverage: Coverage): string
  /** The copy is dropped: `coverage` is what it held. */
  dropped(key: string, origin: string, coverage: Coverage): void
}

export function createOrigins(incarnation: string): Origins {
  const last = new Map<string, Dot>()
  let forgotten = 0
  let fresh = 0

  return {
    of(key, coverage) {
      const before = last.get(key)
      // What was forgotten may have been this session's: unless nothing ever was, only a name never used is safe.
      if (before === undefined && forgotten === 0) return incarnation
      if (before !== undefined && (coverage.get(before.origin) ?? 0) >= before.counter) return before.origin
      return `${incarnation}.${++fresh}`
    },
    dropped(key, origin, coverage) {
      const counter = coverage.get(origin)
      if (counter === undefined && !last.has(key)) return
      const before = last.get(key)
      last.delete(key)
      last.set(key, counter === undefined ? (before as Dot) : { origin, counter })
      if (last.size <= REMEMBERED_MOST) return
      for (const oldest of last.keys()) {
        last.delete(oldest)
        forgotten++
        break
      }
    },
  }
}
