import type { Coverage } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'

/** So many dropped copies are remembered at least, twice as many at most; for a copy beyond them the server writes under a fresh origin. */
const REMEMBERED_LEAST = 65_536

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
  // Two generations: taking the oldest out of one map, one by one, costs a walk over those taken out before.
  let recent = new Map<string, Dot>()
  let older = new Map<string, Dot>()
  let hasForgotten = false
  let fresh = 0

  return {
    of(key, coverage) {
      const before = recent.get(key) ?? older.get(key)
      // What was forgotten may have been this session's: unless nothing ever was, only a name never used is safe.
      if (before === undefined && !hasForgotten) return incarnation
      if (before !== undefined && (coverage.get(before.origin) ?? 0) >= before.counter) return before.origin
      return `${incarnation}.${++fresh}`
    },
    dropped(key, origin, coverage) {
      const counter = coverage.get(origin)
      const before = recent.get(key) ?? older.get(key)
      const last = counter === undefined ? before : { origin, counter }
      if (last === undefined) return
      recent.set(key, last)
      if (recent.size < REMEMBERED_LEAST) return
      hasForgotten ||= older.size > 0
      older = recent
      recent = new Map()
    },
  }
}
