import type { RunningStrategy, SessionStore, StrategyContext, Transport } from '../seam.ts'
import type { Capability } from '../types.ts'
import { MeshRevocations } from './cookie-mesh-revocations.ts'
import { RevocableCookies } from './cookie-revocable.ts'
import type { WhenCutOff } from './cookie-revocations.ts'
import { StoreRevocations } from './cookie-store-revocations.ts'

export interface RevocationOptions {
  /**
   * Remembers which sessions have ended, so that `logout`, `login`, `revoke` and `revokeUser` hold on every server: a transport of
   * the servers' own (`tcpTransport(…)`, forgotten when all restart at once), or a store (kept). Default: nobody remembers.
   */
  readonly revocations?: Transport | SessionStore
  /** Fields of which an older state is refused as `regressed`, such as a coupon that was used. Needs `revocations`. Default none. */
  readonly guarded?: readonly string[]
  /**
   * While this server is cut off from the majority, or the store is down: `continue` serves, with what was revoked meanwhile, `fail`
   * answers SESSION_UNAVAILABLE or STORE_UNAVAILABLE. Default `continue` with a transport, `fail` with a store.
   */
  readonly whenCutOff?: WhenCutOff
  /** Longest absolute lifetime that a session may have: a log-out everywhere is remembered for it. Default 31 days. */
  readonly longestMs?: number
}

const LONGEST_MS = 31 * 86_400_000
/** A year and a bit: no browser keeps a cookie for longer than 400 days (RFC 6265bis, section 5.5). */
const LONGEST_MAX_MS = 400 * 86_400_000
const FIELD_BYTES = 128

export const REVOCATION_OPTIONS: ReadonlySet<string> = new Set(['revocations', 'guarded', 'whenCutOff', 'longestMs'])

export function revocationCapabilities({ revocations }: RevocationOptions): ReadonlySet<Capability> {
  return new Set<Capability>(revocations === undefined ? [] : ['revoke', 'revokeUser'])
}

export function revocationProblems(options: RevocationOptions): string[] {
  const { guarded, longestMs, revocations, whenCutOff } = options
  const problems: string[] = []
  if (revocations !== undefined && !isTransport(revocations) && !isStore(revocations)) {
    problems.push('revocations must be a transport, for example tcpTransport({ cluster, secrets, peers }), or a session store')
  }
  if (guarded !== undefined && !isFieldList(guarded)) problems.push('guarded must be a list of field names')
  if (whenCutOff !== undefined && whenCutOff !== 'continue' && whenCutOff !== 'fail')
    problems.push("whenCutOff must be 'continue' or 'fail'")
  if (longestMs !== undefined && !(Number.isInteger(longestMs) && longestMs >= 1 && longestMs <= LONGEST_MAX_MS)) {
    problems.push(`longestMs must be a whole number of milliseconds, at most ${LONGEST_MAX_MS}`)
  }
  if (revocations !== undefined) return problems
  for (const name of ['guarded', 'whenCutOff', 'longestMs'] as const) {
    if (options[name] !== undefined) problems.push(`${name} needs \`revocations\`: a transport or a store that remembers`)
  }
  return problems
}

/** `start` begins the strategy that seals; without a table that is all there is. */
export function startRevocable(
  context: StrategyContext,
  { guarded = [], longestMs = LONGEST_MS, revocations, whenCutOff }: RevocationOptions,
  start: (context: StrategyContext) => RunningStrategy,
): RunningStrategy {
  if (revocations === undefined) return start(context)
  if (!isTransport(revocations)) {
    const table = new StoreRevocations(revocations, context, { whenCutOff: whenCutOff ?? 'fail', longestMs })
    return new RevocableCookies(start(context), table, context, { guarded, longestMs })
  }
  // Servers that are linked agree on a time, and what is sealed goes by it, too.
  let now = context.runtime.now
  const steered: StrategyContext = {
    ...context,
    runtime: { ...context.runtime, now: () => now() },
    steer(agreed) {
      now = agreed
      context.steer?.(agreed)
    },
  }
  const table = new MeshRevocations(
    revocations,
    { ...steered, runtime: context.runtime },
    { whenCutOff: whenCutOff ?? 'continue', longestMs },
  )
  return new RevocableCookies(start(steered), table, steered, { guarded, longestMs })
}

function isTransport(value: Transport | SessionStore): value is Transport {
  return typeof (value as Partial<Transport> | null)?.start === 'function' && typeof (value as Partial<Transport>).peers === 'function'
}

function isStore(value: Transport | SessionStore): value is SessionStore {
  const store = value as Partial<SessionStore> | null
  return typeof store?.read === 'function' && typeof store.create === 'function' && typeof store.patch === 'function'
}

function isFieldList(value: readonly string[]): boolean {
  return Array.isArray(value) && value.every((name) => typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= FIELD_BYTES)
}
