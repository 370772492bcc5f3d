import { SessionError } from '../errors.ts'
import type { RunningStrategy, SessionStore, SessionStrategy, StrategyContext } from '../seam.ts'
import type { Capability } from '../types.ts'
import { DedicatedStrategy } from './dedicated-running.ts'

export interface DedicatedOptions {
  /** Where the sessions live: `sqliteStore(…)`, `redisStore(…)`, `memoryStore()`, or your own. */
  readonly store: SessionStore
  /** Copies kept in the server. Only `false`, the default, so far. */
  readonly nearCache?: false
  /** What a request with a session gets while the store is down. Only `fail`, the default, so far: 503 with `Retry-After`. */
  readonly whenDown?: 'fail'
  /** Every store operation ends within this time. Default 2,000. */
  readonly deadlineMs?: number
}

const DEADLINE_MS = 2_000
const LONGEST_DEADLINE_MS = 600_000

/**
 * Sessions live in a session server and every server asks it: any server can answer any visitor. One atomic patch per
 * write, so that parallel requests lose nothing; reads write nothing. Throws CONFIG_INVALID, all problems together.
 */
export function dedicated(options: DedicatedOptions): SessionStrategy {
  const problems = problemsOf(options)
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', `dedicated: ${problems.join('; ')}`)
  const { store, deadlineMs = DEADLINE_MS } = options
  const capabilities = new Set<Capability>(['update', 'revoke'])
  if (store.capabilities.has('list')) capabilities.add('list')
  if (store.capabilities.has('users')) capabilities.add('revokeUser')
  return {
    name: 'dedicated',
    capabilities,
    start: (context: StrategyContext): RunningStrategy => new DedicatedStrategy(store, deadlineMs, context),
  }
}

function problemsOf(options: DedicatedOptions): string[] {
  const given = (options ?? {}) as Partial<Record<keyof DedicatedOptions, unknown>>
  const problems: string[] = []
  const store = given.store as Partial<SessionStore> | undefined | null
  if (typeof store?.read !== 'function' || typeof store.patch !== 'function') {
    problems.push("store must be a session store, for example sqliteStore({ file: 'sessions.db' })")
  }
  if (given.nearCache !== undefined && given.nearCache !== false) problems.push('nearCache comes with a later release: leave it out')
  if (given.whenDown === 'readCached') problems.push("whenDown: 'readCached' comes with the near cache in a later release: use 'fail'")
  else if (given.whenDown === 'anonymous') problems.push("whenDown: 'anonymous' comes with a later release: use 'fail'")
  else if (given.whenDown !== undefined && given.whenDown !== 'fail') problems.push("whenDown must be 'fail'")
  const { deadlineMs } = given
  if (deadlineMs !== undefined && !(typeof deadlineMs === 'number' && deadlineMs >= 1 && deadlineMs <= LONGEST_DEADLINE_MS)) {
    problems.push(`deadlineMs must be a number of milliseconds from 1 to ${LONGEST_DEADLINE_MS}`)
  }
  const known = new Set(['store', 'nearCache', 'whenDown', 'deadlineMs'])
  for (const name of Object.keys(given)) if (!known.has(name)) problems.push(`there is no option ${JSON.stringify(name)}`)
  return problems
}
