/** Holds the promises of the design against the history of one run. Every line it returns is a broken promise. */
import { checkEndings } from './check-endings.ts'
import { checkExpiry, hasExpired } from './check-expiry.ts'
import { checkHolders } from './check-holders.ts'
import { type EndingFacts, type History, knownBy, type RequestFacts, type SessionFacts, type WriteFacts } from './history.ts'
import { Losses } from './losses.ts'
import { checkOrder, type Reader } from './order.ts'
import type { Plan } from './plan.ts'
import { ALL_FIELDS } from './requests.ts'

export interface Violation {
  /** Number of the promise in the design. */
  readonly promise: number
  readonly what: string
}

export interface Check {
  readonly plan: Plan
  readonly history: History
  readonly losses: Losses
  report(promise: number, what: string): void
}

/** Codes that an application meets in normal operation. */
const CODES = ['SESSION_UNAVAILABLE', 'SESSION_GONE', 'SESSION_REPLACED', 'SESSION_REGRESSED', 'SESSIONS_CLOSED']
/** Waits of the table end within 2 s each. */
const CALM_MS = 3_000
/** What servers may see differently. */
const MEMBERSHIP = ['crash', 'partition', 'pause', 'leave']
const FAULTS = ['start', 'crash', 'pause', 'resume', 'partition', 'heal', 'hold', 'release', 'leave', 'left']

export function check(plan: Plan, history: History): Violation[] {
  const violations: Violation[] = []
  const report = (promise: number, what: string): void => void violations.push({ promise, what })
  const part: Check = { plan, history, losses: new Losses(plan, history), report }
  for (const problem of history.problems) report(0, problem)
  for (const request of history.requests) {
    checkAnswer(part, request)
    checkOpening(part, request)
  }
  for (const session of history.sessions.values()) {
    checkOrder(session, readersOf(part, session), (what) => report(2, `${session.name} ${what}`))
    checkFinals(part, session)
    checkUpdates(part, session)
    checkRepeats(part, session)
  }
  checkEndings(part)
  checkExpiry(part)
  checkHolders(part)
  return violations
}

export function isFinal({ what }: RequestFacts): boolean {
  return what.startsWith('final')
}

function readersOf(part: Check, session: SessionFacts): Reader[] {
  const readers: Reader[] = []
  for (const request of part.history.requests) {
    if (request.presented !== session || !request.found) continue
    const name = `r${request.id} at ${request.node}`
    const covers = (request.regressed ? 0n : request.past) | (isFinal(request) && isEverywhere(part) ? kept(part, session) : 0n)
    readers.push({ name, covers, reads: request.reads })
    const known = knownBy({ ...request, updated: [] })
    if (request.updated.length > 0) readers.push({ name: `the update of ${name}`, covers: known, reads: new Map(request.updated) })
  }
  for (const next of part.history.sessions.values()) if (next.from === session) readers.push(moverOf(part, session, next))
  for (const copy of finalCopies(part, session)) {
    const covers = isEverywhere(part) ? kept(part, session) : 0n
    readers.push({
      name: `the last look at ${copy.node}`,
      covers,
      reads: new Map(ALL_FIELDS.map((field) => [field, copy.fields?.[field]])),
    })
  }
  return readers
}

/** A login takes along what parallel requests had been told is stored. */
function moverOf(part: Check, session: SessionFacts, { creator, genesis }: SessionFacts): Reader {
  const { losses, plan } = part
  const isCalm = plan.drop === 0 && !losses.isAnyoneDown(creator.arrivedAt)
  let covers = creator.regressed ? 0n : creator.past | knownBy(creator)
  session.writes.forEach((write, bit) => {
    const { endedAt, outcome } = write.request
    if (!isCalm || outcome !== 'ok' || endedAt > creator.endedAt || losses.mayLose(write, creator.endedAt)) return
    if (!losses.wasTroubled(write.request.arrivedAt - CALM_MS, creator.endedAt, FAULTS)) covers |= 1n << BigInt(bit)
  })
  return {
    name: `r${creator.id}, which made a new id at ${creator.node},`,
    covers,
    reads: new Map(ALL_FIELDS.map((field) => [field, genesis.get(field)])),
  }
}

/** Every server holds every session, and none keeps a near copy of what others hold. */
function isEverywhere({ plan }: Check): boolean {
  return plan.strategy === 'replication' && plan.copies === 'all'
}

/** Acknowledged writes that must have survived until the end. */
function kept({ history, losses }: Check, session: SessionFacts): bigint {
  let set = 0n
  session.writes.forEach((write, bit) => {
    if (write.request.outcome === 'ok' && !losses.mayLose(write, history.now)) set |= 1n << BigInt(bit)
  })
  return set
}

function isOver(part: Check, session: SessionFacts): boolean {
  return mayBeEnded(part.history, session) || hasExpired(part, session, part.history.now)
}

function finalCopies(part: Check, session: SessionFacts): History['finals'] {
  return isOver(part, session) ? [] : part.history.finals.filter((copy) => copy.session === session && copy.fields !== undefined)
}

/** Somebody ended it, or tried to and cannot know. */
export function mayBeEnded(history: History, session: SessionFacts, by: number = Number.POSITIVE_INFINITY): boolean {
  const { creator, endings, userId } = session
  if (endings.some(({ startedAt }) => startedAt <= by)) return true
  return history.sweeps.some((sweep) => sweep.userId === userId && sweep.from <= by && creator.arrivedAt <= sweep.to)
}

function checkAnswer(part: Check, request: RequestFacts): void {
  const { losses, report } = part
  const { code, outcome, session } = request
  const name = `r${request.id} (${request.what}) at ${request.node}`
  if (outcome === 'pending') report(4, `${name} was never answered`)
  if (code === undefined) return
  if (!CODES.includes(code)) report(3, `${name} failed with ${code}`)
  if (code === 'SESSION_UNAVAILABLE') {
    if (isFinal(request)) report(8, `${name} is unavailable after everything healed`)
    else if (
      part.plan.drop === 0 &&
      !losses.isAnyoneDown(request.sentAt) &&
      !losses.wasTroubled(request.sentAt - CALM_MS, request.endedAt, FAULTS)
    )
      report(3, `${name} was unavailable, and nothing was wrong`)
  }
  const presented = request.presented ?? session
  if ((code === 'SESSION_GONE' || code === 'SESSION_REPLACED') && presented !== undefined) {
    if (!mayBeEnded(part.history, presented, request.endedAt) && !hasExpired(part, presented, request.endedAt))
      report(4, `${name} was refused with ${code}, and nobody ended ${presented.name}`)
  }
}

function checkOpening(part: Check, request: RequestFacts): void {
  const { history, losses, report } = part
  const { openedAt, presented } = request
  if (presented === undefined || (Number.isNaN(openedAt) && !request.regressed)) return
  const name = `r${request.id} at ${request.node}`
  const at = Number.isNaN(openedAt) ? request.endedAt : openedAt
  if (request.regressed) {
    const isGone = losses.mayLose({ request: presented.creator }, at)
    // Also writes under way, whose dots a jar may name although no handler has read them.
    const isPermitted = presented.writes.some((write) => write.request.arrivedAt <= at && losses.mayLose(write, at))
    const isCutOff = losses.wasTroubled(request.arrivedAt, at, ['partition'])
    if (!isPermitted && !isGone && !isCutOff && !mayBeEnded(history, presented, at) && !hasExpired(part, presented, at))
      report(1, `${name} was told that writes to ${presented.name} are lost, and no more servers died than acks bear`)
    if (!history.events.some((event) => event.type === 'regressed' && event.key === presented.key && event.node === request.node))
      report(3, `${name} regressed without an event`)
    return
  }
  if (request.found || mayBeEnded(history, presented, at)) return
  if (!hasExpired(part, presented, at, request))
    report(3, `${name} did not find ${presented.name} (${request.reason ?? request.opening}): a silent loss`)
}

/** Not so where all who knew of it died: a majority, or a server that was cut off and ended it on its own. */
function mustHold({ history, losses, plan }: Check, { confirmedAt, impaired, startedAt }: EndingFacts): boolean {
  if (confirmedAt === undefined || losses.majorityDied(startedAt, history.now)) return false
  return !(impaired && plan.whenCutOff === 'continue' && losses.deaths.some(({ at }) => at >= startedAt))
}

/** What every server says once all has healed and been quiet. */
function checkFinals(part: Check, session: SessionFacts): void {
  const { history, report } = part
  const copies = history.finals.filter((copy) => copy.session === session)
  if (copies.length === 0) return
  if (session.endings.some((ending) => mustHold(part, ending))) {
    for (const copy of copies) if (copy.fields !== undefined) report(5, `${session.name} is back at ${copy.node} after all healed`)
    return
  }
  if (isOver(part, session)) return
  const held = copies.filter((copy) => copy.fields !== undefined)
  const wasMade = session.creator.outcome === 'ok' && !part.losses.mayLose({ request: session.creator }, history.now)
  if (held.length < copies.length && wasMade) report(1, `${session.name} is not found at ${missing(copies)} after all healed`)
  if (!isEverywhere(part)) return checkBestCopy(part, session, held)
  const texts = new Set(held.map((copy) => copy.detail))
  if (texts.size > 1)
    report(8, `${session.name} differs after all healed: ${held.map(({ detail, node }) => `${node}: ${detail}`).join(' | ')}`)
}

/** Of those that hold a copy some may hold a near one only: but somebody has all that must be kept. */
function checkBestCopy(part: Check, session: SessionFacts, held: History['finals']): void {
  let first: string | undefined
  for (const copy of held) {
    const problems: string[] = []
    const reads = new Map(ALL_FIELDS.map((field) => [field, copy.fields?.[field]]))
    checkOrder(session, [{ name: `the last look at ${copy.node}`, covers: kept(part, session), reads }], (what) => problems.push(what))
    if (problems.length === 0) return
    first ??= problems[0]
  }
  if (first !== undefined) part.report(1, `no server has all of ${session.name}: ${first}`)
}

/** An update is applied once, however often it, or its question, travels. */
function checkRepeats({ history, report }: Check, session: SessionFacts): void {
  for (const { id, node, presented, reads } of history.requests) {
    const log = presented === session ? ((reads.get('log') ?? []) as string[]) : []
    const repeated = log.find((entry, at) => log.indexOf(entry) !== at)
    if (repeated !== undefined)
      return report(4, `${session.name}: r${id} at ${node} read the update of ${repeated} twice: ${log.join(' ')}`)
  }
}

function missing(copies: History['finals']): string {
  return copies
    .filter((copy) => copy.fields === undefined)
    .map(({ node }) => node)
    .join(' and ')
}

/** `session.update` is exact while servers agree on who lives and, in affinity, who owns the session; else somebody tells. */
function checkUpdates(part: Check, session: SessionFacts): void {
  const { history, losses, plan, report } = part
  if (isOver(part, session) || plan.drop > 0) return
  const isKept = (write: WriteFacts): boolean => write.request.outcome === 'ok' && !losses.mayLose(write, history.now)
  const appended = session.writes.filter((write) => write.changes.get('log')?.kind === 'append' && isKept(write))
  if (appended.length === 0) return
  // Near copies may lack the newest: somebody has them all.
  const logs = finalCopies(part, session).map((copy) => (copy.fields?.log ?? []) as string[])
  const lostIn = (log: readonly string[]): string[] => appended.map(({ request }) => `r${request.id}`).filter((id) => !log.includes(id))
  if (logs.length === 0 || logs.some((log) => lostIn(log).length === 0)) return
  const isTold = history.events.some(({ key, type }) => type === 'conflict' && key === session.key)
  const mustBeExact = plan.strategy === 'replication' && !losses.wasTroubled(0, history.now, MEMBERSHIP)
  const [log = []] = logs
  const lost = `${session.name} lost the updates of ${lostIn(log).join(' ')}: ${log.join(' ')} is left`
  if (mustBeExact) report(4, lost)
  else if (!isTold) report(4, `${lost}, and nobody told of a conflict`)
}
