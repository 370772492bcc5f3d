import { SessionError } from '../errors.ts'
import type { RunningStrategy, SessionStrategy, StrategyContext } from '../seam.ts'
import { CookieBased } from './cookie-running.ts'

export interface CookieBasedOptions {
  /** Largest `Cookie` header, other cookies included, that a write may lead to. 2,000 … 12,000, default 7,000. */
  readonly maxHeaderBytes?: number
  /** Only `false`, the default, so far. */
  readonly compress?: false
}

const MAX_HEADER_BYTES = 7_000
const LEAST_HEADER_BYTES = 2_000
/** Node refuses requests with more than 16 KB of headers before any handler runs: a visitor would be locked out. */
const MOST_HEADER_BYTES = 12_000

const LATER = new Map([
  ['compress', 'compress comes with a later release: leave it out'],
  ['overflow', 'overflow comes with a later release: keep sessions small, or use dedicated({ store }) for large ones'],
  ['revocations', 'revocations comes with a later release: leave it out, or use dedicated, replication or affinity to revoke sessions'],
  ['guarded', 'guarded comes with a later release: leave it out'],
])

/**
 * Sessions live in the visitor's browser, sealed: nothing to run, any server with the secrets answers any visitor. Parallel
 * writes merge by field; counters sum. Sessions of up to about 2.8 KB. Throws CONFIG_INVALID, all problems together.
 */
export function cookieBased(options: CookieBasedOptions = {}): SessionStrategy {
  const problems = problemsOf(options)
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `cookieBased: ${problems.join('; ')}`)
  const { maxHeaderBytes = MAX_HEADER_BYTES } = options
  return {
    name: 'cookieBased',
    capabilities: new Set(),
    start: (context: StrategyContext): RunningStrategy => new CookieBased(context, { maxHeaderBytes }),
  }
}

function problemsOf(options: unknown): string[] {
  if (typeof options !== 'object' || options === null) return ['give an object of options, or nothing']
  const problems: string[] = []
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (name === 'compress' && value === false)) continue
    const later = LATER.get(name)
    if (later !== undefined) problems.push(later)
    else if (name !== 'maxHeaderBytes') problems.push(`there is no option ${JSON.stringify(name)}`)
    else if (!Number.isInteger(value) || value < LEAST_HEADER_BYTES || value > MOST_HEADER_BYTES) {
      problems.push(`maxHeaderBytes must be a whole number from ${LEAST_HEADER_BYTES} to ${MOST_HEADER_BYTES}`)
    }
  }
  return problems
}
