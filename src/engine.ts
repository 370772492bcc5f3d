/** What every request's session shares: one per `createSessions`. */
import type { CookieWriter } from './core/cookie.ts'
import type { FieldRules } from './core/fields.ts'
import type { JarReader } from './core/jar.ts'
import type { Returning } from './core/returning.ts'
import type { Roots } from './core/root.ts'
import type { Signals } from './core/signals.ts'
import type { Settings } from './options.ts'
import type { RunningStrategy, Runtime } from './seam.ts'
import type { CommitResult, SessionEvent, SessionEventType } from './types.ts'

export interface Engine {
  readonly settings: Settings
  readonly runtime: Runtime
  readonly strategy: RunningStrategy
  readonly roots: Roots
  readonly jars: JarReader
  readonly cookies: CookieWriter
  readonly rules: FieldRules
  /** The schema at commit; throws FIELD_INVALID. */
  checkForCommit: ((all: Record<string, unknown>) => void) | undefined
  readonly signals: Signals
  readonly returning: Returning
  /** The head of an answer whose handler looked at the session and changed nothing: it varies by what carries the token. */
  readonly seen: CommitResult
  emit(type: SessionEventType, event?: Omit<SessionEvent, 'type' | 'at' | 'node'>): void
  /** A touch that nobody waits for has failed. */
  touchFailed(error: unknown): void
}
