/** Calls of a store that answers through callbacks, as promises that always end. */
import { SessionError } from '../errors.ts'
import { recordInvalid, unavailable } from './availability.ts'
import type { Availability } from './availability.ts'

type Callback = (error?: unknown, value?: unknown) => void

/** The part of an express-session store that is used. */
export interface ExpressStoreLike {
  get(sid: string, callback: (error: unknown, session?: unknown) => void): unknown
  set(sid: string, session: any, callback?: (error?: unknown) => void): unknown
  destroy(sid: string, callback?: (error?: unknown) => void): unknown
  all?(callback: (error: unknown, sessions?: unknown) => void): unknown
  on?(event: string, listener: (...args: any[]) => void): unknown
  removeListener?(event: string, listener: (...args: any[]) => void): unknown
}

/** `until`, monotonic ms: an answer after it is none. Rejects with STORE_UNAVAILABLE, `get` also with STORE_RECORD_INVALID. */
export interface ExpressStoreCalls {
  get(key: string, until: number): Promise<unknown>
  set(key: string, session: object, until: number): Promise<void>
  all(until: number): Promise<unknown>
}

export function expressStoreCalls(store: ExpressStoreLike, shown: string, state: Availability): ExpressStoreCalls {
  function fail(why: string, advice: string): SessionError {
    const error = unavailable(`${shown} ${why}: ${advice}`)
    tell('down', error.message)
    return error
  }

  /** An answer that comes after close() says nothing to anybody. */
  function tell(next: 'up' | 'down', detail: string): void {
    if (state.contexts.size > 0) state.set(next, detail)
  }

  async function call(until: number, invoke: (callback: Callback) => unknown): Promise<unknown> {
    const { runtime } = state.context()
    const left = until - runtime.monotonic()
    if (left <= 0) throw fail('does not answer', SLOW)
    const answer = await new Promise<{ error?: unknown; value?: unknown } | 'late'>((resolve) => {
      // A process that was itself stalled first reads what has arrived.
      const timer = runtime.setTimer(left, () => runtime.defer(() => resolve('late')))
      // Further calls of the callback change nothing: a promise settles once.
      const settle = (failed: boolean, value: unknown): void => {
        timer.cancel()
        resolve(failed ? { error: value } : { value })
      }
      const callback: Callback = (error, value) => {
        const failed = error !== undefined && error !== null && error !== false
        settle(failed, failed ? error : value)
      }
      try {
        // Some stores take a callback and return a promise too.
        const returned = invoke(callback)
        if (isThenable(returned)) returned.then(undefined, (error: unknown) => settle(true, error))
      } catch (error) {
        settle(true, error)
      }
    })
    if (answer === 'late') throw fail('does not answer', SLOW)
    if ('error' in answer) throw answer.error === undefined ? new Error('no reason given') : answer.error
    tell('up', shown)
    return answer.value
  }

  /** What the store says can quote what it was sent: only its code is repeated. */
  function failure(error: unknown): SessionError {
    return SessionError.is(error) ? error : fail(`answered with an error (${codeOf(error)})`, 'check that store, its database and its log')
  }

  return {
    async get(key: string, until: number): Promise<unknown> {
      try {
        return await call(until, (callback) => store.get(key, callback))
      } catch (error) {
        if (isNoFile(error)) return undefined
        if (error instanceof SyntaxError) throw recordInvalid('expressStore', key)
        throw failure(error)
      }
    },
    async set(key: string, session: object, until: number): Promise<void> {
      try {
        await call(until, (callback) => store.set(key, session, callback))
      } catch (error) {
        throw failure(error)
      }
    },
    async all(until: number): Promise<unknown> {
      try {
        return await call(until, (callback) => store.all?.(callback))
      } catch (error) {
        throw failure(error)
      }
    },
  }
}

const SLOW = 'check its load and its connection, or whether it is stopped'

/** express-session takes ENOENT for "no such session"; a database's socket that is missing is something else. */
function isNoFile(error: unknown): boolean {
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown }
  return code === 'ENOENT' && syscall !== 'connect'
}

export function codeOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  const found = [code, name].find((text) => typeof text === 'string' && /^\w{2,40}$/.test(text))
  return typeof found === 'string' ? found : 'no code'
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | undefined | null)?.then === 'function'
}
