/** Promise 9: accepted no later than the idle time after the last request, expired no earlier than that less a touch. */
import type { Check } from './checker.ts'
import type { RequestFacts, SessionFacts } from './history.ts'
import { SMALL_SKEW_MS } from './plan.ts'

/** Two clocks, each wrong by so much, and a little for the way. */
const TOLERANCE_MS = 2 * SMALL_SKEW_MS + 10

/** Servers that meet again exchange what they missed within this time. */
const REUNION_MS = 100

export function checkExpiry(check: Check): void {
  for (const request of check.history.requests)
    if (request.presented !== undefined && request.found) checkLate(check, request, request.presented)
  const told = new Map<string, number>()
  for (const { key, type } of check.history.events) if (type === 'expired' && key !== undefined) told.set(key, (told.get(key) ?? 0) + 1)
  const isCalm = check.plan.drop === 0 && !check.losses.wasTroubled(0, check.history.now, ['crash', 'partition', 'pause', 'leave'])
  for (const [key, times] of told) {
    if (times > 1 && isCalm) check.report(9, `${check.history.sessions.get(key)?.name} raised ${times} expired events`)
  }
}

function others({ history }: Check, session: SessionFacts, request: RequestFacts | undefined): RequestFacts[] {
  return history.requests.filter((other) => other !== request && (other.presented === session || other.session === session))
}

function checkLate(check: Check, request: RequestFacts, session: SessionFacts): void {
  const { idleMs, absoluteMs } = check.plan.lifetime
  const name = `r${request.id} at ${request.node}`
  const end = session.bornAt[1] + absoluteMs + TOLERANCE_MS
  if (request.arrivedAt > end)
    check.report(9, `${name} was served ${session.name} ${(request.arrivedAt - end).toFixed(0)} ms after its absolute end`)
  let last = session.createdAt
  for (const other of others(check, session, request)) {
    if (other.arrivedAt <= request.openedAt) last = Math.max(last, Math.min(other.endedAt, request.openedAt))
  }
  const idle = request.arrivedAt - last
  if (idle > idleMs + TOLERANCE_MS) check.report(9, `${name} was served ${session.name} after ${idle.toFixed(0)} ms without a request`)
}

/** By true time, the session may be over: past its absolute end, or idle, as far as is certain. */
export function hasExpired(check: Check, session: SessionFacts, at: number, asking?: RequestFacts): boolean {
  const { absoluteMs, idleMs, touchEveryMs } = check.plan.lifetime
  if (at >= session.bornAt[0] + absoluteMs - TOLERANCE_MS) return true
  let last = session.bornAt[0]
  for (const other of others(check, session, asking)) {
    if (other.outcome === 'ok' && other.session === session && other.endedAt <= at) last = Math.max(last, other.openedAt)
  }
  if (at >= last + idleMs - touchEveryMs - TOLERANCE_MS) return true
  // A touch is not confirmed: it can be lost with its server, and is out of reach while servers are apart.
  if (check.plan.profile !== 'expiry') return false
  return check.losses.wasTroubled(last, at, ['crash']) || check.losses.wasTroubled(at - REUNION_MS, at, ['partition'])
}
