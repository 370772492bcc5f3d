import { SessionError } from '../errors.ts'
import type { SessionStore, StoreContext, StrategyContext } from '../seam.ts'
import { circuitBreaker } from './circuit-breaker.ts'

/** A store with its state watched, opened when first needed, and one retry where a reply was lost. */
export interface StoreAccess {
  readonly state: 'up' | 'down'
  /** Rejects as the store's `ready()` does. */
  ready(): Promise<void>
  /** The same, but a store that is down is left to the operation that follows to report. */
  started(): Promise<void>
  /** `work` must be safe to send twice: it reads, carries a write id, or ends something. */
  ask<R>(work: () => Promise<R>): Promise<R>
  close(): Promise<void>
}

/** Long enough for a broken connection to be replaced, jittered so that not all servers come back at once. */
const RETRY_AFTER_MS = 25
const RETRY_JITTER_MS = 50
/** A failure that took this part of the deadline made somebody wait. */
const SLOW = 0.5
/** The key of no session: what is asked about it shows whether the store answers. */
const PROBE_KEY = 'probe'.padEnd(43, '-')

/** `opened`: the store has been opened, and may be watched from now on. */
export function storeAccess(store: SessionStore, deadlineMs: number, context: StrategyContext, whenOpened: () => void): StoreAccess {
  const { runtime } = context
  let stateOfStore: 'up' | 'down' = 'down'
  let degraded = false
  let opening: Promise<void> | undefined
  let opened = false
  let closed = false

  const storeContext: StoreContext = {
    runtime,
    logger: context.logger,
    deadlineMs,
    stateChanged(next, detail): void {
      stateOfStore = next
      // A store that knows that it is back is believed: nobody has to wait for a probe.
      if (next === 'up' && breaker.isOpen) return breaker.succeeded()
      tellState(detail)
    },
    expired(key, userId): void {
      context.ended(key, 'expired')
      context.emit('expired', { key, ...(userId !== undefined && { userId }) })
    },
  }

  const breaker = circuitBreaker(
    runtime,
    () => store.read(PROBE_KEY),
    (isOpen) =>
      tellState(isOpen ? `${store.name} did not answer several times in a row within the deadline` : `${store.name} answers again`),
  )

  function state(): 'up' | 'down' {
    return stateOfStore === 'down' || breaker.isOpen ? 'down' : 'up'
  }

  function tellState(detail: string): void {
    const isDown = state() === 'down'
    if (closed || degraded === isDown) return
    degraded = isDown
    context.emit(isDown ? 'degraded' : 'recovered', { detail })
  }

  async function ready(): Promise<void> {
    if (closed) throw closedError()
    opening ??= store.ready(storeContext)
    try {
      await opening
      isOpenNow()
    } catch (error) {
      opening = undefined
      // From now on the store itself says at once whether it can be reached, and comes back by itself.
      if (isUnavailable(error)) isOpenNow()
      throw error
    }
  }

  function isOpenNow(): void {
    if (opened || closed) return
    opened = true
    whenOpened()
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
    if (breaker.isOpen) throw unanswered(store.name)
    const wasUp = state() === 'up'
    const startedAt = runtime.monotonic()
    try {
      const result = await work()
      breaker.succeeded()
      return result
    } catch (error) {
      if (isUnavailable(error)) breaker.failed(runtime.monotonic() - startedAt >= deadlineMs * SLOW)
      else breaker.succeeded()
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
      return state()
    },
    ready,
    started,
    ask: attempt,
    async close(): Promise<void> {
      if (closed) return
      closed = true
      breaker.close()
      if (opened || opening !== undefined) await store.close()
    },
  }
}

export function isUnavailable(error: unknown): boolean {
  return SessionError.is(error) && error.code === 'STORE_UNAVAILABLE'
}

function unanswered(store: string): SessionError {
  return new SessionError('STORE_UNAVAILABLE', `The ${store} store does not answer: check its load, or whether it is stopped.`, {
    headers: { 'retry-after': '1' },
  })
}

function closedError(): SessionError {
  return new SessionError('SESSIONS_CLOSED', 'sessions.close() was called: this server takes no more requests.', {
    headers: { 'retry-after': '1' },
  })
}
