import { applyChange, expiresAt, isTouch, nextStamp, recordOf, viewOf } from '../core/stored-record.ts'
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
  PatchResult,
  RecordView,
  RunningStrategy,
  SessionId,
  SessionStore,
  StoredRecord,
  StorePatch,
  StrategyContext,
  Written,
} from '../seam.ts'
import type { SessionSummary, SessionsStatus } from '../types.ts'
import { compareAndSet } from './compare-and-set.ts'
import { type DedicatedNotes, dedicatedNotes, NO_FLOOR } from './dedicated-notes.ts'
import { DedicatedEndings, replacedError } from './dedicated-endings.ts'
import { DedicatedOpened, DedicatedOpener } from './dedicated-opening.ts'
import type { DedicatedSettings } from './dedicated-parts.ts'
import { dedicatedStatus } from './dedicated-status.ts'
import { existingNearCache, type Flight, type NearCache, nearCacheOf, withFlight } from './near-cache.ts'
import { type QueuePerKey, queuePerKey } from './queue-per-key.ts'
import { isUnavailable, type StoreAccess, storeAccess } from './store-access.ts'

export class DedicatedStrategy implements RunningStrategy {
  readonly #settings: DedicatedSettings
  readonly #store: SessionStore
  readonly #context: StrategyContext
  readonly #access: StoreAccess
  readonly #notes: DedicatedNotes
  readonly #near: { cache: NearCache; release(): void } | undefined
  readonly #cache: NearCache | undefined
  readonly #opener: DedicatedOpener
  readonly #endings: DedicatedEndings
  readonly #updates: QueuePerKey = queuePerKey()
  readonly #stopListening: (() => void) | undefined

  constructor(settings: DedicatedSettings, context: StrategyContext) {
    const { store, nearCache, deadlineMs } = settings
    this.#settings = settings
    this.#store = store
    this.#context = context
    this.#notes = dedicatedNotes(store.name, context.keys, context.runtime)
    if (nearCache !== false && store.freshness !== undefined) this.#near = nearCacheOf(store, nearCache, context.runtime)
    const cache = this.#near?.cache
    this.#cache = cache
    this.#access = storeAccess(store, deadlineMs, context, () => cache?.start())
    this.#stopListening = cache?.listen((key) => this.#lookAfter(key))
    const parts = { settings, context, access: this.#access, notes: this.#notes, cache }
    this.#opener = new DedicatedOpener(parts)
    this.#endings = new DedicatedEndings(parts)
  }

  open(jar: Jar): MaybePromise<Opening> {
    return this.#opener.open(jar)
  }

  reload(opened: Opened): Promise<Opening> {
    return this.#opener.reload(opened)
  }

  // ------------------------------------------------------------------ writing

  async create(id: SessionId, draft: Draft): Promise<Written> {
    const writeId = this.#writeId()
    return withFlight(this.#cache, id.key, async (flight) => {
      const isNew = await this.#access.ask(() => this.#store.create(id.key, draft, writeId))
      if (!isNew) throw new SessionError('SESSION_UNAVAILABLE', 'The new session id is taken: send the request again.')
      return this.#written(id, recordOf(draft, writeId), flight, undefined)
    })
  }

  async write(any: Opened, change: Change): Promise<Written> {
    const opened = any as DedicatedOpened
    const { key } = opened.record
    return withFlight(this.#cache, key, async (flight) => {
      // Writes of this server under way at once build on each other: then the store has to merge.
      const known = flight !== undefined && this.#cache?.isAlone(flight) === true ? this.#cache.base(key) : undefined
      const patch: StorePatch = { ...change, writeId: this.#writeId(), ...(known !== undefined && { base: known }) }
      const result = await this.#patch(opened, patch)
      if (result === 'down') return { opened, jar: NO_CHANGE }
      if (result.outcome !== 'applied') throw this.#refused(key, result)
      const { before } = result
      const nearest = this.#cache?.base(key)
      const base = opened.stored.version !== before && nearest?.version === before ? nearest : opened.stored
      const stored = result.record ?? changed(base, patch, result)
      const isCurrent = result.record !== undefined || (base.version === before && (base !== opened.stored || opened.current))
      if (flight !== undefined && !isCurrent) this.#cache?.outdated(flight, result.after)
      if (flight === undefined) existingNearCache(this.#store)?.drop(key)
      return this.#written(opened.id, stored, isCurrent ? flight : undefined, opened, isCurrent)
    })
  }

  /** `down`: only the time of the request was to be noted, and copies are served meanwhile. */
  async #patch(opened: DedicatedOpened, patch: StorePatch): Promise<PatchResult | 'down'> {
    try {
      return await this.#access.ask(() => this.#store.patch(opened.record.key, patch))
    } catch (error) {
      if (this.#settings.whenDown === 'readCached' && isTouch(patch) && isUnavailable(error)) return 'down'
      throw error
    }
  }

  async replace(any: Opened, id: SessionId, draft: DraftOf): Promise<Written> {
    const opened = any as DedicatedOpened
    const { key } = opened.record
    const written = await compareAndSet(this.#context.runtime, opened.current ? opened : undefined, {
      newest: () => this.#newest(opened),
      attempt: ({ record, stored }) =>
        withFlight(this.#cache, id.key, async (flight) => {
          const made = draft(record)
          // Of its own for each attempt: what one before may have left half made must not pass for this one's.
          const writeId = this.#writeId()
          const result = await this.#endings.ask([key], () => this.#store.replace(key, id.key, made, writeId, stored.version))
          // What another request has stored since this one was opened goes along.
          if (result.outcome === 'conflict') return undefined
          if (result.outcome === 'gone') throw this.#refused(key, result)
          return this.#written(id, recordOf(made, writeId), flight, opened)
        }),
    })
    await this.#endings.everywhere([key], 'replaced')
    return written
  }

  async destroy(any: Opened): Promise<JarDelta> {
    const { id, notes, record } = any as DedicatedOpened
    await this.#endings.destroy(record.key, 'destroyed')
    return { set: [], delete: this.#notes.replaced(notes, id.id) }
  }

  settle(any: Opened, decoded: boolean): JarDelta | undefined {
    const { stored, floor, notes, id, isRegressed } = any as DedicatedOpened
    // The idle end moves on with each touch; the note may lag behind by as much as a touch may be late.
    const lags = expiresAt(stored.meta) - floor.idleEndAt > stored.meta.touchEveryMs
    const raise = isRegressed || (decoded && (stored.version > floor.version || lags))
    const names = raise || notes.length > 1 ? this.#notes.replaced(notes, id.id) : []
    if (!raise && names.length < 2) return undefined
    const note = this.#notes.write(stored, id.id)
    return { set: [{ name: note.name, value: note.value }], delete: names }
  }

  update(any: Opened, change: (record: RecordView) => Change): Promise<Written> {
    const opened = any as DedicatedOpened
    const { key } = opened.record
    return this.#updates(key, (waited) =>
      compareAndSet(this.#context.runtime, opened.current && !waited ? opened : undefined, {
        newest: () => this.#newest(opened),
        attempt: ({ record, stored }) =>
          withFlight(this.#cache, key, async (flight) => {
            const patch = { ...change(record), writeId: this.#writeId(), ifVersion: stored.version }
            const result = await this.#access.ask(() => this.#store.patch(key, patch))
            if (result.outcome === 'conflict') return undefined
            if (result.outcome === 'gone') throw this.#refused(key, result)
            return this.#written(opened.id, changed(stored, patch, result), flight, opened)
          }),
      }),
    )
  }

  async #newest({ id, notes }: DedicatedOpened): Promise<DedicatedOpened> {
    const opening = await this.#opener.look(id, notes, NO_FLOOR)
    if (opening.outcome === 'found') return opening.opened as DedicatedOpened
    const isReplaced = opening.outcome === 'gone' && opening.reason === 'replaced'
    throw this.#refused(id.key, { outcome: 'gone', reason: isReplaced ? 'replaced' : 'destroyed' })
  }

  // ------------------------------------------------------------------ beyond one request

  async get(key: string): Promise<RecordView | undefined> {
    const found = await this.#access.ask(() => this.#store.read(key))
    if (found === undefined || 'gone' in found) return undefined
    return expiresAt(found.meta) > this.#context.runtime.now() ? viewOf(key, found) : undefined
  }

  async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
    this.#require(filter.userId === undefined ? 'list' : 'users')
    await this.#access.started()
    for await (const summary of this.#store.list(filter)) {
      if (summary.expiresAt > this.#context.runtime.now()) yield summary
    }
  }

  revoke(key: string, filter: { userId?: string }): Promise<boolean> {
    return this.#endings.destroy(key, 'revoked', filter)
  }

  async revokeUser(userId: string, filter: { except?: string }): Promise<number> {
    this.#require('users')
    return this.#endings.revokeUser(userId, filter)
  }

  status(): Omit<SessionsStatus, 'strategy' | 'node'> {
    return dedicatedStatus(this.#settings, this.#access.state, this.#cache)
  }

  ready(): Promise<void> {
    return this.#access.ready()
  }

  async drain(): Promise<void> {}

  async close(): Promise<void> {
    this.#stopListening?.()
    this.#near?.release()
    await this.#access.close()
  }

  // ------------------------------------------------------------------ within

  /** Sockets and streams of a session that somebody else changed end with it. */
  #lookAfter(key: string): void {
    if (this.#context.isWatched?.(key) !== true) return
    this.get(key).then(
      (record) => record ?? this.#context.ended(key, 'revoked'),
      // The session's next request, or its expiry, looks again.
      () => undefined,
    )
  }

  /** `flight`: the record is the store's newest, as far as is known, and may be kept. */
  #written(id: SessionId, stored: StoredRecord, flight: Flight | undefined, before: DedicatedOpened | undefined, current = true): Written {
    const record = viewOf(id.key, stored)
    const note = this.#notes.write(stored, id.id)
    const copy = flight && this.#cache?.keep(flight, stored, record)
    if (copy !== undefined) copy.note = note
    const shown = { name: note.name, value: note.value }
    const floor = { notes: [note.content], version: note.content.version, idleEndAt: note.content.idleEndAt, hasUser: note.content.hasUser }
    const replaced = before === undefined ? [] : this.#notes.replaced(before.notes, before.id.id)
    return { opened: new DedicatedOpened(record, stored, id, [shown], floor, { current }), jar: { set: [shown], delete: replaced } }
  }

  #refused(key: string, result: PatchResult): SessionError {
    if (result.outcome !== 'gone')
      return new SessionError('SESSION_UNAVAILABLE', 'The session changed under this write: send the request again.')
    this.#cache?.drop(key)
    this.#context.ended(key, result.reason === 'replaced' ? 'replaced' : 'destroyed')
    if (result.reason === 'replaced') return replacedError()
    return new SessionError('SESSION_GONE', 'The session has ended: nothing was stored. Send the request again.')
  }

  #require(capability: 'list' | 'users'): void {
    if (this.#store.capabilities.has(capability)) return
    const what = capability === 'list' ? 'list sessions' : "find a user's sessions"
    throw new SessionError('STRATEGY_UNSUPPORTED', `The ${this.#store.name} store cannot ${what}: use another store for that.`)
  }

  #writeId(): string {
    return this.#context.runtime.randomBytes(8).toString('base64url')
  }
}

const NO_CHANGE: JarDelta = { set: [], delete: [] }

function changed(base: StoredRecord, patch: StorePatch, result: Extract<PatchResult, { outcome: 'applied' }>): StoredRecord {
  const isNext = base.version === result.before
  const known = isNext ? base : { version: result.before, writeIds: [] }
  const stamp = isTouch(patch)
    ? { version: result.after, writeIds: known.writeIds }
    : { ...nextStamp(known, patch.writeId), version: result.after }
  return applyChange(base, patch, stamp, result.counters)
}
