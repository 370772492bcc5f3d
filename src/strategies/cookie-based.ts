import { SessionError } from '../errors.ts'
import type { RunningStrategy, SessionStore, SessionStrategy, StrategyContext } from '../seam.ts'
import {
  REVOCATION_OPTIONS,
  type RevocationOptions,
  revocationCapabilities,
  revocationProblems,
  startRevocable,
} from './cookie-revocation-options.ts'
import { CookieBased } from './cookie-running.ts'

export interface CookieBasedOptions extends RevocationOptions {
  /**
   * Largest `Cookie` header, other cookies included, that a session may need once its changes are folded. 2,000 … 12,000, default
   * 7,000: about 4.8 KB of data. Above that, raise `maxHeaderSize` of your servers to 2.5 times as much (`docs/cookies.md`).
   */
  readonly maxHeaderBytes?: number
  /** Compresses each field for itself, lengths padded. Default false, as lengths tell of contents: see `docs/cookies.md`. */
  readonly compress?: boolean
  /** Where the largest fields of a session go that does not fit: `sqliteStore(…)`, `redisStore(…)`, your own. Default: COOKIE_TOO_LARGE. */
  readonly overflow?: SessionStore
}

const MAX_HEADER_BYTES = 7_000
const LEAST_HEADER_BYTES = 2_000
/** Node refuses requests with more than 16 KB of headers before any handler runs: a visitor would be locked out. */
const MOST_HEADER_BYTES = 12_000

/**
 * Sessions live in the visitor's browser, sealed: nothing to run, any server with the secrets answers any visitor. Parallel
 * writes merge by field; counters sum. Sessions of up to about 4.8 KB, more with
 * `compress` or `overflow`. Throws CONFIG_INVALID, all problems together.
 */
export function cookieBased(options: CookieBasedOptions = {}): SessionStrategy {
  const problems = problemsOf(options)
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `cookieBased: ${problems.join('; ')}`)
  const { maxHeaderBytes = MAX_HEADER_BYTES, compress = false, overflow } = options
  const revocable = options.revocations !== undefined
  return {
    name: 'cookieBased',
    capabilities: revocationCapabilities(options),
    start: (context: StrategyContext): RunningStrategy =>
      startRevocable(
        context,
        options,
        (inner) => new CookieBased(inner, { maxHeaderBytes, compress, revocable, ...(overflow !== undefined && { overflow }) }),
      ),
  }
}

function problemsOf(options: unknown): string[] {
  if (typeof options !== 'object' || options === null) return ['give an object of options, or nothing']
  const problems: string[] = []
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || REVOCATION_OPTIONS.has(name)) continue
    if (name === 'compress') {
      if (typeof value !== 'boolean') problems.push('compress must be true or false')
    } else if (name === 'overflow') {
      if (!isStore(value)) problems.push("overflow must be a session store, for example sqliteStore({ file: 'overflow.db' })")
    } else if (name !== 'maxHeaderBytes') problems.push(`there is no option ${JSON.stringify(name)}`)
    else if (!Number.isInteger(value) || value < LEAST_HEADER_BYTES || value > MOST_HEADER_BYTES) {
      problems.push(`maxHeaderBytes must be a whole number from ${LEAST_HEADER_BYTES} to ${MOST_HEADER_BYTES}`)
    }
  }
  problems.push(...revocationProblems(options as RevocationOptions))
  return problems
}

function isStore(value: unknown): boolean {
  const store = (value ?? {}) as Partial<SessionStore>
  return typeof store.read === 'function' && typeof store.create === 'function'
}
