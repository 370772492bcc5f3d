/**
 * Revocations that lie in a store: they outlive a restart of all servers. One record for a session that has ended or must hold a guarded
 * note, one for a user who was logged out everywhere; both under hashes, so that they never meet a session's own key. Their
 * absence is kept near, as long as the store's announcements or a lease allow it.
 */
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { EVENT_BYTES, type Epoch, epochOf } from '../core/epoch.ts'
import { viewOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { MaybePromise, RecordMeta, SessionStore, StoredRecord, StrategyContext } from '../seam.ts'
import { userHash } from './cookie-end-keys.ts'
import {
  NOTHING_KNOWN,
  type RequiredNote,
  type Revocations,
  type RevocationsStatus,
  type Standing,
  type Subject,
  type WhenCutOff,
} from './cookie-revocations.ts'
import { type NearCache, nearCacheOf, withFlight } from './near-cache.ts'
import { isUnavailable, type StoreAccess, storeAccess } from './store-access.ts'

const DEADLINE_MS = 1_000
/** What an ending waits at most for servers that do not say that they have heard of it: below the 100 ms that it may take. */
const LEASE_MS = 60
/** Answers and clocks may be late by this much. */
const GRACE_MS = 600_000
/** A user's record ends when it has not been touched for long enough, not at a fixed time. */
const NEVER_MS = 100 * 365 * 86_400_000
const ATTEMPTS = 5
const NAMES_MAX = 50_000

const ENDED = 'ended'
const REQUIRED = 'required'
const EVENT = 'event'
const SPARED = 'spared'

const ABSENT_META: RecordMeta = {
  userId: undefined,
  createdAt: 0,
  lastActiveAt: 0,
  idleMs: 0,
  touchEveryMs: 0,
  absoluteAt: 0,
  persistent: false,
}
const ABSENT: StoredRecord = { meta: ABSENT_META, fields: new Map(), version: 0, writeIds: [] }

type Fields = ReadonlyMap<string, string | undefined>

export interface StoreOptions {
  readonly whenCutOff: WhenCutOff
  /** Longest absolute lifetime of a session: a log-out everywhere is remembered for it. */
  readonly longestMs: number
}

export class StoreRevocations implements Revocations {
  readonly #store: SessionStore
  readonly #context: StrategyContext
  readonly #options: StoreOptions
  readonly #access: StoreAccess
  readonly #near: { cache: NearCache; release(): void } | undefined
  readonly #stopListening: (() => void) | undefined
  /** What was looked for lately: a change of something else concerns nobody here. */
  readonly #names = new LRUCache<string, true>({ max: NAMES_MAX })

  constructor(store: SessionStore, context: StrategyContext, options: StoreOptions) {
    this.#store = store
    this.#context = context
    this.#options = options
    if (store.freshness !== undefined) this.#near = nearCacheOf(store, { leaseMs: LEASE_MS }, context.runtime)
    const cache = this.#near?.cache
    // A revocation that expires is no session that does.
    const emit: StrategyContext['emit'] = (type, event) => void (type !== 'expired' && context.emit(type, event))
    this.#access = storeAccess(store, DEADLINE_MS, { ...context, emit, ended: () => undefined }, () => cache?.start())
    this.#stopListening = cache?.listen((name) => this.#names.has(name) && context.review?.())
  }

  confirm(): undefined {
    return undefined
  }

  look({ key, userId }: Subject): MaybePromise<Standing> {
    const ofSession = this.#read(sessionRecord(key))
    const ofUser = userId === undefined ? ABSENT : this.#read(userRecord(userId))
    if (ofSession instanceof Promise || ofUser instanceof Promise) {
      return Promise.all([ofSession, ofUser]).then(([session, user]) => standingOf(key, userId, session, user))
    }
    return standingOf(key, userId, ofSession, ofUser)
  }

  epoch({ events }: Pick<Standing, 'events'>): Epoch | undefined {
    return epochOf(
      0,
      events.map(({ id }) => id),
    )
  }

  met(): void {}

  async end(key: string, reason: 'destroyed' | 'replaced' | 'revoked', absoluteAt: number): Promise<void> {
    await this.#put(sessionRecord(key), new Map([[ENDED, this.#endText(reason)]]), this.#until(absoluteAt))
    this.#context.ended(key, reason)
    await this.#heardByAll()
  }

  async revoke(key: string, { userId }: { userId?: string }): Promise<boolean> {
    const name = sessionRecord(key)
    const known = await this.#ask(name)
    const field = userId === undefined ? ENDED : ownedField(userId)
    const isNew = !known.fields.has(field) && !known.fields.has(ENDED)
    if (isNew) await this.#put(name, new Map([[field, this.#endText('revoked')]]), this.#until(this.#now() + this.#options.longestMs))
    // Also when nothing was new: a lost reply may hide that the first try was.
    if (userId === undefined) this.#context.ended(key, 'revoked')
    else this.#context.review?.()
    await this.#heardByAll()
    return isNew
  }

  async revokeUser(userId: string, { except }: { except?: string }): Promise<void> {
    const event = this.#context.runtime.randomBytes(EVENT_BYTES).toString('base64url')
    const fields = new Map([
      [EVENT, event],
      [SPARED, except],
    ])
    await this.#put(userRecord(userId), fields, { idleMs: this.#options.longestMs + GRACE_MS, absoluteAt: this.#now() + NEVER_MS })
    this.#context.review?.()
    await this.#heardByAll()
  }

  async require(subject: Subject, note: RequiredNote, covers: (note: RequiredNote) => boolean): Promise<boolean> {
    const name = sessionRecord(subject.key)
    const fields = new Map([[REQUIRED, `${note.name}.${note.counter}.${note.at}`]])
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const known = await this.#ask(name)
      if (!standingOf(subject.key, undefined, known, ABSENT).required.every(covers)) return false
      if (await this.#change(name, fields, this.#until(subject.absoluteAt), known.version)) {
        await this.#heardByAll()
        return true
      }
    }
    throw new SessionError('SESSION_UNAVAILABLE', 'A guarded field changes too often to be stored: send the request again.', {
      headers: { 'retry-after': '1' },
    })
  }

  status(): RevocationsStatus {
    const notProtected = [...(this.#store.notProtected ?? [])]
    if (this.#options.whenCutOff === 'continue') {
      notProtected.push('While the revocation store is down, revoked sessions are accepted (whenCutOff).')
    }
    return { notProtected, store: { name: this.#store.name, state: this.#access.state }, details: {} }
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

  // ---------------------------------------------------------------- reading

  #read(name: string): MaybePromise<StoredRecord> {
    const copy = this.#near?.cache.fresh(name)
    return copy === undefined ? this.#readSlowly(name) : copy.stored
  }

  async #readSlowly(name: string): Promise<StoredRecord> {
    try {
      return await this.#ask(name)
    } catch (error) {
      if (!isUnavailable(error) || this.#options.whenCutOff === 'fail') throw error
      return this.#near?.cache.old(name)?.stored ?? ABSENT
    }
  }

  #ask(name: string): Promise<StoredRecord> {
    if (this.#near !== undefined) this.#names.set(name, true)
    return withFlight(this.#near?.cache, name, async (flight) => {
      const found = await this.#access.ask(() => this.#store.read(name))
      const stored = found === undefined || 'gone' in found ? ABSENT : found
      if (flight !== undefined) this.#near?.cache.keep(flight, stored, viewOf(name, stored))
      return stored
    })
  }

  // ---------------------------------------------------------------- writing

  /** Changes the record, or makes it. */
  async #put(name: string, fields: Fields, life: Life): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) if (await this.#change(name, fields, life)) return
    throw new SessionError('SESSION_UNAVAILABLE', 'The revocation could not be stored: try again.', { headers: { 'retry-after': '1' } })
  }

  /** False: somebody else was faster, or made or ended the record meanwhile. `version` 0: only if it is not there. */
  async #change(name: string, fields: Fields, life: Life, version?: number): Promise<boolean> {
    const writeId = this.#context.runtime.randomBytes(8).toString('base64url')
    try {
      if (version !== 0) {
        const condition = version === undefined ? {} : { ifVersion: version }
        const patch = { set: fields, add: new Map(), touchAt: this.#now(), writeId, ...condition }
        const { outcome } = await this.#access.ask(() => this.#store.patch(name, patch))
        if (outcome !== 'gone' || version !== undefined) return outcome === 'applied'
      }
      const now = this.#now()
      const meta: RecordMeta = { ...ABSENT_META, createdAt: now, lastActiveAt: now, touchEveryMs: life.idleMs, ...life }
      const present = [...fields].filter((field): field is [string, string] => field[1] !== undefined)
      return await this.#access.ask(() => this.#store.create(name, { meta, fields: new Map(present) }, writeId))
    } finally {
      this.#near?.cache.drop(name)
    }
  }

  async #heardByAll(): Promise<void> {
    await this.#near?.cache.heardByAll()
  }

  #until(absoluteAt: number): Life {
    const until = absoluteAt + GRACE_MS
    return { idleMs: Math.max(1, Math.round(until - this.#now())), absoluteAt: Math.round(until) }
  }

  #endText(reason: string): string {
    return `${reason}.${Math.round(this.#now())}`
  }

  #now(): number {
    return this.#context.runtime.now()
  }
}

type Life = Pick<RecordMeta, 'idleMs' | 'absoluteAt'>

function standingOf(key: string, userId: string | undefined, session: StoredRecord, user: StoredRecord): Standing {
  if (session.fields.size === 0 && user.fields.size === 0) return NOTHING_KNOWN
  const ended = session.fields.get(ENDED) ?? (userId === undefined ? undefined : session.fields.get(ownedField(userId)))
  const [reason, endedAt] = ended?.split('.') ?? []
  const required = session.fields.get(REQUIRED)?.split('.')
  const event = user.fields.get(EVENT)
  return {
    ended: ended === undefined ? undefined : { reason: reason === 'replaced' ? 'replaced' : 'destroyed', endedAt: Number(endedAt) },
    events: event === undefined ? [] : [{ id: event, isSpared: user.fields.get(SPARED) === key }],
    least: 0,
    required: required === undefined ? [] : [{ name: required[0] as string, counter: Number(required[1]), at: Number(required[2]) }],
  }
}

function sessionRecord(key: string): string {
  return createHash('sha256').update(`holdfast revoked session|${key}`).digest('base64url')
}

function userRecord(userId: string): string {
  return createHash('sha256').update(`holdfast revoked user|${userId}`).digest('base64url')
}

function ownedField(userId: string): string {
  return `${ENDED} ${userHash(userId)}`
}
