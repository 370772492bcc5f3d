import { applyChange, expiresAt, isTouch, nextStamp, recordOf, viewOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type {
  Change,
  Draft,
  Jar,
  JarDelta,
  Opened,
  Opening,
  PatchResult,
  RecordView,
  RunningStrategy,
  SessionId,
  SessionStore,
  StoredRecord,
  StrategyContext,
  Written,
} from '../seam.ts'
import type { SessionSummary, SessionsStatus } from '../types.ts'
import { queuePerKey } from './queue-per-key.ts'
import type { QueuePerKey } from './queue-per-key.ts'
import { storeAccess } from './store-access.ts'
import type { StoreAccess } from './store-access.ts'

const NO_JAR: JarDelta = { set: [], delete: [] }

/** A late writer learns for this long why nothing was stored; afterwards its session is merely unknown. */
const MARK_MS = 600_000

/** Compare-and-set attempts against the writers of other servers; those of this server queue. */
const UPDATE_ATTEMPTS = 16
const LONGEST_BACKOFF_MS = 32

/** A session that logs in or regenerates while its user is revoked shows up in the next look. */
const REVOKE_LOOKS = 3

interface DedicatedOpened extends Opened {
  readonly stored: StoredRecord
  /** False once somebody else's write lies between what this request holds and what the store holds. */
  readonly current: boolean
}

export class DedicatedStrategy implements RunningStrategy {
  readonly #store: SessionStore
  readonly #context: StrategyContext
  readonly #access: StoreAccess
  readonly #updates: QueuePerKey = queuePerKey()

  constructor(store: SessionStore, deadlineMs: number, context: StrategyContext) {
    this.#store = store
    this.#context = context
    this.#access = storeAccess(store, deadlineMs, context)
  }

  open(jar: Jar): Promise<Opening> {
    return this.#look(jar.key)
  }

  reload(opened: Opened): Promise<Opening> {
    return this.#look(opened.record.key)
  }

  async create(id: SessionId, draft: Draft): Promise<Written> {
    const writeId = this.#writeId()
    const isNew = await this.#access.write(() => this.#store.create(id.key, draft, writeId))
    if (!isNew) throw new SessionError('SESSION_UNAVAILABLE', 'The new session id is taken: send the request again.')
    return written(id.key, recordOf(draft, writeId), true)
  }

  async write(opened: Opened, change: Change): Promise<Written> {
    const { record, stored, current } = opened as DedicatedOpened
    const patch = { ...change, writeId: this.#writeId() }
    const result = await this.#access.write(() => this.#store.patch(record.key, patch))
    if (result.outcome !== 'applied') throw this.#refused(record.key, result)
    const next = applyChange(
      stored,
      change,
      isTouch(change) ? stored : nextStamp({ ...stored, version: result.before }, patch.writeId),
      result.counters,
    )
    return written(record.key, next, current && result.before === stored.version)
  }

  async replace(opened: Opened | undefined, id: SessionId, draft: Draft): Promise<Written> {
    if (opened === undefined) return this.create(id, draft)
    const { key } = opened.record
    const writeId = this.#writeId()
    const result = await this.#access.write(() => this.#store.replace(key, id.key, draft, writeId))
    if (result.outcome !== 'applied') throw this.#refused(key, result)
    this.#context.ended(key, 'replaced')
    return written(id.key, recordOf(draft, writeId), true)
  }

  async destroy(opened: Opened): Promise<JarDelta> {
    const { key } = opened.record
    await this.#access.write(() => this.#store.destroy(key, 'destroyed', this.#markUntil()))
    this.#context.ended(key, 'destroyed')
    return NO_JAR
  }

  settle(): undefined {
    return undefined
  }

  update(opened: Opened, change: (record: RecordView) => Change): Promise<Written> {
    return this.#updates(opened.record.key, (waited) => this.#compareAndSet(opened as DedicatedOpened, change, waited))
  }

  async get(key: string): Promise<RecordView | undefined> {
    const opening = await this.#look(key)
    return opening.outcome === 'found' ? opening.opened.record : undefined
  }

  async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
    this.#require('list')
    await this.#access.started()
    for await (const summary of this.#store.list(filter)) {
      if (summary.expiresAt > this.#context.runtime.now()) yield summary
    }
  }

  async revoke(key: string, filter: { userId?: string }): Promise<boolean> {
    const ended = await this.#access.write(() => this.#store.destroy(key, 'destroyed', this.#markUntil(), filter))
    if (ended) this.#context.ended(key, 'revoked')
    return ended
  }

  async revokeUser(userId: string, filter: { except?: string }): Promise<number> {
    this.#require('users')
    await this.#access.started()
    let count = 0
    for (let look = 0; look < REVOKE_LOOKS; look++) {
      const before = count
      for await (const { key } of this.#store.list({ userId })) {
        if (key !== filter.except && (await this.revoke(key, { userId }))) count += 1
      }
      if (count === before) break
    }
    return count
  }

  status(): Omit<SessionsStatus, 'strategy' | 'node'> {
    const notProtected = [...(this.#store.notProtected ?? [])]
    if (this.#access.state === 'down') notProtected.push('The store cannot be reached: requests that have a session are answered 503.')
    return { store: { name: this.#store.name, state: this.#access.state }, notProtected }
  }

  ready(): Promise<void> {
    return this.#access.ready()
  }

  async drain(): Promise<void> {}

  close(): Promise<void> {
    return this.#access.close()
  }

  // ------------------------------------------------------------------ within

  async #look(key: string): Promise<Opening> {
    const found = await this.#access.read(() => this.#store.read(key))
    if (found === undefined) return { outcome: 'gone', reason: 'unknown' }
    if ('gone' in found) {
      return { outcome: 'gone', reason: found.gone, ...(found.endedAt !== undefined && { endedAt: found.endedAt }) }
    }
    if (expiresAt(found.meta) <= this.#context.runtime.now()) {
      this.#context.ended(key, 'expired')
      return { outcome: 'gone', reason: 'expired' }
    }
    return { outcome: 'found', opened: openedOf(key, found, true) }
  }

  async #compareAndSet(opened: DedicatedOpened, change: (record: RecordView) => Change, waited: boolean): Promise<Written> {
    const { key } = opened.record
    let newest = opened.current && !waited ? opened : await this.#newest(key)
    for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
      const { record, stored } = newest
      const changed = change(record)
      const patch = { ...changed, writeId: this.#writeId(), ifVersion: stored.version }
      const result = await this.#access.write(() => this.#store.patch(key, patch))
      if (result.outcome === 'applied')
        return written(key, applyChange(stored, changed, nextStamp(stored, patch.writeId), result.counters), true)
      if (result.outcome === 'gone') throw this.#refused(key, result)
      if (attempt > 0) await this.#backOff(attempt)
      newest = await this.#newest(key)
    }
    throw new SessionError('SESSION_UNAVAILABLE', 'Too many servers update this session at once: send the request again.', {
      headers: { 'retry-after': '1' },
    })
  }

  async #newest(key: string): Promise<DedicatedOpened> {
    const opening = await this.#look(key)
    if (opening.outcome === 'found') return opening.opened as DedicatedOpened
    throw this.#refused(key, {
      outcome: 'gone',
      reason: opening.outcome === 'gone' && opening.reason === 'replaced' ? 'replaced' : 'destroyed',
    })
  }

  #backOff(attempt: number): Promise<void> {
    const { runtime } = this.#context
    const most = Math.min(2 ** attempt, LONGEST_BACKOFF_MS)
    const wait = ((runtime.randomBytes(1)[0] as number) / 256) * most
    return new Promise((done) => void runtime.setTimer(wait, done))
  }

  #refused(key: string, result: PatchResult): SessionError {
    if (result.outcome !== 'gone')
      return new SessionError('SESSION_UNAVAILABLE', 'The session changed under this write: send the request again.')
    this.#context.ended(key, result.reason === 'replaced' ? 'replaced' : 'destroyed')
    if (result.reason === 'replaced') {
      return new SessionError('SESSION_REPLACED', 'The session has a new id: nothing was stored. Send the request again.')
    }
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

  #markUntil(): number {
    return this.#context.runtime.now() + MARK_MS
  }
}

function openedOf(key: string, stored: StoredRecord, current: boolean): DedicatedOpened {
  return { record: viewOf(key, stored), stored, current }
}

function written(key: string, stored: StoredRecord, current: boolean): Written {
  return { opened: openedOf(key, stored, current), jar: NO_JAR }
}
