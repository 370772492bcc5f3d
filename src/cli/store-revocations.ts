/** Ends sessions of `cookieBased` from outside: what its servers look for lies in the store that they were given as `revocations`. */
import { randomBytes } from 'node:crypto'
import { deriveKeys } from '../core/keys.ts'
import { systemRuntime } from '../core/runtime.ts'
import type { SessionStore, StrategyContext } from '../seam.ts'
import { StoreRevocations } from '../strategies/cookie-store-revocations.ts'

/** The longest that a server can be told to remember (400 days): the servers' own `longestMs` is not known here. */
const LONGEST_MS = 400 * 86_400_000

const nothing = (): void => undefined

/** `store` is opened by `ready()` and closed by `close()`. */
export function storeRevocations(store: SessionStore): StoreRevocations {
  const context: StrategyContext = {
    node: 'holdfast sessions',
    runtime: systemRuntime(),
    // Revocations are sealed with nothing.
    keys: deriveKeys([randomBytes(32).toString('base64url')], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 0 },
    emit: nothing,
    ended: nothing,
    logger: { warn: nothing, error: nothing },
  }
  return new StoreRevocations(store, context, { whenCutOff: 'fail', longestMs: LONGEST_MS })
}
