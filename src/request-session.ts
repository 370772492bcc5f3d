/** One request's session between open and commit. `session.ts` is the face of it that handlers see. */
import { type FieldChange, Fields } from './core/fields.ts'
import type { PresentedJar } from './core/jar.ts'
import { KeptFields } from './core/kept-fields.ts'
import { endOf } from './core/lifetime.ts'
import { checkSize, checkUserId, endedError, type Frozen, frozenError, isEnded } from './core/refusals.ts'
import { Turns } from './core/turns.ts'
import type { Engine } from './engine.ts'
import { SessionError } from './errors.ts'
import { lifetimeOf } from './options.ts'
import { RequestJar } from './request-jar.ts'
import { RequestLifetime } from './request-lifetime.ts'
import { RequestSignal } from './request-signal.ts'
import type { Change, Draft, MaybePromise, Opened, RecordMeta, RecordView, Written } from './seam.ts'
import { createSession } from './session.ts'
import type { CommitResult, KeepOptions, Lifetime, LoginOptions, OpenSession, Session } from './types.ts'

const NO_CHANGE: FieldChange = { set: new Map(), add: new Map() }

export class RequestSession<D> implements OpenSession<D> {
  readonly session: Session<D>
  readonly engine: Engine
  readonly isNew: boolean
  readonly fields: Fields
  /** The handler has looked at the session: the answer varies by cookie. */
  seen = false
  #opened: Opened | undefined
  /** Why this request must neither store anything nor set a cookie. */
  #frozen: Frozen | undefined
  readonly #jar: RequestJar
  #newMeta: RecordMeta | undefined
  readonly #lifetime: RequestLifetime
  #touchWanted = false
  /** What `needsCommit` has just found: a commit right after it need not encode everything again. */
  #found: FieldChange | undefined
  #headIsOut = false
  #accessesAtCommit: number | undefined
  #accessesAtHead = 0
  /** One operation of a request at a time; the commit waits for all of them. */
  readonly #turns = new Turns()
  readonly #signal: RequestSignal

  constructor(engine: Engine, presented: PresentedJar, opened: Opened | undefined, frozen: Frozen | undefined) {
    this.engine = engine
    this.#lifetime = new RequestLifetime(engine)
    this.#jar = new RequestJar(engine, presented)
    this.#signal = new RequestSignal(engine)
    this.#opened = opened
    this.#frozen = frozen
    this.isNew = opened === undefined
    this.fields = new Fields(opened?.record, engine.rules)
    this.session = createSession<D>(this)
  }

  // ------------------------------------------------------------------ what the handler reads

  get key(): string {
    return this.#opened?.record.key ?? this.#jar.idFor(this.meta.absoluteAt).key
  }

  get meta(): RecordMeta {
    return this.#opened?.record.meta ?? (this.#newMeta ??= this.#lifetime.fresh(undefined))
  }

  get expiresAt(): number {
    return endOf(this.meta)
  }

  get signal(): AbortSignal {
    return this.#signal.of(this.key, () => this.#expiryNow())
  }

  async #expiryNow(): Promise<number | undefined> {
    const opened = this.#opened
    if (opened === undefined) return this.expiresAt
    const opening = await this.engine.strategy.reload(opened)
    const meta = opening.outcome === 'found' ? opening.opened.record.meta : opening.outcome === 'regressed' ? opened.record.meta : undefined
    if (meta === undefined) return undefined
    const until = endOf(meta)
    return until > this.engine.runtime.now() ? until : undefined
  }

  // ------------------------------------------------------------------ what the handler does

  login(userId: string, options: LoginOptions<D>): Promise<void> {
    checkUserId(userId)
    const lifetime = options.lifetime === undefined ? undefined : lifetimeOf(options.lifetime, this.engine.settings.lifetime)
    return this.#turns.run(() => {
      const sameOrNone = this.meta.userId === undefined || this.meta.userId === userId
      const meta = this.#lifetime.fresh(userId, lifetime, options.persistent ?? this.meta.persistent)
      return this.#moveTo(meta.absoluteAt, () => meta, options.keep ?? sameOrNone)
    })
  }

  regenerate(options: KeepOptions<D>): Promise<void> {
    return this.#turns.run(() => {
      const metaOf = (newest: RecordMeta): RecordMeta => ({ ...newest, lastActiveAt: this.engine.runtime.now() })
      return this.#moveTo(this.meta.absoluteAt, metaOf, options.keep ?? true)
    })
  }

  logout(): Promise<void> {
    return this.#turns.run(async () => {
      const opened = this.#opened
      // The session goes on under an id that this request does not know: to end it, the request has to be sent again.
      if (this.#frozen === 'STORE_UNAVAILABLE' || this.#frozen === 'SESSION_REPLACED') throw frozenError(this.#frozen)
      if (opened !== undefined) await this.#destroy(opened)
      this.#jar.end()
      this.#startAfresh()
    })
  }

  async #destroy(opened: Opened): Promise<void> {
    try {
      const delta = await this.engine.strategy.destroy(opened)
      this.#jar.changes().add(delta)
    } catch (error) {
      // Ended by somebody else meanwhile: that is what was asked for.
      if (!isEnded(error) || (SessionError.is(error) && error.code === 'SESSION_REPLACED')) throw error
    }
    this.engine.signals.abort(opened.record.key)
    this.engine.emit('destroyed', eventOf(opened.record))
  }

  #startAfresh(): void {
    this.#opened = undefined
    this.#frozen = undefined
    this.#newMeta = undefined
    this.#lifetime.forget()
    this.fields.reset(undefined)
  }

  async update<R>(change: (data: Fields) => R): Promise<R> {
    let result: R | undefined
    await this.#turns.run(() => {
      const opened = this.#opened
      if (opened === undefined) {
        result = change(this.fields)
        return this.#store(true)
      }
      const apply = (record: RecordView): Change => {
        const fields = new Fields(record, this.engine.rules)
        result = change(fields)
        const changes = fields.changes()
        this.#checkChange(record, changes, fields)
        return { ...changes, touchAt: this.engine.runtime.now() }
      }
      return then(this.engine.strategy.update(opened, apply), (written) => this.#stored(written, NO_CHANGE))
    })
    return result as R
  }

  setLifetime(lifetime: Lifetime, persistent: boolean | undefined): void {
    const meta = this.#lifetime.set(lifetime, persistent, this.meta)
    if (this.#opened === undefined) this.#newMeta = meta
  }

  touch(): void {
    this.#touchWanted = true
  }

  save(): Promise<void> {
    return this.#turns.run(() => this.#store(true))
  }

  reload(): Promise<void> {
    return this.#turns.run(async () => {
      const opened = this.#opened
      if (opened === undefined) return this.fields.reset(undefined)
      const opening = await this.engine.strategy.reload(opened)
      if (opening.outcome !== 'found')
        throw endedError(opening.outcome === 'gone' && opening.reason === 'replaced' ? 'SESSION_REPLACED' : 'SESSION_GONE')
      this.#opened = opening.opened
      this.fields.reset(opening.opened.record)
    })
  }

  // ------------------------------------------------------------------ what the adapter does

  needsCommit(): boolean {
    return this.#turns.busy || this.#touchWanted || this.#storedLifetimeChanged || this.#fieldsChanged()
  }

  #fieldsChanged(): boolean {
    try {
      const found = this.fields.changes()
      if (found.set.size === 0 && found.add.size === 0) return false
      this.#found = found
      queueMicrotask(() => (this.#found = undefined))
      return true
    } catch {
      // The commit meets the same error, and can answer with it.
      return true
    }
  }

  /** A session that is not stored yet begins with the new lifetime by itself. */
  get #storedLifetimeChanged(): boolean {
    return this.#lifetime.isChanged && this.#opened !== undefined
  }

  settle(): CommitResult {
    const opened = this.#opened
    if (opened !== undefined) {
      this.#touchIfDue(opened)
      const delta = this.engine.strategy.settle(opened, this.fields.decoded)
      if (delta !== undefined) this.#jar.changes().add(delta)
    }
    return this.#result()
  }

  /** Not waited for: a read must not pay for it, and the next request tries again. */
  #touchIfDue(opened: Opened): void {
    const now = this.engine.runtime.now()
    const { lastActiveAt, touchEveryMs } = opened.record.meta
    if (now - lastActiveAt < touchEveryMs || now === lastActiveAt) return
    try {
      const written = this.engine.strategy.write(opened, { ...NO_CHANGE, touchAt: now })
      if (written instanceof Promise) written.catch((error: unknown) => this.engine.touchFailed(error))
      else this.#stored(written, NO_CHANGE)
    } catch (error) {
      this.engine.touchFailed(error)
    }
  }

  async commit(): Promise<CommitResult> {
    const found = this.#turns.busy ? undefined : this.#found
    this.#found = undefined
    if (this.#turns.busy) await this.#turns.ended()
    const stored = this.#store(this.#touchWanted, found ?? this.fields.changes())
    // A save meanwhile goes on from what this one stores.
    if (stored instanceof Promise) this.#turns.follow(stored)
    // What the handler does from here on is in no commit, even while the head still waits for this one.
    this.#accessesAtCommit = this.fields.accesses
    await stored
    return this.#result()
  }

  headSent(): void {
    this.#headIsOut = true
    this.#accessesAtHead = this.#accessesAtCommit ?? this.fields.accesses
  }

  end(): void {
    this.#signal.close()
    if (!this.#headIsOut || this.fields.accesses === this.#accessesAtHead || !this.#fieldsChanged()) return
    this.engine.emit('lateWrite', {
      ...(this.#opened !== undefined && eventOf(this.#opened.record)),
      detail: 'The session was changed after the answer had left and was not saved: call session.save().',
    })
  }

  // ------------------------------------------------------------------ storing

  #store(evenIfUnchanged: boolean, changes: FieldChange = this.fields.changes()): MaybePromise<void> {
    const opened = this.#opened
    if (!evenIfUnchanged && changes.set.size === 0 && changes.add.size === 0 && !this.#storedLifetimeChanged) return
    if (this.#frozen !== undefined) throw frozenError(this.#frozen)
    this.#touchWanted = false
    this.#checkChange(opened?.record, changes, this.fields)
    if (opened === undefined) return this.#create(changes)
    const lifetime = this.#lifetime.changeOf(opened.record.meta)
    if (lifetime === 'new root') {
      const { absoluteAt } = this.#lifetime.applied(this.meta)
      return this.#moveTo(absoluteAt, (newest) => this.#lifetime.applied(newest), true)
    }
    const change: Change = { ...changes, touchAt: this.engine.runtime.now(), ...(lifetime !== undefined && { lifetime }) }
    return then(this.engine.strategy.write(opened, change), (written) => this.#stored(written, changes))
  }

  #stored(written: Written, changes: FieldChange): void {
    this.#jar.changes().add(written.jar)
    this.#opened = written.opened
    this.#lifetime.forget()
    this.fields.rebase(written.opened.record, changes)
  }

  #create(changes: FieldChange): MaybePromise<void> {
    this.#refuseAfterHead()
    const id = this.#jar.idFor(this.meta.absoluteAt)
    const draft: Draft = { meta: this.meta, fields: this.fields.encodeAll(() => true) }
    return then(this.engine.strategy.create(id, draft), (written) => {
      this.#jar.changes().setRoot(id)
      this.#stored(written, changes)
      this.#created(written.opened.record)
      return this.#keepRemovals([...changes.set].filter(([, value]) => value === undefined).map(([name]) => name))
    })
  }

  /** A default that was removed before the session was stored stays removed. */
  #keepRemovals(removed: readonly string[]): MaybePromise<void> {
    if (removed.length === 0 || this.#opened === undefined) return
    const change: Change = {
      set: new Map(removed.map((name) => [name, undefined])),
      add: NO_CHANGE.add,
      touchAt: this.engine.runtime.now(),
    }
    return then(this.engine.strategy.write(this.#opened, change), (written) => this.#stored(written, change))
  }

  /** A new id for this visitor: at login, at regenerate, and where a lifetime needs another root. */
  #moveTo(absoluteAt: number, metaOf: (newest: RecordMeta) => RecordMeta, keep: boolean | readonly (keyof D)[]): MaybePromise<void> {
    this.#refuseAfterHead()
    if (this.#frozen === 'SESSION_REPLACED' || this.#frozen === 'STORE_UNAVAILABLE') throw frozenError(this.#frozen)
    const id = this.engine.roots.make(absoluteAt)
    const kept = new KeptFields(this.fields, keep as boolean | readonly PropertyKey[])
    const draft = (newest: RecordView | undefined): Draft => {
      const meta = metaOf(newest?.meta ?? this.meta)
      const fields = kept.encoded(newest)
      checkSize(undefined, fields, this.engine.settings.limits.sessionBytes, () => fields)
      // The root is made already: a session never outlives it.
      return { meta: { ...meta, absoluteAt: Math.min(meta.absoluteAt, absoluteAt) }, fields }
    }
    const before = this.#opened
    const written =
      before === undefined ? this.engine.strategy.create(id, draft(undefined)) : this.engine.strategy.replace(before, id, draft)
    return then(written, (done) => {
      this.#jar.changes().setRoot(id)
      this.#jar.changes().add(done.jar)
      this.#opened = done.opened
      this.#frozen = undefined
      this.#lifetime.forget()
      kept.goOnFrom(done.opened.record)
      if (before === undefined) this.#created(done.opened.record)
      else {
        this.#signal.leave(before.record.key)
        this.engine.emit('replaced', eventOf(before.record))
        this.engine.emit('regenerated', eventOf(done.opened.record))
      }
      return this.#keepRemovals(kept.removedDefaults)
    })
  }

  #created(record: RecordView): void {
    if (this.#jar.carrier === 'cookie') this.engine.returning.made()
    this.engine.emit('created', eventOf(record))
  }

  #checkChange(record: RecordView | undefined, changes: FieldChange, fields: Fields): void {
    if (changes.set.size === 0 && changes.add.size === 0) return
    this.engine.checkForCommit?.(fields.snapshot())
    checkSize(record, changes.set, this.engine.settings.limits.sessionBytes, () => fields.encodeAll(() => true))
  }

  // ------------------------------------------------------------------ the jar

  #refuseAfterHead(): void {
    if (this.#headIsOut) {
      throw new SessionError('HEADERS_SENT', 'The answer has left, so no cookie can be set: do this before the first byte of the answer.')
    }
  }

  /** The whole token as the header carrier sends it. */
  token(): string {
    return this.#jar.token()
  }

  #result(): CommitResult {
    return this.#jar.result(this.seen, this.meta)
  }
}

/** Goes on at once where nothing has to be waited for. */
function then<T>(value: MaybePromise<T>, goOn: (value: T) => MaybePromise<void> | undefined): MaybePromise<void> {
  return value instanceof Promise ? value.then(goOn) : goOn(value)
}

function eventOf(record: RecordView): { key: string; userId?: string } {
  return { key: record.key, ...(record.meta.userId !== undefined && { userId: record.meta.userId }) }
}
