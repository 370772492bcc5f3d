import type { Journal, JournalState } from '../core/journal.ts'
import type { Opened, SessionId } from '../seam.ts'

/** What one request holds of its session. */
export interface CookieOpened extends Opened {
  readonly id: SessionId
  readonly openedAt: number
  /** What `journal` folds; undefined once this request has written. */
  readonly journal: Journal | undefined
  readonly state: JournalState
  readonly heads: readonly string[]
  /** Every note the browser holds or is being sent, with its bytes in a `Cookie` header. */
  readonly sizes: ReadonlyMap<string, number>
  readonly headerBytes: number
  /** Names that the next answer deletes. */
  readonly waste: readonly string[]
  readonly stale: readonly string[]
}
