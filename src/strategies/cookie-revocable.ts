/** Sealed sessions that end: `cookieBased` with something that remembers who has ended, and which guarded fields were written last. */
import type { Epoch } from '../core/epoch.ts'
import { endedError } from '../core/refusals.ts'
import { isTouch } from '../core/stored-record.ts'
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
import type { StrategyContext, Written } from '../seam.ts'
import type { SessionSummary, SessionsStatus } from '../types.ts'
import type { CookieOpened } from './cookie-opened.ts'
import { endOfSession, type RequiredNote, type Revocations, type Standing, type Subject } from './cookie-revocations.ts'

/** How long after a guarded write a request with the jar before it is taken for one that crossed its answer. */
const CROSSING_MS = 60_000

/** What one request holds. */
interface RevocableOpened extends CookieOpened {
  /** What this request has seen or written, once it has written: the journal does not hold that yet. */
  readonly covered?: { readonly names: ReadonlySet<string>; readonly horizon: number }
}

export interface RevocableOptions {
  readonly guarded: readonly string[]
  /** Longest absolute lifetime of a session: log-outs everywhere are remembered so long. */
  readonly longestMs: number
}

export class RevocableCookies implements RunningStrategy {
  readonly #inner: RunningStrategy
  readonly #revocations: Revocations
  readonly #context: StrategyContext
  readonly #guarded: ReadonlySet<string>
  readonly #longestMs: number

  constructor(inner: RunningStrategy, revocations: Revocations, context: StrategyContext, options: RevocableOptions) {
    this.#inner = inner
    this.#revocations = revocations
    this.#context = context
    this.#guarded = new Set(options.guarded)
    this.#longestMs = options.longestMs
  }

  open(jar: Jar): MaybePromise<Opening> {
    return this.#confirmed(() => then(this.#inner.open(jar), (opening) => this.#judged(jar, opening)))
  }

  #judged(jar: Jar, opening: Opening): MaybePromise<Opening> {
    const opened = 'opened' in opening ? (opening.opened as RevocableOpened | undefined) : undefined
    this.#revocations.met(opened?.state.epoch)
    const subject = { key: jar.key, absoluteAt: jar.absoluteAt, userId: opened?.record.meta.userId }
    return then(this.#revocations.look(subject), (standing) => {
      const ended = endOfSession(standing, opened?.state.epoch)
      if (ended !== undefined) return { outcome: 'gone', ...ended }
      if (opened === undefined) return opening
      const missing = standing.required.find((note) => !covers(opened, note))
      return missing === undefined ? opening : this.#regressed(subject, missing)
    })
  }

  /** An older state of a guarded field. Whoever sent it before the newer one arrived sends it again; nobody else has it any more. */
  #regressed({ key, userId }: Subject, { at }: RequiredNote): MaybePromise<Opening> {
    if (this.#context.runtime.now() - at > CROSSING_MS) return { outcome: 'regressed', policy: 'fail' }
    this.#context.emit('regressed', { key, ...(userId !== undefined && { userId }) })
    const message = 'The request carries an older state of a guarded field: send it again with the newest cookies.'
    return Promise.reject(new SessionError('SESSION_REGRESSED', message))
  }

  create(id: SessionId, draft: Draft): MaybePromise<Written> {
    return this.#confirmed(() => {
      const { userId } = draft.meta
      if (userId === undefined) return this.#create(id, draft, undefined)
      const standing = this.#revocations.look({ key: id.key, absoluteAt: id.absoluteAt, userId })
      return then(standing, (known) => this.#create(id, draft, this.#revocations.epoch(known)))
    })
  }

  #create(id: SessionId, draft: Draft, epoch: Epoch | undefined): MaybePromise<Written> {
    return this.#inner.create(id, this.#born(draft, epoch))
  }

  #born(draft: Draft, epoch: Epoch | undefined): Draft & { readonly epoch: Epoch | undefined } {
    if (draft.meta.absoluteAt - draft.meta.createdAt > this.#longestMs) {
      throw new SessionError(
        'CONFIG_INVALID',
        `The session may live longer than cookieBased({ longestMs: ${this.#longestMs} }), for which a log-out everywhere is remembered: ` +
          'raise longestMs on all servers, or shorten absoluteMs.',
      )
    }
    return { ...draft, epoch }
  }

  write(opened: Opened, change: Change): MaybePromise<Written> {
    const from = opened as RevocableOpened
    // Nobody waits for a touch, and its cookie goes with this answer or not at all. It revives nothing: the jar is refused as before.
    if (isTouch(change)) return then(this.#inner.write(from, change), (done) => (this.#guarded.size === 0 ? done : covering(from, done)))
    return this.#whileLive(from, () => {
      const written = this.#inner.write(from, change)
      if (this.#guarded.size === 0) return written
      return then(written, (done) => (this.#isGuarded(change) ? this.#require(from, done) : covering(from, done)))
    })
  }

  #isGuarded({ add, set }: Change): boolean {
    for (const field of this.#guarded) if (set.has(field) || add.has(field)) return true
    return false
  }

  /** The browser may hold an older jar from now on, but no server takes it. */
  #require(from: RevocableOpened, written: Written): MaybePromise<Written> {
    const { heads, state } = written.opened as CookieOpened
    const note: RequiredNote = { name: heads[0] as string, counter: state.highest, at: Math.round(this.#context.runtime.now()) }
    return then(
      this.#revocations.require(subjectOf(from), note, (other) => covers(from, other)),
      (isTaken) => {
        if (isTaken) return covering(from, written, note)
        throw new SessionError(
          'SESSION_REGRESSED',
          'A guarded field was written by another request of this session meanwhile: nothing was stored. Send the request again.',
        )
      },
    )
  }

  replace(opened: Opened, id: SessionId, draft: DraftOf): MaybePromise<Written> {
    const from = opened as RevocableOpened
    return this.#whileLive(from, (standing) => {
      const next = draft(from.record).meta.userId
      const known =
        next === from.record.meta.userId ? standing : this.#revocations.look({ key: id.key, absoluteAt: id.absoluteAt, userId: next })
      return then(known, (seen) => {
        const epoch = next === undefined ? undefined : this.#revocations.epoch(seen)
        const written = this.#inner.replace(from, id, (newest) => this.#born(draft(newest), epoch))
        return then(written, (done) => then(this.#revocations.end(from.id.key, 'replaced', from.id.absoluteAt), () => done))
      })
    })
  }

  destroy(opened: Opened): MaybePromise<JarDelta> {
    const from = opened as RevocableOpened
    return this.#whileLive(from, () =>
      then(this.#revocations.end(from.id.key, 'destroyed', from.id.absoluteAt), () => this.#inner.destroy(from)),
    )
  }

  settle(opened: Opened, decoded: boolean): JarDelta | undefined {
    return this.#inner.settle(opened, decoded)
  }

  update(opened: Opened, change: (record: RecordView) => Change): MaybePromise<Written> {
    return this.#inner.update(opened, change)
  }

  reload(opened: Opened): MaybePromise<Opening> {
    const from = opened as RevocableOpened
    return this.#confirmed(() =>
      then(this.#revocations.look(subjectOf(from)), (standing) => {
        const ended = endOfSession(standing, from.state.epoch)
        return ended === undefined ? this.#inner.reload(opened) : { outcome: 'gone', ...ended }
      }),
    )
  }

  get(key: string): MaybePromise<RecordView | undefined> {
    return this.#inner.get(key)
  }

  list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
    return this.#inner.list(filter)
  }

  revoke(key: string, filter: { userId?: string }): Promise<boolean> {
    return this.#revocations.revoke(key, filter)
  }

  /** How many there were, nobody knows: they lie in browsers. */
  async revokeUser(userId: string, filter: { except?: string }): Promise<number> {
    await this.#revocations.revokeUser(userId, filter)
    return 0
  }

  async status(): Promise<Omit<SessionsStatus, 'strategy' | 'node'>> {
    const inner = await this.#inner.status()
    const { details, notProtected, ...rest } = this.#revocations.status()
    return { ...inner, ...rest, notProtected: [...inner.notProtected, ...notProtected], details: { ...inner.details, ...details } }
  }

  async ready(): Promise<void> {
    await Promise.all([this.#inner.ready(), this.#revocations.ready()])
  }

  async drain(): Promise<void> {
    await Promise.all([this.#inner.drain(), this.#revocations.drain()])
  }

  async close(): Promise<void> {
    await Promise.all([this.#inner.close(), this.#revocations.close()])
  }

  // ---------------------------------------------------------------- within

  #confirmed<T>(run: () => MaybePromise<T>): MaybePromise<T> {
    const confirmed = this.#revocations.confirm()
    return confirmed === undefined ? run() : confirmed.then(run)
  }

  /** A slow request must not bring back what has ended meanwhile. */
  #whileLive<T>(from: RevocableOpened, run: (standing: Standing) => MaybePromise<T>): MaybePromise<T> {
    return this.#confirmed(() =>
      then(this.#revocations.look(subjectOf(from)), (standing) => {
        const ended = endOfSession(standing, from.state.epoch)
        if (ended !== undefined) throw endedError(ended.reason === 'replaced' ? 'SESSION_REPLACED' : 'SESSION_GONE')
        return run(standing)
      }),
    )
  }
}

function subjectOf({ id, record }: RevocableOpened): Subject {
  return { key: id.key, absoluteAt: id.absoluteAt, userId: record.meta.userId }
}

/** A note that is folded and forgotten has a counter that every base has left behind. */
function covers({ covered, journal }: RevocableOpened, { counter, name }: RequiredNote): boolean {
  if (covered !== undefined) return covered.horizon >= counter || covered.names.has(name)
  if (journal === undefined) return false
  const { bases, deltas, joined } = journal
  if (joined.horizon >= counter || joined.covered.has(name)) return true
  return deltas.some((note) => note.name === name) || bases.some((note) => note.name === name)
}

/** What the request had seen before it wrote, it has seen still. */
function covering({ covered, journal }: RevocableOpened, written: Written, note?: RequiredNote): Written {
  const names = new Set(covered?.names)
  for (const { name } of [...(journal?.bases ?? []), ...(journal?.deltas ?? [])]) names.add(name)
  for (const name of journal?.joined.covered.keys() ?? []) names.add(name)
  if (note !== undefined) names.add(note.name)
  const horizon = journal?.joined.horizon ?? covered?.horizon ?? 0
  return { ...written, opened: Object.assign(written.opened, { covered: { names, horizon } }) }
}

/** Goes on at once where nothing has to be waited for. */
function then<A, B>(value: MaybePromise<A>, run: (value: A) => MaybePromise<B>): MaybePromise<B> {
  return value instanceof Promise ? value.then(run) : run(value)
}
