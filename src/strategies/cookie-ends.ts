/** What one server remembers of ended sessions, in a bounded amount of memory: the oldest is coarsened, nothing is forgotten before its time. */
import { LRUCache } from 'lru-cache'
import type { Tombstone } from '../cluster/entries.ts'
import type { Partitions } from '../cluster/partitions.ts'
import { counterOf } from '../core/epoch.ts'
import { CoarseEnds } from './cookie-coarse-ends.ts'
import {
  COARSE_SESSION,
  COARSE_USER,
  coarseKey,
  EVENT,
  GUARD,
  guardedSession,
  KIND_CHARS,
  kindOf,
  OWNED,
  ownedKey,
  readCoarseKey,
  readEventKey,
  SPARED,
  sparedKey,
  userHash,
} from './cookie-end-keys.ts'
import { GuardedNotes } from './cookie-guarded-notes.ts'
import { NOTHING_KNOWN, type Standing, type Subject } from './cookie-revocations.ts'

/** Ended sessions and guarded notes, and log-outs everywhere, that are kept one by one: about 25 MB when full. */
export const ENDS_MAX = { sessions: 100_000, events: 50_000 }

const USER_BUCKETS = 4_096
const HASHES_MAX = 20_000

export class RememberedEnds implements Partitions<Tombstone> {
  readonly #most: typeof ENDS_MAX
  /** In the order in which they were heard of. */
  readonly #sessions = new Map<string, Tombstone>()
  readonly #guards = new Map<string, Tombstone>()
  readonly #events = new Map<string, Tombstone>()
  readonly #eventsOf = new Map<string, string[]>()
  readonly #notes = new GuardedNotes()
  /** Buckets of users, with the counter below which their sessions are over. */
  readonly #coarseUsers = new Map<number, { readonly counter: number; readonly until: number }>()
  readonly #hashes = new LRUCache<string, string>({ max: HASHES_MAX })
  #coarse: CoarseEnds | undefined
  #owned = 0
  #counter = 0

  constructor(most: typeof ENDS_MAX = ENDS_MAX) {
    this.#most = most
  }

  // ---------------------------------------------------------------- as the table of the cluster

  get size(): number {
    return this.#sessions.size + this.#guards.size + this.#events.size + this.#coarseUsers.size + this.coarseSessions
  }

  get coarseSessions(): number {
    return this.#coarse?.size ?? 0
  }

  get users(): number {
    return this.#eventsOf.size
  }

  get(key: string): Tombstone | undefined {
    return this.#mapOf(kindOf(key)).get(key)
  }

  has(key: string): boolean {
    const kind = kindOf(key)
    if (kind !== COARSE_SESSION && kind !== COARSE_USER) return this.#mapOf(kind).has(key)
    return false
  }

  set(key: string, tombstone: Tombstone): void {
    const kind = kindOf(key)
    if (kind === COARSE_SESSION) return this.#addCoarse(key, tombstone)
    if (kind === COARSE_USER) return this.#addCoarseUser(readCoarseKey(key), tombstone.until)
    const isNew = !this.has(key)
    this.#mapOf(kind).set(key, tombstone)
    if (!isNew) return
    if (kind === EVENT) this.#addEvent(key)
    else if (kind === GUARD) for (const old of this.#notes.add(key, tombstone.endedAt)) this.#guards.delete(old)
    else if (kind === OWNED) this.#owned++
    this.#bound()
  }

  delete(key: string): boolean {
    const kind = kindOf(key)
    if (kind === COARSE_SESSION) this.#coarse?.clear(readCoarseKey(key).bucket)
    if (kind === COARSE_USER) return this.#coarseUsers.delete(readCoarseKey(key).bucket)
    if (!this.#mapOf(kind).delete(key)) return false
    if (kind === EVENT) this.#dropEvent(key)
    else if (kind === GUARD) this.#notes.drop(key)
    else if (kind === OWNED) this.#owned--
    return true
  }

  *entries(): Generator<[string, Tombstone]> {
    for (const map of [this.#events, this.#guards, this.#sessions]) yield* map
    for (const [bucket, { counter, until }] of this.#coarseUsers) yield [coarseKey(COARSE_USER, bucket, counter), coarseTombstone(until)]
    for (const { bucket, tag, until } of this.#coarse?.entries() ?? []) {
      yield [coarseKey(COARSE_SESSION, bucket, tag), coarseTombstone(until)]
    }
  }

  *values(): Generator<Tombstone> {
    for (const [, tombstone] of this.entries()) yield tombstone
  }

  // ---------------------------------------------------------------- as revocations

  /** The highest counter of any log-out everywhere heard of. */
  get counter(): number {
    return this.#counter
  }

  met(counter: number): void {
    this.#counter = Math.max(this.#counter, counter)
  }

  standing({ absoluteAt, key, userId }: Subject): Standing {
    const ended = this.#endOf(key, absoluteAt) ?? this.#endOfOwned(key, absoluteAt, userId)
    const required = this.#notes.of(guardedSession(key))
    const hasEvents = userId !== undefined && (this.#eventsOf.size > 0 || this.#coarseUsers.size > 0)
    if (ended === undefined && required.length === 0 && !hasEvents) return NOTHING_KNOWN
    const user = hasEvents ? this.#hashOf(userId) : ''
    const events = (this.#eventsOf.get(user) ?? []).map((id) => ({ id, isSpared: this.#sessions.has(sparedKey(key, id)) }))
    return { ended, events, least: hasEvents ? (this.#coarseUsers.get(bucketOf(user))?.counter ?? 0) : 0, required }
  }

  #endOf(key: string, absoluteAt: number): Standing['ended'] {
    const known = this.#sessions.get(key)
    if (known !== undefined) return { reason: known.reason === 'replaced' ? 'replaced' : 'destroyed', endedAt: known.endedAt }
    return this.#coarse?.has(key, absoluteAt) === true ? { reason: 'destroyed' } : undefined
  }

  #endOfOwned(key: string, absoluteAt: number, userId: string | undefined): Standing['ended'] {
    if (userId === undefined || (this.#owned === 0 && this.#coarse === undefined)) return undefined
    const owned = ownedKey(key, userId)
    const known = this.#sessions.get(owned)
    if (known !== undefined) return { reason: 'destroyed', endedAt: known.endedAt }
    return this.#coarse?.has(owned.slice(KIND_CHARS), absoluteAt) === true ? { reason: 'destroyed' } : undefined
  }

  #hashOf(userId: string): string {
    let hash = this.#hashes.get(userId)
    if (hash === undefined) this.#hashes.set(userId, (hash = userHash(userId)))
    return hash
  }

  // ---------------------------------------------------------------- within

  #mapOf(kind: string | undefined): Map<string, Tombstone> {
    return kind === EVENT ? this.#events : kind === GUARD ? this.#guards : this.#sessions
  }

  #addEvent(key: string): void {
    const { event, user } = readEventKey(key)
    this.met(counterOf(event))
    this.#eventsOf.set(user, [...(this.#eventsOf.get(user) ?? []), event])
  }

  #dropEvent(key: string): void {
    const { event, user } = readEventKey(key)
    const left = (this.#eventsOf.get(user) ?? []).filter((other) => other !== event)
    if (left.length === 0) this.#eventsOf.delete(user)
    else this.#eventsOf.set(user, left)
  }

  #bound(): void {
    const { events, sessions } = this.#most
    while (this.#events.size > events) this.#coarsenEvent()
    while (this.#sessions.size > sessions) this.#coarsenSession(this.#sessions)
    // A session whose guarded notes are forgotten has to end.
    while (this.#guards.size > sessions) this.#coarsenSession(this.#guards)
  }

  #coarsenSession(from: Map<string, Tombstone>): void {
    const [key, { until }] = from.entries().next().value as [string, Tombstone]
    this.delete(key)
    const kind = kindOf(key)
    // What spares a session may go: it ends sooner than it has to.
    if (kind !== SPARED) (this.#coarse ??= new CoarseEnds()).add(kind === undefined ? key : key.slice(KIND_CHARS), until)
  }

  #coarsenEvent(): void {
    const [key, { until }] = this.#events.entries().next().value as [string, Tombstone]
    this.delete(key)
    const { event, user } = readEventKey(key)
    this.#addCoarseUser({ bucket: bucketOf(user), value: counterOf(event) }, until)
  }

  #addCoarse(key: string, { until }: Tombstone): void {
    const { bucket, value } = readCoarseKey(key)
    this.#coarse ??= new CoarseEnds()
    this.#coarse.put(bucket, value, until)
  }

  #addCoarseUser({ bucket, value }: { bucket: number; value: number }, until: number): void {
    const known = this.#coarseUsers.get(bucket % USER_BUCKETS)
    this.met(value)
    this.#coarseUsers.set(bucket % USER_BUCKETS, {
      counter: Math.max(value, known?.counter ?? 0),
      until: Math.max(until, known?.until ?? 0),
    })
  }
}

function bucketOf(user: string): number {
  return Buffer.from(user.slice(0, 4), 'base64url').readUInt16BE(0) % USER_BUCKETS
}

function coarseTombstone(until: number): Tombstone {
  return { reason: 'destroyed', endedAt: 0, until }
}
