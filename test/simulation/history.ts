/** What happened in one run: every request with what it saw and was told, every ending, every fault. The checker reads it. */
import type { Opening } from '../../src/seam.ts'

export type FieldChange =
  | { readonly kind: 'set' | 'remove' | 'append' }
  /** Adds 4^digit: the sum of a counter tells which adds are in it, and how often. */
  | { readonly kind: 'add'; readonly digit: number }

/** A request's own writes to one session. Its index in `SessionFacts.writes` is its bit in sets of writes. */
export interface WriteFacts {
  readonly request: RequestFacts
  readonly changes: ReadonlyMap<string, FieldChange>
  /** What the writer knew: the writes its browser had seen and those its copy showed, and itself. */
  knows: bigint
}

export interface EndingFacts {
  readonly how: 'logout' | 'login' | 'regenerate' | 'revoke' | 'revokeUser'
  readonly node: string
  readonly startedAt: number
  /** The ending server saw no majority at some time. */
  impaired: boolean
  /** Undefined: not confirmed, the outcome is unknown. */
  confirmedAt: number | undefined
}

export interface SessionFacts {
  readonly key: string
  readonly name: string
  readonly userId: string | undefined
  readonly createdAt: number
  /** Its absolute end counts from between these times: a new id alone does not move it. */
  readonly bornAt: readonly [earliest: number, latest: number]
  /** Goes on with the fields of this one, under a new id. */
  readonly from: SessionFacts | undefined
  /** What it began with: after a login the fields that were kept. */
  readonly genesis: ReadonlyMap<string, unknown>
  readonly writes: WriteFacts[]
  readonly endings: EndingFacts[]
  readonly creator: RequestFacts
  /** Writes whose loss was reported to a visitor. */
  reportedLost: bigint
}

export type Outcome = 'pending' | 'ok' | 'refused' | 'error' | 'lost'

export interface RequestFacts {
  readonly id: number
  readonly visitor: string
  readonly node: string
  readonly what: string
  readonly sentAt: number
  /** The session its jar named, and what its browser had seen of it. */
  readonly presented: SessionFacts | undefined
  readonly past: bigint
  arrivedAt: number
  openedAt: number
  /** Before it asked the strategy to store: later endings may have crossed it. */
  committedAt: number
  /** The answer left the server, or the connection broke. */
  endedAt: number
  /** The browser took the answer. */
  takenAt: number
  opening: Opening['outcome'] | 'none'
  reason: string | undefined
  /** Served a session that existed. */
  found: boolean
  regressed: boolean
  /** What the handler read before it changed anything; undefined: absent. */
  readonly reads: Map<string, unknown>
  /** What `update` was shown: a newer copy than the request opened. */
  updated: readonly (readonly [string, unknown])[]
  outcome: Outcome
  code: string | undefined
  /** The session the answer is about: another after a login. */
  session: SessionFacts | undefined
  write: WriteFacts | undefined
  /** The server could not reach a majority of all servers while it opened, or committed. */
  impaired: boolean
}

export interface FaultFacts {
  readonly at: number
  readonly kind: string
  readonly node: string | undefined
  readonly detail: string
}

export interface DegradedSpan {
  readonly node: string
  readonly from: number
  to: number
}

/** What every server holds after all healed and a quiet time. */
export interface FinalCopy {
  readonly session: SessionFacts
  readonly node: string
  readonly fields: Readonly<Record<string, unknown>> | undefined
  readonly detail: string
}

export interface AckFacts {
  /** Servers whose acknowledgement came in on the wire, and when. */
  readonly by: Map<string, number>
}

export class History {
  readonly requests: RequestFacts[] = []
  readonly sessions = new Map<string, SessionFacts>()
  readonly faults: FaultFacts[] = []
  readonly degraded: DegradedSpan[] = []
  readonly finals: FinalCopy[] = []
  readonly events: { readonly at: number; readonly node: string; readonly type: string; readonly key: string | undefined }[] = []
  /** By the request that wrote: who acknowledged it, on the wire. */
  readonly acks = new Map<number, AckFacts>()
  readonly problems: string[] = []
  /** Revocations of all sessions of a user: any of them may be ended that was there while it ran. */
  readonly sweeps: { readonly userId: string; readonly from: number; to: number }[] = []
  readonly #trace: (() => string)[] = []
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  get now(): number {
    return this.#now()
  }

  /** One line of the trace, made only when it is printed. */
  note(line: () => string): void {
    const at = this.#now()
    this.#trace.push(() => `${at.toFixed(2).padStart(10)} ${line()}`)
  }

  trace(): string[] {
    return this.#trace.map((line) => line())
  }

  fault(kind: string, node: string | undefined, detail = ''): void {
    this.faults.push({ at: this.#now(), kind, node, detail })
    this.note(() => `FAULT ${kind} ${node ?? ''} ${detail}`)
  }

  begin(facts: Pick<RequestFacts, 'visitor' | 'node' | 'what' | 'presented' | 'past'>): RequestFacts {
    const request: RequestFacts = {
      ...facts,
      id: this.requests.length,
      sentAt: this.#now(),
      arrivedAt: Number.NaN,
      openedAt: Number.NaN,
      committedAt: Number.NaN,
      endedAt: Number.POSITIVE_INFINITY,
      takenAt: Number.POSITIVE_INFINITY,
      opening: 'none',
      reason: undefined,
      found: false,
      regressed: false,
      reads: new Map(),
      updated: [],
      outcome: 'pending',
      code: undefined,
      session: undefined,
      write: undefined,
      impaired: false,
    }
    this.requests.push(request)
    this.note(() => `r${request.id} sent ${request.visitor}→${request.node} ${request.what} ${request.presented?.name ?? 'no session'}`)
    return request
  }

  session(
    facts: Pick<SessionFacts, 'key' | 'userId' | 'genesis' | 'creator' | 'from'> & { bornAt: SessionFacts['bornAt'] | undefined },
  ): SessionFacts {
    const session: SessionFacts = {
      ...facts,
      bornAt: facts.bornAt ?? [facts.creator.arrivedAt, this.#now()],
      name: `S${this.sessions.size}`,
      createdAt: this.#now(),
      writes: [],
      endings: [],
      reportedLost: 0n,
    }
    this.sessions.set(session.key, session)
    return session
  }

  ending(session: SessionFacts, how: EndingFacts['how'], node: string, impaired: boolean): EndingFacts {
    const ending: EndingFacts = { how, node, impaired, startedAt: this.#now(), confirmedAt: undefined }
    session.endings.push(ending)
    return ending
  }
}

/** What a request knows of its session once it has read: its browser's past and all that its copy showed. */
export function knownBy(request: RequestFacts): bigint {
  const session = request.presented
  if (session === undefined || !request.found) return 0n
  let known = request.regressed ? 0n : request.past
  for (const [field, value] of [...request.reads, ...request.updated]) known |= seenIn(session, field, value)
  return known
}

/** The writes a value shows, with all that their writers knew. */
export function seenIn(session: SessionFacts, field: string, value: unknown): bigint {
  let seen = 0n
  for (const write of writesIn(session, field, value)) seen |= write.knows
  return seen
}

export function writesIn(session: SessionFacts, field: string, value: unknown): WriteFacts[] {
  if (typeof value === 'number') {
    return session.writes.filter((write) => {
      const change = write.changes.get(field)
      return change?.kind === 'add' && digitOf(value, change.digit) > 0
    })
  }
  const ids = Array.isArray(value) ? (value as unknown[]) : [value]
  return session.writes.filter((write) => write.changes.has(field) && ids.includes(`r${write.request.id}`))
}

/** How often the add of this digit is in the sum. */
export function digitOf(sum: number, digit: number): number {
  return Math.floor(sum / 4 ** digit) % 4
}

/** More digits than a double's 53 bits hold would be lost. */
export const MOST_DIGITS = 26

export function bitsOf(set: bigint): number[] {
  const bits: number[] = []
  for (let rest = set, bit = 0; rest > 0n; rest >>= 1n, bit++) if ((rest & 1n) === 1n) bits.push(bit)
  return bits
}
