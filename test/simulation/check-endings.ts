/** Promises 4 and 5: what has ended is accepted nowhere, and no late writer brings it back. */
import type { Check } from './checker.ts'
import type { EndingFacts, RequestFacts, SessionFacts } from './history.ts'

export function checkEndings(check: Check): void {
  for (const request of check.history.requests) {
    checkAcceptance(check, request)
    checkLateWrite(check, request)
  }
}

/** An ending that was confirmed before then and has to hold at this server. */
function endedBefore(check: Check, session: SessionFacts, request: RequestFacts, at: number): EndingFacts | undefined {
  return session.endings.find((ending) => {
    if (ending.confirmedAt === undefined || ending.confirmedAt >= at) return false
    return !isExcused(check, ending, request)
  })
}

/** The documented exceptions. */
function isExcused({ losses, plan }: Check, ending: EndingFacts, request: RequestFacts): boolean {
  // A lost frame is mended by the rounds of repair only.
  if (plan.drop > 0) return true
  // Cut off from the majority, it serves what it holds; ended without a majority, it is not known everywhere.
  if (plan.whenCutOff === 'continue' && (request.impaired || ending.impaired)) return true
  return losses.majorityDied(ending.startedAt, request.arrivedAt)
}

function checkAcceptance(check: Check, request: RequestFacts): void {
  const { presented } = request
  if (presented === undefined || !request.found) return
  const ending = endedBefore(check, presented, request, request.arrivedAt)
  if (ending === undefined) return
  const when = `ended by ${ending.how} at ${ending.node} by ${ending.confirmedAt?.toFixed(1)}`
  check.report(5, `r${request.id} at ${request.node} was served ${presented.name}, ${when}`)
}

function checkLateWrite(check: Check, request: RequestFacts): void {
  const { presented, write } = request
  if (presented === undefined || write === undefined || request.outcome !== 'ok' || !presented.writes.includes(write)) return
  const ending = endedBefore(check, presented, request, request.committedAt)
  if (ending === undefined) return
  check.report(4, `r${request.id} at ${request.node} wrote to ${presented.name} after ${ending.how} at ${ending.node} had ended it`)
}
