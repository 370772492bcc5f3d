import { SessionError } from '../errors.ts'
import type { SessionStore, StoreContext, StrategyContext } from '../seam.ts'

/** A store with its state watched, opened when first needed, and one retry where a reply was lost. */
export interface StoreAccess {
  readonly state: 'up' | 'down'
  /** Rejects as the store's `ready()` does. */
  ready(): Promise<void>
  /** The same, but a store that is down is left to the operation that follows to report. */
  started(): Promise<void>
  read<R>(work: () => Promise<R>): Promise<R>
  /** `work` must be safe to send twice: it carries a write id, or ends something. */
  write<R>(work: () => Promise<R>): Promise<R>
  close(): Promise<void>
}

/** Long enough for a broken connection to be replaced, jittered so that not all servers come back at once. */
const RETRY_AFTER_MS = 25
const RETRY_JITTER_MS = 50

export function storeAccess(store: SessionStore, deadlineMs: number, context: StrategyContext): StoreAccess {
  const { runtime } = context
  let state: 'up' | 'down' = 'down'
  let degraded = false
  let opening: Promise<void> | undefined
  let opened = false
  let closed = false

  const storeContext: StoreContext = {
    runtime,
    logger: context.logger,
    deadlineMs,
    stateChanged(next, detail): void {
      state = next
      if (closed || degraded === (next === 'down')) return
      degraded = next === 'down'
      context.emit(degraded ? 'degraded' : 'recovered', { detail })
    },
    expired(key, userId): void {
      context.ended(key, 'expired')
      context.emit('expired', { key, ...(userId !== undefined && { userId }) })
    },
  }

  async function ready(): Promise<void> {
    if (closed) throw closedError()
    opening ??= store.ready(storeContext)
    try {
      await opening
      opened = true
    } catch (error) {
      opening = undefined
      // From now on the store itself says at once whether it can be reached, and comes back by itself.
      opened = isUnavailable(error)
      throw error
    }
  }

  async function started(): Promise<void> {
    if (closed) throw closedError()
    if (opened) return
    try {
      await ready()
    } catch (error) {
      if (!isUnavailable(error)) throw error
    }
  }

  async function attempt<R>(work: () => Promise<R>): Promise<R> {
    if (closed) throw closedError()
    if (!opened) await started()
    const wasUp = state === 'up'
    const startedAt = runtime.monotonic()
    try {
      return await work()
    } catch (error) {
      // During a known outage there is nothing to gain; at the deadline there is no time left.
      const left = deadlineMs - (runtime.monotonic() - startedAt)
      const wait = RETRY_AFTER_MS + ((runtime.randomBytes(1)[0] as number) / 256) * RETRY_JITTER_MS
      if (!isUnavailable(error) || !wasUp || closed || left <= wait) throw error
      await new Promise<void>((done) => void runtime.setTimer(wait, done))
      return await bounded(work(), left - wait, error)
    }
  }

  /** The second try only has the time that the first one left. */
  function bounded<R>(second: Promise<R>, ms: number, first: unknown): Promise<R> {
    return new Promise((resolve, reject) => {
      const timer = runtime.setTimer(ms, () => reject(first))
      const settle = (end: () => void): void => {
        timer.cancel()
        end()
      }
      second.then(
        (value) => settle(() => resolve(value)),
        (error: Error) => settle(() => reject(error)),
      )
    })
  }

  return {
    get state(): 'up' | 'down' {
      return state
    },
    ready,
    started,
    read: attempt,
    write: attempt,
    async close(): Promise<void> {
      if (closed) return
      closed = true
      if (opened || opening !== undefined) await store.close()
    },
  }
}

function isUnavailable(error: unknown): boolean {
  return SessionError.is(error) && error.code === 'STORE_UNAVAILABLE'
}

function closedError(): SessionError {
  return new SessionError('SESSIONS_CLOSED', 'sessions.close() was called: this server takes no more requests.', {
    headers: { 'retry-after': '1' },
  })
}
