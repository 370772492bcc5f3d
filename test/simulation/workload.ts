/** Visitors: browsers with a jar and several tabs, whose requests go anywhere and whose answers come in any order. */
import { keyOfId } from '../../src/core/keys.ts'
import { SessionError } from '../../src/errors.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import type { Random } from '../setup/virtual-runtime.ts'
import { knownBy, MOST_DIGITS, type RequestFacts, type SessionFacts } from './history.ts'
import { COUNTERS, describeOperation, Digits, FIELDS, handle, LOG, type Operation, type Step } from './requests.ts'
import type { Plan } from './plan.ts'
import type { SimServer } from './server.ts'
import type { World } from './world.ts'

export interface Visitor {
  readonly name: string
  jar: BrowserJar
  /** Of each session, the writes its browser has seen. */
  knows: Map<SessionFacts, bigint>
  /** Takes no answers: an old jar in the wrong hands. */
  readonly isGhost: boolean
  last: string | undefined
  tabs: number
  restsUntil: number
}

export interface Workload {
  readonly visitors: readonly Visitor[]
  /** Sends one request; resolves when its answer was taken. Requests that break off never do. */
  send(visitor: Visitor, node: string, operation: Operation): Promise<RequestFacts>
}

const MOST_TABS = 3
const USERS = ['ada', 'bob'] as const

export function sessionOf(jar: BrowserJar, world: World): SessionFacts | undefined {
  const root = /(?:^|; )session=([^;]*)/.exec(jar.header ?? '')?.[1]
  if (root === undefined) return undefined
  return world.history.sessions.get(keyOfId(Buffer.from(root, 'base64url').subarray(9, 25)))
}

export function startWorkload(world: World): Workload {
  const { history, plan, random } = world
  const digits = new Digits()
  const visitors = Array.from({ length: plan.visitors }, (_, at) => visitorNamed(`v${at + 1}`))

  function begin(visitor: Visitor, node: string, operation: Operation): RequestFacts {
    const presented = sessionOf(visitor.jar, world)
    const past = presented === undefined ? 0n : (visitor.knows.get(presented) ?? 0n) & ~presented.reportedLost
    return history.begin({ visitor: visitor.name, node, what: describeOperation(operation), presented, past })
  }

  async function send(visitor: Visitor, node: string, operation: Operation): Promise<RequestFacts> {
    const request = begin(visitor, node, operation)
    const view = visitor.jar.request()
    const before = visitor.isGhost ? undefined : ghostOf(visitor, `${visitor.name}'s old jar`)
    visitor.last = node
    visitor.tabs++
    await world.sleep(random.pick([0, 0.3, 1]))
    const server = world.server(node)
    if (server.state === 'paused') await new Promise<void>((arrive) => void server.backlog.push(arrive))
    const cookies =
      server.state === 'down' ? refused(request) : await connected(server, request, () => serve(server, request, view, operation, before))
    history.note(() => `r${request.id} ${request.outcome} ${request.code ?? ''} ${answerOf(request)}`)
    const isLostOnTheWay = !visitor.isGhost && random.chance(0.02)
    await world.sleep(random.chance(0.7) ? random.float() : random.float() * 60)
    visitor.tabs--
    if (!isLostOnTheWay && !visitor.isGhost) takeAnswer(visitor, request, cookies)
    return request
  }

  function refused(request: RequestFacts): readonly string[] {
    request.outcome = 'refused'
    request.endedAt = world.now
    return []
  }

  /** Until the answer is there, or the connection breaks. */
  function connected(server: SimServer, request: RequestFacts, run: () => Promise<readonly string[]>): Promise<readonly string[]> {
    const broken = new Promise<readonly string[]>((resolve) => void server.inFlight.set(request, () => resolve([])))
    return Promise.race([run(), broken])
  }

  /** As an adapter does: open, handler, commit or settle. */
  async function serve(
    server: SimServer,
    request: RequestFacts,
    view: ReturnType<BrowserJar['request']>,
    operation: Operation,
    before: Visitor | undefined,
  ): Promise<readonly string[]> {
    request.arrivedAt = world.now
    request.impaired = world.isImpaired(server.node)
    try {
      server.opening = request
      const opening = server.sessions.open(view)
      server.opening = undefined
      const open = await opening
      request.openedAt = world.now
      request.impaired ||= world.isImpaired(server.node)
      request.found = !open.session.isNew
      request.session = request.found ? request.presented : undefined
      if (request.regressed) reportLoss(request)
      const ended = (session: SessionFacts): void => haunt(before, session)
      await handle({ world, server, request, open, digits, mostDigits: MOST_DIGITS, ended }, operation)
      if (Number.isNaN(request.committedAt)) request.committedAt = world.now
      const { cookies } = open.needsCommit() ? await open.commit() : open.settle()
      open.headSent()
      open.end()
      return answered(server, request, () => cookies)
    } catch (error) {
      return answered(server, request, () => failed(request, error))
    }
  }

  /** Unless the connection broke before. */
  function answered(server: SimServer, request: RequestFacts, answer: () => readonly string[]): readonly string[] {
    if (!server.inFlight.delete(request)) return []
    request.impaired ||= world.isImpaired(server.node)
    request.endedAt = world.now
    request.outcome = 'ok'
    return answer()
  }

  function failed(request: RequestFacts, error: unknown): readonly string[] {
    request.outcome = 'error'
    request.code = SessionError.is(error) ? error.code : `not ours: ${String(error)}`
    if (request.regressed) reportLoss(request)
    const cookie = SessionError.is(error) ? error.headers?.['set-cookie'] : undefined
    return cookie === undefined ? [] : [cookie]
  }

  /** The visitor was told that something it had seen is lost; what its copy still shows is not. */
  function reportLoss(request: RequestFacts): void {
    if (request.presented !== undefined) request.presented.reportedLost |= request.past
  }

  function takeAnswer(visitor: Visitor, request: RequestFacts, cookies: readonly string[]): void {
    visitor.jar.take(cookies)
    request.takenAt = world.now
    const { presented, session } = request
    if (request.outcome === 'ok' && session !== undefined) {
      const own = request.write === undefined ? 0n : request.write.knows
      const seen = session === presented ? knownBy(request) : 0n
      visitor.knows.set(session, (visitor.knows.get(session) ?? 0n) | own | seen)
    }
    // Whoever is told that its session is over begins anew, sooner or later.
    const isUnknown = request.outcome === 'ok' && presented !== undefined && !request.found
    const over = request.code === 'SESSION_GONE' || request.code === 'SESSION_REPLACED' || isUnknown
    if (over && sessionOf(visitor.jar, world) === presented && random.chance(0.5)) visitor.jar.take(['session=; Max-Age=0'])
  }

  /** After the end of a session somebody still holds its jar. */
  function haunt(before: Visitor | undefined, session: SessionFacts): void {
    if (before === undefined) return
    for (let left = random.between(1, 3); left > 0; left--) {
      const write = random.chance(0.3)
      world.later(random.pick([0, 5, 60, random.between(0, 1_500)]), () => {
        const server = pickServer(before)
        if (server === undefined) return
        history.note(() => `an old jar of ${session.name} is presented`)
        void send(before, server.node, { reads: 'all', steps: write ? [{ kind: 'set', field: 'f0' }] : [], slowMs: 0 })
      })
    }
  }

  function pickServer(visitor: Visitor): SimServer | undefined {
    const serving = [...world.servers.values()].filter(
      ({ state }) => state === 'up' || state === 'paused' || (state === 'leaving' && random.chance(0.3)),
    )
    if (serving.length === 0) return undefined
    const last = serving.find(({ node }) => node === visitor.last)
    return last !== undefined && random.chance(plan.stickiness) ? last : random.pick(serving)
  }

  async function administer(): Promise<void> {
    const serving = world.serving().filter(({ state }) => state === 'up')
    if (serving.length === 0) return
    const server = random.pick(serving)
    const live = [...history.sessions.values()].filter(({ endings }) => endings.length === 0)
    if (random.chance(0.3)) return revokeUser(server, random.pick(USERS))
    if (live.length > 0) await revoke(server, random.pick(live))
  }

  async function revoke(server: SimServer, session: SessionFacts): Promise<void> {
    const ending = history.ending(session, 'revoke', server.node, world.isImpaired(server.node))
    history.note(() => `${server.node} revokes ${session.name}`)
    const done = await server.sessions.revoke(session.key).catch(() => undefined)
    ending.impaired ||= world.isImpaired(server.node)
    history.note(() => `${server.node} revoked ${session.name}: ${String(done)}`)
    if (done === true) confirm(session, ending)
    // It found no such session, and ended none.
    if (done === false) session.endings.splice(session.endings.indexOf(ending), 1)
  }

  async function revokeUser(server: SimServer, userId: string): Promise<void> {
    const theirs = [...history.sessions.values()].filter((session) => session.userId === userId)
    const endings = theirs.map((session) => ({
      session,
      isCertain: session.creator.outcome === 'ok',
      ending: history.ending(session, 'revokeUser', server.node, isAnyTroubled()),
    }))
    history.note(() => `${server.node} revokes all of ${userId}: ${theirs.map(({ name }) => name).join(' ')}`)
    const sweep = { userId, from: world.now, to: Number.POSITIVE_INFINITY }
    history.sweeps.push(sweep)
    const count = await server.sessions.revokeUser(userId).catch(() => undefined)
    sweep.to = world.now
    history.note(() => `${server.node} revoked ${String(count)} of ${userId}`)
    const impaired = isAnyTroubled()
    for (const { ending, isCertain, session } of endings) {
      ending.impaired ||= impaired
      // Whom it could not ask it cannot have reached.
      if (count !== undefined && isCertain && !ending.impaired) confirm(session, ending)
    }
  }

  const isAnyTroubled = (): boolean => plan.drop > 0 || plan.nodes.some((node) => world.isImpaired(node))

  function confirm(session: SessionFacts, ending: { confirmedAt: number | undefined }): void {
    ending.confirmedAt = world.now
    for (const visitor of visitors) {
      if (sessionOf(visitor.jar, world) === session) haunt(ghostOf(visitor, `${visitor.name}'s old jar`), session)
    }
  }

  /** One session in two browsers, each with a past of its own. */
  function share(from: Visitor, to: Visitor): void {
    if (from === to || to.tabs > 0) return
    history.note(() => `${to.name} gets the jar of ${from.name}`)
    to.jar = from.jar.copy()
    to.knows = new Map(from.knows)
  }

  function next(): void {
    if (world.now >= plan.activeMs) return
    world.later(-Math.log(1 - random.float()) * plan.gapMs, next)
    if (plan.turnover !== 'none' && random.chance(0.02)) return void administer()
    const visitor = random.pick(visitors)
    if (visitor.restsUntil > world.now || visitor.tabs >= MOST_TABS) return
    const server = pickServer(visitor)
    if (server === undefined) return
    if (random.chance(plan.sharing)) share(visitor, random.pick(visitors))
    if (plan.rests && random.chance(0.03)) visitor.restsUntil = world.now + random.between(1_000, 4_000)
    void send(visitor, server.node, drawOperation(random, plan))
  }

  world.later(0, next)
  return { visitors, send }
}

function answerOf({ opening, reads, session }: RequestFacts): string {
  const shown = [...reads].filter(([, value]) => value !== undefined).map(([field, value]) => `${field}=${String(value)}`)
  return `${opening} ${session?.name ?? 'no session'} ${shown.join(' ')}`
}

function visitorNamed(name: string): Visitor {
  return { name, jar: new BrowserJar(), knows: new Map(), isGhost: false, last: undefined, tabs: 0, restsUntil: 0 }
}

export function ghostOf(visitor: Visitor, name: string): Visitor {
  return { name, jar: visitor.jar.copy(), knows: new Map(visitor.knows), isGhost: true, last: undefined, tabs: 0, restsUntil: 0 }
}

function drawOperation(random: Random, { rests, turnover }: Plan): Operation {
  const slowMs = random.chance(0.3) ? random.between(1, rests ? 100 : 500) : 0
  const reads = random.pick(['all', 'all', 'none', [random.pick(FIELDS)], [random.pick(COUNTERS)], [LOG]] as const)
  const isMove = turnover === 'much' && random.chance(0.3)
  return { reads, slowMs: isMove ? 0 : slowMs, steps: isMove ? drawMove(random) : drawSteps(random, turnover) }
}

function drawMove(random: Random): readonly Step[] {
  return [random.pick<Step>([{ kind: 'login', userId: random.pick(USERS) }, { kind: 'regenerate' }, { kind: 'logout' }])]
}

function drawSteps(random: Random, turnover: Plan['turnover']): readonly Step[] {
  const field = random.pick(FIELDS)
  const dice = random.between(1, turnover === 'none' ? 91 : 100)
  if (dice <= 32) return []
  if (dice <= 52) return [{ kind: 'set', field }]
  if (dice <= 58) return FIELDS.slice(0, 2).map((name) => ({ kind: 'set', field: name }))
  if (dice <= 72) return [{ kind: 'add', field: random.pick(COUNTERS) }]
  if (dice <= 77) return [{ kind: 'remove', field }]
  if (dice <= 82) return [{ kind: 'take', field }]
  if (dice <= 89) return [{ kind: 'append' }]
  if (dice <= 91) return [{ kind: 'touch' }]
  if (dice <= 94) return [{ kind: 'login', userId: random.pick(USERS) }]
  if (dice <= 96)
    return [
      { kind: 'login', userId: random.pick(USERS) },
      { kind: 'set', field },
    ]
  if (dice <= 98) return [{ kind: 'regenerate' }]
  return [{ kind: 'logout' }]
}
