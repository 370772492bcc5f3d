import { SessionError } from '../errors.ts'
import type { StoreContext } from '../seam.ts'

/** Tells every user of a store once per change of state. Several `createSessions` of one process may share a store. */
export interface Availability {
  readonly contexts: ReadonlySet<StoreContext>
  readonly state: 'up' | 'down' | undefined
  /** The first context gives clock and deadline. Throws STORE_UNAVAILABLE before `ready()` and after `close()`. */
  context(): StoreContext
  join(context: StoreContext): void
  /** True when the last user has left. */
  leave(): boolean
  set(state: 'up' | 'down', detail: string): void
}

export function availability(store: string): Availability {
  const contexts = new Set<StoreContext>()
  let users = 0
  let state: 'up' | 'down' | undefined
  let detail = ''
  return {
    contexts,
    get state(): 'up' | 'down' | undefined {
      return state
    },
    context(): StoreContext {
      for (const context of contexts) return context
      throw unavailable(`${store} is not open: await ready() first, and use nothing after close()`)
    },
    join(context: StoreContext): void {
      if (contexts.has(context)) return
      contexts.add(context)
      users += 1
      if (state !== undefined) context.stateChanged(state, detail)
    },
    leave(): boolean {
      users = Math.max(0, users - 1)
      if (users > 0) return false
      contexts.clear()
      state = undefined
      return true
    },
    set(next: 'up' | 'down', why: string): void {
      if (next === state) return
      state = next
      detail = why
      for (const context of contexts) context.stateChanged(next, why)
    },
  }
}

/** 503 with `Retry-After`. Never takes a driver's error as `cause`: some drivers quote what was sent. */
export function unavailable(message: string): SessionError {
  return new SessionError('STORE_UNAVAILABLE', message, { headers: { 'retry-after': '1' } })
}

/** `key`: of the session, its id's hash, so that it can be found and inspected. */
export function recordInvalid(store: string, key: string): SessionError {
  return new SessionError(
    'STORE_RECORD_INVALID',
    `${store} holds a record of session ${key} that does not parse: it was written by something else or by a newer version; it is kept as it is, inspect or delete it`,
  )
}
