import { SessionError } from '../errors.ts'
import type { MaybePromise } from '../seam.ts'
import type { OpenSession, RequestView, Sessions } from '../types.ts'

/** What adapters use beside the public `Sessions`. */
export interface MountableSessions<D> extends Sessions<D> {
  /** As `open`, without a promise where no I/O is needed. */
  openNow(request: RequestView): MaybePromise<OpenSession<D>>
  /** Makes `sessions.of(carrier)` find this request's session. */
  attach(carrier: object, open: OpenSession<D>): void
  readonly logger: Pick<Console, 'warn' | 'error'>
}

/** The adapter's view of what `createSessions` returned. */
export function mountable<D>(sessions: Sessions<D>): MountableSessions<D> {
  if (typeof (sessions as Partial<MountableSessions<D>>).openNow === 'function') return sessions as MountableSessions<D>
  throw new SessionError('CONFIG_INVALID', 'This is not what createSessions() returns: pass its result to the adapter.')
}
