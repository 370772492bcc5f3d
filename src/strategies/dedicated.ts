import { SessionError } from '../errors.ts'
import type { RunningStrategy, SessionStore, SessionStrategy, StrategyContext } from '../seam.ts'
import type { Capability } from '../types.ts'
import { DedicatedStrategy } from './dedicated-running.ts'
import type { NearCacheOptions } from './near-cache.ts'

export type { NearCacheOptions } from './near-cache.ts'

export interface DedicatedOptions {
  /** Where the sessions live: `sqliteStore(…)`, `redisStore(…)`, `memoryStore()`, or your own. */
  readonly store: SessionStore
  /**
   * Copies kept in this server, so that a read costs no round trip. On by default where the store is another process and
   * keeps versions (`store.freshness`): a visitor never reads less than it has seen, and a foreign change stays unseen for
   * `leaseMs` at most. `false`: every request asks the store.
   */
  readonly nearCache?: false | NearCacheOptions
  /**
   * What a request with a session gets while the store is down. `fail`, the default: 503 with `Retry-After`. `readCached`:
   * near copies are read for `nearCache.outageMs`, all else is 503. `anonymous`: visitors are served as strangers, and what
   * they write is 503. No cookie is set or cleared by an outage.
   */
  readonly whenDown?: 'fail' | 'readCached' | 'anonymous'
  /** Every store operation ends within this time. Default 2,000. */
  readonly deadlineMs?: number
}

const DEADLINE_MS = 2_000
const LONGEST_DEADLINE_MS = 600_000
const POLICIES: ReadonlySet<unknown> = new Set(['fail', 'readCached', 'anonymous'])
/** Bounds of the options of the near cache; the longest lease is what promise 5 of the design allows a revocation to take. */
const NEAR_CACHE = {
  maxSessions: [1, 10_000_000],
  maxBytes: [1_024, 2 ** 40],
  leaseMs: [10, 1_000],
  outageMs: [1, 86_400_000],
} as const

/**
 * Sessions live in a session server and every server asks it: any server can answer any visitor. One atomic patch per
 * write, so that parallel requests lose nothing; reads write nothing. Throws CONFIG_INVALID, all problems together.
 */
export function dedicated(options: DedicatedOptions): SessionStrategy {
  const problems = problemsOf(options)
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `dedicated: ${problems.join('; ')}`)
  const { store, nearCache = {}, whenDown = 'fail', deadlineMs = DEADLINE_MS } = options
  const capabilities = new Set<Capability>(['update', 'revoke'])
  if (store.capabilities.has('list')) capabilities.add('list')
  if (store.capabilities.has('users')) capabilities.add('revokeUser')
  return {
    name: 'dedicated',
    capabilities,
    start: (context: StrategyContext): RunningStrategy => new DedicatedStrategy({ store, nearCache, whenDown, deadlineMs }, context),
  }
}

function problemsOf(options: DedicatedOptions): string[] {
  const given = (options ?? {}) as Partial<Record<keyof DedicatedOptions, unknown>>
  const problems: string[] = []
  const store = given.store as Partial<SessionStore> | undefined | null
  if (typeof store?.read !== 'function' || typeof store.patch !== 'function') {
    problems.push("store must be a session store, for example sqliteStore({ file: 'sessions.db' })")
  }
  problems.push(...nearCacheProblems(given.nearCache))
  if (given.whenDown !== undefined && !POLICIES.has(given.whenDown)) problems.push("whenDown must be 'fail', 'readCached' or 'anonymous'")
  if (given.whenDown === 'readCached' && (given.nearCache === false || store?.freshness === undefined)) {
    problems.push("whenDown: 'readCached' needs near copies: a store with a near cache, and nearCache not false")
  }
  const { deadlineMs } = given
  if (deadlineMs !== undefined && !(typeof deadlineMs === 'number' && deadlineMs >= 1 && deadlineMs <= LONGEST_DEADLINE_MS)) {
    problems.push(`deadlineMs must be a number of milliseconds from 1 to ${LONGEST_DEADLINE_MS}`)
  }
  const known = new Set(['store', 'nearCache', 'whenDown', 'deadlineMs'])
  for (const name of Object.keys(given)) if (!known.has(name)) problems.push(`there is no option ${JSON.stringify(name)}`)
  return problems
}

function nearCacheProblems(given: unknown): string[] {
  if (given === undefined || given === false) return []
  if (typeof given !== 'object' || given === null) return ['nearCache must be false or an object of its bounds']
  const problems: string[] = []
  for (const [name, value] of Object.entries(given)) {
    const bounds = Object.hasOwn(NEAR_CACHE, name) ? NEAR_CACHE[name as keyof typeof NEAR_CACHE] : undefined
    if (bounds === undefined) problems.push(`nearCache has no option ${JSON.stringify(name)}`)
    else if (value !== undefined && !(typeof value === 'number' && value >= bounds[0] && value <= bounds[1])) {
      problems.push(`nearCache.${name} must be a number from ${bounds[0]} to ${bounds[1]}`)
    }
  }
  return problems
}
