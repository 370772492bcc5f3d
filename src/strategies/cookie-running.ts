import {
  applyDeltas,
  type DeltaNote,
  firstBase,
  type JournalNote,
  type JournalState,
  newDelta,
  openJournal,
  type Journal,
} from '../core/journal.ts'
import { decodeNote, encodeNote } from '../core/journal-codec.ts'
import { newNoteName } from '../core/note.ts'
import { type Sealer, sealer } from '../core/seal.ts'
import { expiresAt } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { Change, Draft, Jar, JarDelta, Note, Opened, Opening, RecordView, RunningStrategy, SessionId } from '../seam.ts'
import type { StrategyContext, Written } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { COOKIE_BYTES, HEADER_CEILING, noteBytes, tooLarge } from './cookie-budget.ts'
import { CookieCache, type OpenedJar, type OpenedNote } from './cookie-cache.ts'
import type { CookieOpened } from './cookie-opened.ts'
import { type CookieParts, PARTS, type Plan, plansFor } from './cookie-plans.ts'
import { CookieRecord } from './cookie-record.ts'

const FOLD_AGE_MS = 60_000
/** Later, what the request had seen could be forgotten before its note arrives (names are kept 10 minutes). */
const WRITE_AGE_MS = 8 * 60_000

export class CookieBased implements RunningStrategy {
  readonly #context: StrategyContext
  readonly #maxHeaderBytes: number
  readonly #parts: CookieParts
  readonly #sealer: Sealer
  readonly #cache = new CookieCache()

  constructor(context: StrategyContext, options: { readonly maxHeaderBytes: number }, parts: CookieParts = PARTS) {
    this.#context = context
    this.#maxHeaderBytes = options.maxHeaderBytes
    this.#parts = parts
    this.#sealer = sealer(context.keys, context.cookieName, context.runtime)
  }

  open(jar: Jar): Opening {
    const presented = this.#cache.findJar(jar) ?? this.#openJar(jar)
    const { journal, record } = presented
    if (journal === undefined || record === undefined) return { outcome: 'regressed', policy: 'serve' }
    if (this.#isExpired(record)) return { outcome: 'gone', reason: 'expired' }
    const opened = this.#opened(jar, presented, journal, record)
    return journal.stale.length > 0 ? { outcome: 'regressed', opened, policy: 'serve' } : { outcome: 'found', opened }
  }

  create(id: SessionId, draft: Draft): Written {
    const base = firstBase(newNoteName(this.#context.runtime), draft, Math.max(0, Math.round(this.#context.runtime.now())))
    const note = this.#seal(id.id, base)
    const bytes = noteBytes(this.#context.cookieName, note)
    if (bytes > COOKIE_BYTES || bytes > this.#maxHeaderBytes) throw this.#tooLarge(base, draft.fields.keys(), 0)
    this.#cache.add(id.id, [{ value: note.value, note: base }])
    const opened: CookieOpened = {
      record: new CookieRecord(id.key, base),
      id,
      openedAt: this.#context.runtime.monotonic(),
      journal: undefined,
      state: base,
      heads: [base.name],
      sizes: new Map([[base.name, bytes]]),
      headerBytes: bytes,
      waste: [],
      stale: [],
    }
    return { opened, jar: { set: [note], delete: [] } }
  }

  write(opened: Opened, change: Change): Written {
    const from = opened as CookieOpened
    const age = this.#context.runtime.monotonic() - from.openedAt
    if (age > WRITE_AGE_MS) {
      throw new SessionError(
        'SESSION_UNAVAILABLE',
        'The request is older than 8 minutes: its changes can no longer be merged and were not stored. Call save() before long work.',
      )
    }
    const now = Math.max(0, Math.round(this.#context.runtime.now()))
    const delta = newDelta(from.state, this.#freshName(from), from.heads, { ...change, touchAt: Math.round(change.touchAt) }, now)
    for (const plan of plansFor(from, delta, age <= FOLD_AGE_MS, this.#parts)) {
      const written = this.#tryPlan(from, delta, plan)
      if (written !== undefined) return written
    }
    const ours = [...from.sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
    throw this.#tooLarge(
      applyDeltas(from.state, [delta]),
      [...change.set.keys(), ...change.add.keys()],
      Math.max(0, from.headerBytes - ours),
    )
  }

  replace(opened: Opened, id: SessionId, draft: Draft): Written {
    const written = this.create(id, draft)
    return { opened: written.opened, jar: { set: written.jar.set, delete: this.#end(opened as CookieOpened) } }
  }

  destroy(opened: Opened): JarDelta {
    return { set: [], delete: this.#end(opened as CookieOpened) }
  }

  /** A write that came too late is reported once: its note goes with this answer. */
  settle(opened: Opened): JarDelta | undefined {
    const { stale } = opened as CookieOpened
    return stale.length === 0 ? undefined : { set: [], delete: stale }
  }

  /** The request's jar and its own writes are all there is to see. */
  reload(opened: Opened): Opening {
    return this.#isExpired(opened.record) ? { outcome: 'gone', reason: 'expired' } : { outcome: 'found', opened }
  }

  update(): never {
    throw unsupported(
      'Atomic update() needs one place that decides, and this session lives in the browser: use session.add() for counters, ' +
        'separate fields for parallel writes, or the strategy dedicated, affinity or replication.',
    )
  }

  get(): RecordView | undefined {
    throw unsupported('Sessions that live in browsers cannot be looked up: use the strategy dedicated, affinity or replication.')
  }

  list(): AsyncIterable<SessionSummary> {
    throw unsupported('Sessions that live in browsers cannot be listed: use the strategy dedicated, affinity or replication.')
  }

  async revoke(): Promise<boolean> {
    throw cannotRevoke()
  }

  async revokeUser(): Promise<number> {
    throw cannotRevoke()
  }

  status(): { notProtected: string[]; details: Record<string, number> } {
    return {
      notProtected: [
        'A stolen copy of the cookies stays usable after logout and login until it expires: there is no revocation table.',
        'Sessions cannot be revoked by key or by user.',
        'A visitor who keeps an older set of cookies can return to that older state of the session.',
        'A request that is slower than a logout is answered as if it had stored its write.',
      ],
      details: { maxHeaderBytes: this.#maxHeaderBytes, cachedSessions: this.#cache.sessions, cachedBytes: this.#cache.bytes },
    }
  }

  async ready(): Promise<void> {}
  async drain(): Promise<void> {}
  async close(): Promise<void> {
    this.#cache.clear()
  }

  // ---------------------------------------------------------------- opening

  #openJar(jar: Jar): OpenedJar {
    const notes: JournalNote[] = []
    const fresh: OpenedNote[] = []
    const junk: string[] = []
    for (const presented of jar.notes) {
      const known = this.#cache.findNote(jar.id, presented)
      const note = known ?? this.#unseal(jar.id, presented)
      if (note === 'unknown') continue
      if (note === undefined) {
        junk.push(presented.name)
        continue
      }
      notes.push(note)
      if (known === undefined) fresh.push({ value: presented.value, note })
    }
    const journal = openJournal(notes)
    const record = journal && new CookieRecord(jar.key, journal.state)
    const sizes = new Map(jar.notes.map((note) => [note.name, noteBytes(this.#context.cookieName, note)]))
    const opened: OpenedJar = { notes: jar.notes, journal, record, sizes, junk }
    // Only what is sealed for this session takes room.
    if (notes.length > 0) this.#cache.add(jar.id, fresh, opened)
    return opened
  }

  #unseal(sessionId: string, { name, value }: Note): JournalNote | 'unknown' | undefined {
    const plain = this.#sealer.open(name, sessionId, value)
    return plain === undefined || plain === 'unknown' ? plain : (decodeNote(name, plain) ?? 'unknown')
  }

  #opened(jar: Jar, presented: OpenedJar, journal: Journal, record: RecordView): CookieOpened {
    return {
      record,
      id: jar,
      openedAt: this.#context.runtime.monotonic(),
      journal,
      state: journal.state,
      heads: journal.heads,
      sizes: presented.sizes,
      headerBytes: jar.headerBytes,
      waste: [...journal.leftovers, ...presented.junk],
      stale: journal.stale,
    }
  }

  #isExpired(record: RecordView): boolean {
    return this.#context.runtime.now() >= expiresAt(record.meta)
  }

  // ---------------------------------------------------------------- writing

  /** Undefined: it does not fit. */
  #tryPlan(from: CookieOpened, delta: DeltaNote, plan: Plan): Written | undefined {
    const sealed = plan.notes.map((note) => ({ note, sealed: this.#seal(from.id.id, note) }))
    const sizes = sealed.map((one) => noteBytes(this.#context.cookieName, one.sealed))
    if (sizes.some((bytes) => bytes > COOKIE_BYTES)) return undefined
    const removed = [...plan.folded, ...from.waste]
    const sizesAfter = new Map(from.sizes)
    let headerBytes = from.headerBytes
    for (const name of removed) {
      headerBytes -= sizesAfter.get(name) ?? 0
      sizesAfter.delete(name)
    }
    sealed.forEach(({ note }, index) => {
      headerBytes += sizes[index] as number
      sizesAfter.set(note.name, sizes[index] as number)
    })
    if (headerBytes > this.#maxHeaderBytes || from.headerBytes + plan.bases * (sizes[0] as number) > HEADER_CEILING) return undefined
    this.#cache.add(
      from.id.id,
      sealed.map((one) => ({ value: one.sealed.value, note: one.note })),
    )
    const state = applyDeltas(from.state, [delta])
    const last = plan.notes.at(-1) as JournalNote
    const opened: CookieOpened = {
      ...from,
      record: new CookieRecord(from.id.key, state),
      journal: undefined,
      state,
      heads: [last.name],
      sizes: sizesAfter,
      headerBytes,
      waste: [],
      stale: [],
    }
    return { opened, jar: { set: sealed.map((one) => one.sealed), delete: removed } }
  }

  #freshName(from: CookieOpened): string {
    const joined = from.journal?.joined.covered
    for (;;) {
      const name = newNoteName(this.#context.runtime)
      if (!from.sizes.has(name) && joined?.has(name) !== true) return name
    }
  }

  #seal(sessionId: string, note: JournalNote): Note {
    return { name: note.name, value: this.#sealer.seal(note.name, sessionId, encodeNote(note)) }
  }

  #end(opened: CookieOpened): string[] {
    this.#cache.forget(opened.id.id)
    return [...opened.sizes.keys()]
  }

  #tooLarge(state: JournalState, changed: Iterable<string>, otherBytes: number): SessionError {
    return tooLarge(state.cells, changed, { maxHeaderBytes: this.#maxHeaderBytes, otherBytes })
  }
}

function unsupported(message: string): SessionError {
  return new SessionError('STRATEGY_UNSUPPORTED', message)
}

function cannotRevoke(): SessionError {
  return unsupported(
    'cookieBased cannot revoke sessions yet: a shared table (revocations) comes with a later release. ' +
      'Until then use the strategy dedicated, affinity or replication.',
  )
}
