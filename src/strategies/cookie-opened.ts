import type { Journal, JournalState } from '../core/journal.ts'
import type { SpilledValues } from '../core/spilled.ts'
import type { Opened, SessionId } from '../seam.ts'

/** What one request holds of its session. */
export interface CookieOpened extends Opened {
  readonly id: SessionId
  readonly openedAt: number
  /** What `journal` folds; undefined once this request has written. */
  readonly journal: Journal | undefined
  readonly state: JournalState
  readonly heads: readonly string[]
  /** Values that lie in the store. */
  readonly spilled: SpilledValues | undefined
  /** Every cookie of ours that the browser holds or is being sent, without its prefix, with its bytes in a `Cookie` header. */
  readonly sizes: ReadonlyMap<string, number>
  readonly headerBytes: number
  /** Cookies that the next answer deletes. */
  readonly waste: readonly string[]
  readonly stale: readonly string[]
}
