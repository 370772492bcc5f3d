/** What a handler does with the session, and what the history keeps of it. */
import type { OpenSession, Session } from '../../src/types.ts'
import { type FieldChange, knownBy, type RequestFacts, seenIn, type SessionFacts, type WriteFacts } from './history.ts'
import type { Data, SimServer } from './server.ts'
import type { World } from './world.ts'

export const FIELDS = ['f0', 'f1', 'f2', 'f3'] as const
export const COUNTERS = ['c0', 'c1'] as const
export const LOG = 'log'
export const ALL_FIELDS: readonly string[] = [...FIELDS, ...COUNTERS, LOG]

export type Step =
  | { readonly kind: 'set' | 'remove' | 'take' | 'add'; readonly field: string }
  | { readonly kind: 'append' }
  | { readonly kind: 'login'; readonly userId: string }
  | { readonly kind: 'regenerate' | 'logout' | 'touch' }

export interface Operation {
  /** Read before anything is changed. */
  readonly reads: 'all' | 'none' | readonly string[]
  readonly steps: readonly Step[]
  /** Between reading and changing. */
  readonly slowMs: number
  /** The last look, after all has healed. */
  readonly isFinal?: boolean
}

export function describeOperation({ isFinal, reads, slowMs, steps }: Operation): string {
  const what = steps.map((step) => ('field' in step ? `${step.kind} ${step.field}` : step.kind))
  return `${isFinal === true ? 'final ' : ''}${[`read ${typeof reads === 'string' ? reads : reads.join(',')}`, ...what].join(', ')}${slowMs > 0 ? ` after ${slowMs} ms` : ''}`
}

/** Sums of a lineage of sessions must not use a digit twice. */
export class Digits {
  readonly #used = new Map<SessionFacts, Map<string, number>>()

  next(session: SessionFacts, field: string, most: number): number | undefined {
    const used = this.#used.get(session) ?? new Map<string, number>()
    this.#used.set(session, used)
    const digit = used.get(field) ?? 0
    if (digit >= most) return undefined
    used.set(field, digit + 1)
    return digit
  }

  inherit(from: SessionFacts, to: SessionFacts): void {
    const used = this.#used.get(from) ?? new Map<string, number>()
    this.#used.set(from, used)
    this.#used.set(to, used)
  }
}

export interface Handling {
  readonly world: World
  readonly server: SimServer
  readonly request: RequestFacts
  readonly open: OpenSession<Data>
  readonly digits: Digits
  readonly mostDigits: number
  ended(session: SessionFacts): void
}

/** Runs the operation; leaves what is not stored yet to the commit. */
export async function handle(handling: Handling, operation: Operation): Promise<void> {
  const { open, request, server } = handling
  const { session } = open
  read(request, session, operation.steps.some(isMove) ? 'all' : operation.reads)
  if (operation.slowMs > 0) await new Promise<void>((resolve) => void server.runtime.setTimer(operation.slowMs, resolve))
  const changes = new Map<string, FieldChange>()
  for (const step of operation.steps) await take(handling, step, changes)
  if (changes.size > 0) register(handling, changes)
}

function isMove({ kind }: Step): boolean {
  return kind === 'login' || kind === 'regenerate'
}

function read(request: RequestFacts, session: Session<Data>, reads: Operation['reads']): void {
  if (reads === 'none') return
  if (reads === 'all') {
    const data: Data = { ...session.data }
    for (const field of ALL_FIELDS) request.reads.set(field, copied(data[field]))
  } else for (const field of reads) request.reads.set(field, copied(session.data[field]))
}

const copied = (value: unknown): unknown => (Array.isArray(value) ? [...(value as unknown[])] : value)

async function take(handling: Handling, step: Step, changes: Map<string, FieldChange>): Promise<void> {
  const { open, request } = handling
  const { session } = open
  switch (step.kind) {
    case 'set':
      session.data[step.field] = `r${request.id}`
      changes.set(step.field, { kind: 'set' })
      return
    case 'remove':
      // Removing what is not there changes nothing.
      if (!(step.field in session.data)) return
      delete session.data[step.field]
      changes.set(step.field, { kind: 'remove' })
      return
    case 'take':
      if (!request.reads.has(step.field)) request.reads.set(step.field, session.data[step.field])
      if (session.take(step.field) !== undefined) changes.set(step.field, { kind: 'remove' })
      return
    case 'add':
      return add(handling, step.field, changes)
    case 'append':
      return append(handling)
    case 'touch':
      // A session that does not exist yet begins with it.
      if (request.session === undefined) register(handling, changes)
      return session.touch()
    case 'login':
      return move(handling, 'login', () => session.login(step.userId), step.userId)
    case 'regenerate':
      return move(handling, 'regenerate', () => session.regenerate(), session.userId)
    case 'logout':
      return logout(handling)
  }
}

function add({ digits, mostDigits, open, request }: Handling, field: string, changes: Map<string, FieldChange>): void {
  const { session } = open
  // A session that does not exist yet begins with the first digit.
  const digit = request.session === undefined ? 0 : digits.next(request.session, field, mostDigits)
  if (digit === undefined) return
  session.add(field, 4 ** digit)
  changes.set(field, { kind: 'add', digit })
}

/** Registers the request's write: from here on others may see it. */
function register(handling: Handling, changes: ReadonlyMap<string, FieldChange>): WriteFacts {
  const { digits, open, request, world } = handling
  let { session } = request
  if (session === undefined) {
    session = world.history.session({
      key: open.session.key,
      userId: undefined,
      genesis: new Map(),
      creator: request,
      bornAt: undefined,
      from: undefined,
    })
    request.session = session
    for (const [field, change] of changes) if (change.kind === 'add') digits.next(session, field, handling.mostDigits)
  }
  const bit = 1n << BigInt(session.writes.length)
  const known = session === request.presented ? knownBy(request) : 0n
  const write: WriteFacts = { request, changes, knows: known | bit }
  session.writes.push(write)
  request.write = write
  request.committedAt = world.now
  return write
}

async function append(handling: Handling): Promise<void> {
  const { open, request } = handling
  const id = `r${request.id}`
  const write = register(handling, new Map([[LOG, { kind: 'append' }]]))
  const own = write.knows
  await open.session.update((data) => {
    const before = (data[LOG] ?? []) as string[]
    if (request.session !== undefined) write.knows = own | seenIn(request.session, LOG, before)
    if (request.found) request.updated = before.length === 0 ? [] : [[LOG, [...before]]]
    data[LOG] = [...before, id]
  })
}

async function move(handling: Handling, how: 'login' | 'regenerate', run: () => Promise<void>, userId: string | undefined): Promise<void> {
  const { digits, open, request, server, world } = handling
  const before = request.found ? request.session : undefined
  const ending = before === undefined ? undefined : world.history.ending(before, how, server.node, world.isImpaired(server.node))
  await run()
  const keeps = how === 'regenerate' || before?.userId === undefined || before.userId === userId
  const data: Data = { ...open.session.data }
  const genesis = new Map(ALL_FIELDS.filter((field) => field in data).map((field) => [field, copied(data[field])]))
  const bornAt = how === 'regenerate' ? before?.bornAt : undefined
  const session = world.history.session({
    key: open.session.key,
    userId,
    genesis,
    creator: request,
    bornAt,
    from: keeps ? before : undefined,
  })
  if (before !== undefined && keeps) digits.inherit(before, session)
  request.session = session
  if (ending === undefined || before === undefined) return
  ending.confirmedAt = world.now
  ending.impaired ||= world.isImpaired(server.node)
  handling.ended(before)
}

async function logout(handling: Handling): Promise<void> {
  const { open, request, server, world } = handling
  const before = request.found ? request.session : undefined
  const ending = before === undefined ? undefined : world.history.ending(before, 'logout', server.node, world.isImpaired(server.node))
  await open.session.logout()
  request.session = undefined
  if (ending === undefined || before === undefined) return
  ending.confirmedAt = world.now
  ending.impaired ||= world.isImpaired(server.node)
  handling.ended(before)
}
