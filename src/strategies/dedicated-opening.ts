import { expiresAt, viewOf } from '../core/stored-record.ts'
import type { Jar, MaybePromise, Note, Opened, Opening, RecordView, SessionId, StoredRecord } from '../seam.ts'
import { coversFloor, type Floor, NO_FLOOR } from './dedicated-notes.ts'
import type { DedicatedParts } from './dedicated-parts.ts'
import { type NearCopy, withFlight } from './near-cache.ts'
import { isUnavailable } from './store-access.ts'

/** Clocks of servers differ: a session that would have ended about now has expired, it is not lost. */
const EXPIRY_GRACE_MS = 60_000

/** One request's hold on a session of the store. */
export class DedicatedOpened implements Opened {
  readonly record: RecordView
  readonly stored: StoredRecord
  readonly id: SessionId
  /** As the browser holds them after the last answer. */
  readonly notes: readonly Note[]
  readonly floor: Floor
  /** False once somebody else's write lies between what this request holds and what the store holds. */
  readonly current: boolean
  /** The record does not hold what the notes name: they have to be replaced. */
  readonly isRegressed: boolean

  constructor(
    record: RecordView,
    stored: StoredRecord,
    id: SessionId,
    notes: readonly Note[],
    floor: Floor,
    { current = true, isRegressed = false }: { current?: boolean; isRegressed?: boolean } = {},
  ) {
    this.record = record
    this.stored = stored
    this.id = id
    this.notes = notes
    this.floor = floor
    this.current = current
    this.isRegressed = isRegressed
  }
}

/** How a jar opens: from a near copy where that is fresh, else from the store, else by the policy for outages. */
export class DedicatedOpener {
  readonly #parts: DedicatedParts

  constructor(parts: DedicatedParts) {
    this.#parts = parts
  }

  open(jar: Jar): MaybePromise<Opening> {
    // A jar without a floor asks the store: nothing says which copies are fresh enough for it.
    const copy = jar.notes.length === 0 ? undefined : this.#parts.cache?.fresh(jar.key)
    if (copy !== undefined && expiresAt(copy.stored.meta) > this.#parts.context.runtime.now()) {
      const floor = this.#parts.notes.peek(jar.notes, copy.note)
      if (floor.version > 0 && coversFloor(copy.stored, floor)) {
        rememberNote(copy, jar.notes, floor)
        return { outcome: 'found', opened: new DedicatedOpened(copy.record, copy.stored, jar, jar.notes, floor) }
      }
    }
    return this.#openFromStore(jar, jar.notes)
  }

  reload(any: Opened): Promise<Opening> {
    const { id, notes, floor } = any as DedicatedOpened
    return this.#parts.settings.whenDown === 'readCached' ? this.#openFromStore(id, notes) : this.look(id, notes, floor)
  }

  async #openFromStore(id: SessionId, notes: readonly Note[]): Promise<Opening> {
    const floor = notes.length === 0 ? NO_FLOOR : this.#parts.notes.verified(notes, id.id)
    try {
      return await this.look(id, notes, floor)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      if (this.#parts.settings.whenDown === 'anonymous') return { outcome: 'anonymous' }
      const opened = this.#parts.settings.whenDown === 'readCached' ? this.#oldCopy(id, notes, floor) : undefined
      if (opened === undefined) throw error
      return { outcome: 'found', opened }
    }
  }

  /** The store's newest. `floor`: what it must hold. */
  async look(id: SessionId, notes: readonly Note[], floor: Floor): Promise<Opening> {
    const { key } = id
    const found = await withFlight(this.#parts.cache, key, async (flight) => {
      const answer = await this.#parts.access.ask(() => this.#parts.settings.store.read(key))
      if (answer === undefined || 'gone' in answer) {
        this.#parts.cache?.drop(key)
        return answer
      }
      const record = viewOf(key, answer)
      const copy = flight && this.#parts.cache?.keep(flight, answer, record)
      if (copy !== undefined) rememberNote(copy, notes, floor)
      return { record, stored: answer }
    })
    if (found === undefined) return this.#missing(id, floor)
    if ('gone' in found) {
      return { outcome: 'gone', reason: found.gone, ...(found.endedAt !== undefined && { endedAt: found.endedAt }) }
    }
    const { record, stored } = found
    if (expiresAt(stored.meta) <= this.#parts.context.runtime.now()) return this.#expired(key)
    if (coversFloor(stored, floor)) return { outcome: 'found', opened: new DedicatedOpened(record, stored, id, notes, floor) }
    return { outcome: 'regressed', opened: new DedicatedOpened(record, stored, id, notes, floor, { isRegressed: true }), policy: 'byUser' }
  }

  /** The root proves that there was a session. Whether it has expired or was lost, the notes know. */
  #missing({ key, absoluteAt }: SessionId, floor: Floor): Opening {
    const now = this.#parts.context.runtime.now()
    if (floor.version === 0) return { outcome: 'gone', reason: 'unknown' }
    if (Math.min(floor.idleEndAt, absoluteAt) - EXPIRY_GRACE_MS <= now) return this.#expired(key)
    return { outcome: 'regressed', policy: floor.hasUser ? 'fail' : 'byUser' }
  }

  #expired(key: string): Opening {
    this.#parts.context.ended(key, 'expired')
    return { outcome: 'gone', reason: 'expired' }
  }

  #oldCopy(id: SessionId, notes: readonly Note[], floor: Floor): DedicatedOpened | undefined {
    const copy = this.#parts.cache?.old(id.key)
    if (copy === undefined || expiresAt(copy.stored.meta) <= this.#parts.context.runtime.now() || !coversFloor(copy.stored, floor))
      return undefined
    return new DedicatedOpened(copy.record, copy.stored, id, notes, floor, { current: false })
  }
}

function rememberNote(copy: NearCopy, notes: readonly Note[], floor: Floor): void {
  const [note] = notes
  const [content] = floor.notes
  if (notes.length !== 1 || note === undefined || content === undefined || copy.note?.value === note.value) return
  copy.note = { name: note.name, value: note.value, content }
}
