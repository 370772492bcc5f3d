import { firstBase, type Journal, openJournal } from '../core/journal.ts'
import { newNoteName } from '../core/note.ts'
import { sealer } from '../core/seal.ts'
import { isSpilled, type SpilledValues } from '../core/spilled.ts'
import { expiresAt } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type {
  Change,
  Draft,
  DraftOf,
  Jar,
  JarDelta,
  MaybePromise,
  Opened,
  Opening,
  RecordView,
  RunningStrategy,
  SessionId,
} from '../seam.ts'
import type { SessionStore, StrategyContext, Written } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { tooLarge } from './cookie-budget.ts'
import { CookieCache, type OpenedJar } from './cookie-cache.ts'
import { type CommitLimits, CookieCommits } from './cookie-commits.ts'
import { CookieNotes, cookieNamesOf } from './cookie-notes.ts'
import type { CookieOpened } from './cookie-opened.ts'
import { Overflow, referencesOf } from './cookie-overflow.ts'
import { type CookieParts, PARTS } from './cookie-plans.ts'
import { CookieRecord } from './cookie-record.ts'
import { CookieSpills } from './cookie-spills.ts'

export interface CookieSettings {
  readonly maxHeaderBytes: number
  readonly compress?: boolean
  readonly overflow?: SessionStore
  /** Something remembers which sessions have ended. */
  readonly revocable?: boolean
}

const WITHOUT_REVOCATIONS = [
  'A stolen copy of the cookies stays usable after logout and login until it expires: there is no revocation table.',
  'Sessions cannot be revoked by key or by user.',
  'A request that is slower than a logout is answered as if it had stored its write.',
]

/** The root's value, with what stands around it in a `Cookie` header. */
const ROOT_BYTES = 55 + 3

export class CookieBased implements RunningStrategy {
  readonly #context: StrategyContext
  readonly #limits: CommitLimits
  readonly #notes: CookieNotes
  readonly #commits: CookieCommits
  readonly #overflow: Overflow | undefined
  readonly #spills: CookieSpills | undefined
  readonly #isRevocable: boolean
  readonly #cache = new CookieCache()

  constructor(context: StrategyContext, settings: CookieSettings, parts: CookieParts = PARTS) {
    const { maxHeaderBytes, compress = false, overflow, revocable = false } = settings
    this.#context = context
    this.#isRevocable = revocable
    // What a key that was taken away has sealed is not opened any more.
    context.keys.onChange?.(() => this.#cache.clear())
    this.#limits = { maxHeaderBytes, overflow: overflow !== undefined }
    this.#notes = new CookieNotes(sealer(context.keys, context.cookieName, context.runtime), context.cookieName, compress)
    this.#commits = new CookieCommits(context, this.#notes, this.#cache, this.#limits, parts)
    if (overflow === undefined) return
    this.#overflow = new Overflow(overflow, context)
    this.#spills = new CookieSpills(this.#overflow, this.#commits, maxHeaderBytes)
  }

  open(jar: Jar): MaybePromise<Opening> {
    const presented = this.#cache.findJar(jar) ?? this.#openJar(jar)
    const { journal, record, references } = presented
    if (journal === undefined || record === undefined) return { outcome: 'regressed', policy: 'serve' }
    if (this.#isExpired(record)) return { outcome: 'gone', reason: 'expired' }
    if (references.length === 0) return this.#found(jar, presented, journal, undefined)
    // Its store is not this server's.
    if (this.#overflow === undefined) return { outcome: 'regressed', policy: 'serve' }
    const spilled = this.#overflow.load(references)
    return spilled instanceof Promise
      ? spilled.then((values) => this.#found(jar, presented, journal, values))
      : this.#found(jar, presented, journal, spilled)
  }

  #found(jar: Jar, presented: OpenedJar, journal: Journal, spilled: SpilledValues | undefined): Opening {
    if (presented.references.length > 0 && spilled === undefined) return { outcome: 'regressed', policy: 'serve' }
    const opened = this.#opened(jar, presented, journal, spilled)
    return opened.stale.length > 0 ? { outcome: 'regressed', opened, policy: 'serve' } : { outcome: 'found', opened }
  }

  create(id: SessionId, draft: Draft): MaybePromise<Written> {
    refuseReferences(draft.fields.values())
    return this.#created(id, draft, undefined) ?? this.#spillDraft(id, draft) ?? this.#refuseDraft(draft)
  }

  #spillDraft(id: SessionId, draft: Draft): Promise<Written> | undefined {
    const spilling = this.#spills?.draft(id, draft)
    return spilling?.then((spilled) => this.#created(id, spilled.draft, spilled.values) ?? this.#refuseDraft(draft))
  }

  /** Undefined: it does not fit. */
  #created(id: SessionId, draft: Draft, spilled: SpilledValues | undefined): Written | undefined {
    const base = firstBase(newNoteName(this.#context.runtime), draft, Math.max(0, Math.round(this.#context.runtime.now())))
    const prepared = this.#notes.prepare(base)
    const headerBytes = ROOT_BYTES + this.#context.cookieName.length + (prepared?.bytes ?? 0)
    if (prepared === undefined || headerBytes > this.#limits.maxHeaderBytes) return undefined
    const { cookies, opened: sealed } = this.#notes.seal(id.id, prepared)
    this.#cache.add(id.id, [sealed])
    const opened: CookieOpened = {
      record: new CookieRecord(id.key, base, spilled),
      id,
      openedAt: this.#context.runtime.monotonic(),
      journal: undefined,
      state: base,
      heads: [base.name],
      spilled,
      sizes: new Map(cookies.map(({ name, value }) => [name, this.#notes.cookieBytes(name.length, value.length)])),
      headerBytes,
      waste: [],
      stale: [],
    }
    return { opened, jar: { set: cookies, delete: [] } }
  }

  write(opened: Opened, change: Change): MaybePromise<Written> {
    const from = opened as CookieOpened
    refuseReferences(change.set.values())
    const delta = this.#commits.delta(from, change)
    return this.#commits.commit(from, delta) ?? this.#spills?.write(from, delta) ?? this.#commits.refuse(from, delta)
  }

  replace(opened: Opened, id: SessionId, draft: DraftOf): MaybePromise<Written> {
    const moved = ({ opened: next, jar }: Written): Written => ({
      opened: next,
      jar: { set: jar.set, delete: this.#end(opened as CookieOpened) },
    })
    const written = this.create(id, draft(opened.record))
    return written instanceof Promise ? written.then(moved) : moved(written)
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

  status(): { notProtected: string[]; details: Record<string, number | string> } {
    const overflow = this.#overflow
    return {
      notProtected: [
        'A visitor who keeps an older set of cookies can return to that older state of the session.',
        ...(this.#isRevocable ? [] : WITHOUT_REVOCATIONS),
        ...(overflow?.notProtected ?? []),
      ],
      details: {
        maxHeaderBytes: this.#limits.maxHeaderBytes,
        cachedSessions: this.#cache.sessions,
        cachedBytes: this.#cache.bytes,
        ...(overflow !== undefined && { overflow: overflow.state }),
      },
    }
  }

  async ready(): Promise<void> {
    await this.#overflow?.ready()
  }

  async drain(): Promise<void> {}

  async close(): Promise<void> {
    this.#cache.clear()
    await this.#overflow?.close()
  }

  // ---------------------------------------------------------------- opening

  #openJar(jar: Jar): OpenedJar {
    const { notes, fresh, junk, broken } = this.#notes.open(jar.id, jar.notes, (note) => this.#cache.findNote(jar.id, note))
    const journal = openJournal(notes)
    const record = journal && new CookieRecord(jar.key, journal.state)
    const sizes = new Map(jar.notes.map(({ name, value }) => [name, this.#notes.cookieBytes(name.length, value.length)]))
    const lost = broken.filter((name) => journal?.joined.covered.has(name) !== true)
    const opened: OpenedJar = {
      notes: jar.notes,
      journal,
      record,
      sizes,
      junk: [...junk, ...broken.filter((name) => !lost.includes(name)).flatMap((name) => cookieNamesOf(name, sizes))],
      stale: [...(journal?.stale ?? []), ...lost].flatMap((name) => cookieNamesOf(name, sizes)),
      references: journal === undefined ? [] : referencesOf(journal.state.cells),
    }
    // Only what is sealed for this session takes room.
    if (notes.length > 0) this.#cache.add(jar.id, fresh, opened)
    return opened
  }

  #opened(jar: Jar, presented: OpenedJar, journal: Journal, spilled: SpilledValues | undefined): CookieOpened {
    return {
      record: spilled === undefined ? (presented.record as RecordView) : new CookieRecord(jar.key, journal.state, spilled),
      id: jar,
      openedAt: this.#context.runtime.monotonic(),
      journal,
      state: journal.state,
      heads: journal.heads,
      spilled,
      sizes: presented.sizes,
      headerBytes: jar.headerBytes,
      waste: [...journal.leftovers.flatMap((name) => cookieNamesOf(name, presented.sizes)), ...presented.junk],
      stale: presented.stale,
    }
  }

  #isExpired(record: RecordView): boolean {
    return this.#context.runtime.now() >= expiresAt(record.meta)
  }

  #end(opened: CookieOpened): string[] {
    this.#cache.forget(opened.id.id)
    return [...opened.sizes.keys()]
  }

  #refuseDraft({ fields }: Draft): never {
    const record = { fields: () => fields.keys(), get: (field: string) => fields.get(field) }
    throw tooLarge(record, fields.keys(), { ...this.#limits, otherBytes: 0 })
  }
}

/** A value that looks like a place in the store would be read from there. */
function refuseReferences(values: Iterable<string | undefined>): void {
  for (const value of values) {
    if (isSpilled(value)) throw new SessionError('FIELD_INVALID', 'a field encodes to what stands for a spilled value: use another codec')
  }
}

function unsupported(message: string): SessionError {
  return new SessionError('STRATEGY_UNSUPPORTED', message)
}

function cannotRevoke(): SessionError {
  return unsupported(
    'cookieBased revokes sessions only where something remembers it: give it `revocations`, a transport of the servers or a store.',
  )
}
