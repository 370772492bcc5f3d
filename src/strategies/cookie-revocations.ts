/** What remembers that sealed sessions have ended: a table shared by the servers' links, or records in a store. */
import { type Epoch, hasSeen } from '../core/epoch.ts'
import type { MaybePromise } from '../seam.ts'

/** Where a server is out of touch with the others, or the store is down: serve as if nothing had been revoked, or refuse. */
export type WhenCutOff = 'continue' | 'fail'

/** A note that a jar must hold, or have folded: the write of a guarded field. */
export interface RequiredNote {
  readonly name: string
  readonly counter: number
  /** Unix ms. */
  readonly at: number
}

export interface EndedSession {
  readonly reason: 'destroyed' | 'replaced'
  /** Unix ms, where it is still known. */
  readonly endedAt?: number
}

/** What is known of one session and its user. */
export interface Standing {
  readonly ended: EndedSession | undefined
  /** Log-outs everywhere of the user that still count; those that spare this session say so. */
  readonly events: readonly { readonly id: string; readonly isSpared: boolean }[]
  /** Sessions of the user that began below this counter are over: what is left of events that were forgotten one by one. */
  readonly least: number
  readonly required: readonly RequiredNote[]
}

export interface Subject {
  readonly key: string
  /** Unix ms: where the session ends at the latest. */
  readonly absoluteAt: number
  readonly userId: string | undefined
}

export interface Revocations {
  /** Before anything is trusted: waits, for a bounded time, until what is known here can be relied on. Rejects with SESSION_UNAVAILABLE. */
  confirm(): MaybePromise<void>
  look(subject: Subject): MaybePromise<Standing>
  /** The epoch of a session that begins now, having seen these. */
  epoch(standing: Pick<Standing, 'events'>): Epoch | undefined
  /** A session was opened that began at this epoch. */
  met(epoch: Epoch | undefined): void
  /** Resolves once no server accepts the session. */
  end(key: string, reason: 'destroyed' | 'replaced' | 'revoked', absoluteAt: number): MaybePromise<void>
  /** Resolves to false when the session was known to have ended. With a user: only where it is theirs. */
  revoke(key: string, filter: { userId?: string }): Promise<boolean>
  revokeUser(userId: string, filter: { except?: string }): Promise<void>
  /** From now on a jar must hold this note. False, and nothing changed: it must hold another one, which `covers` does not know. */
  require(subject: Subject, note: RequiredNote, covers: (note: RequiredNote) => boolean): MaybePromise<boolean>
  status(): RevocationsStatus
  ready(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
}

export interface RevocationsStatus {
  readonly notProtected: readonly string[]
  readonly details: Record<string, string | number | boolean>
  readonly peers?: { node: string; state: 'up' | 'joining' | 'suspect' | 'down' }[]
  readonly store?: { name: string; state: 'up' | 'down' }
}

export const NOTHING_KNOWN: Standing = { ended: undefined, events: [], least: 0, required: [] }

/** How a session that began at this epoch has ended, if it has. */
export function endOfSession(standing: Standing, epoch: Epoch | undefined): EndedSession | undefined {
  if (standing.ended !== undefined) return standing.ended
  if ((epoch?.counter ?? 0) < standing.least) return { reason: 'destroyed' }
  for (const { id, isSpared } of standing.events) if (!isSpared && !hasSeen(epoch, id)) return { reason: 'destroyed' }
  return undefined
}
