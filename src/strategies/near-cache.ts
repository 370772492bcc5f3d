import { LRUCache } from 'lru-cache'
import type { ChangeWatch, RecordView, Runtime, SessionStore, StoredRecord } from '../seam.ts'
import type { ReadNote } from './dedicated-notes.ts'

export interface NearCacheOptions {
  /** Copies kept at most. Default 10,000. */
  readonly maxSessions?: number
  /** Their names and values, about. Default 64 MiB. */
  readonly maxBytes?: number
  /**
   * How long a copy may answer without word from the store: bounds how long a foreign change can stay unseen, and how long
   * `logout`, `login` and `revoke` wait for servers that do not say that their copies have ended. 10 to 1,000, default 200. Shorter
   * than the time an event loop under load takes for some turns, it would turn the copies off just then.
   */
  readonly leaseMs?: number
  /** With `whenDown: 'readCached'`: how long a copy may answer while the store is down. Default 60,000. */
  readonly outageMs?: number
}

const LEASE_MS = 200
const MAX_SESSIONS = 10_000
const MAX_BYTES = 64 * 1024 * 1024
const OUTAGE_MS = 60_000
/** Bookkeeping of one copy, about. */
const COPY_BYTES = 500
/** The channel is asked often enough that an answer arrives before the lease of the last one ends. */
const CONFIRMS_PER_LEASE = 3

/** What a server keeps of one session. Replaced as a whole, never changed, but for what it remembers of a note. */
export interface NearCopy {
  readonly record: RecordView
  readonly stored: StoredRecord
  /** When the store was asked for it, or the channel last heard before it broke: monotonic ms. */
  heardAt: number
  /** Copies of an earlier life of the push channel may have missed a change. */
  readonly life: number
  /** The note that visitors last came with: not decoded again. */
  note?: ReadNote
}

/** One question to the store under way: what comes back is kept only if nobody changed the session meanwhile. */
export interface Flight {
  readonly key: string
  readonly startedAt: number
  readonly changes: number
  readonly life: number
}

/**
 * Copies of records, bounded by count and bytes. A copy answers only while it is known to be fresh: nothing was announced
 * for it on a channel that was confirmed within the lease, or, without a channel, it was read within the lease.
 */
export class NearCache {
  readonly leaseMs: number
  readonly outageMs: number
  readonly #runtime: Runtime
  readonly #store: SessionStore
  readonly #isPushed: boolean
  readonly #copies: LRUCache<string, NearCopy>
  /** Sessions with questions under way, how often each was changed by others, and the newest version kept since the first of them. */
  readonly #flights = new Map<string, { open: number; changes: number; version: number }>()
  readonly #listeners = new Set<(key: string) => void>()
  #watch: ChangeWatch | undefined
  /** The channel has announced everything that happened before this moment. */
  #confirmedAt = Number.NEGATIVE_INFINITY
  #confirming = false
  #life = 0

  constructor(store: SessionStore, options: NearCacheOptions, runtime: Runtime) {
    this.#store = store
    this.#isPushed = store.freshness === 'push'
    this.#runtime = runtime
    this.leaseMs = options.leaseMs ?? LEASE_MS
    this.outageMs = options.outageMs ?? OUTAGE_MS
    this.#copies = new LRUCache<string, NearCopy>({
      max: options.maxSessions ?? MAX_SESSIONS,
      maxSize: options.maxBytes ?? MAX_BYTES,
      sizeCalculation: sizeOf,
    })
  }

  /** Hears which sessions others changed, where the store announces it. */
  listen(listener: (key: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** The store is open: from now on its announcements are heard. */
  start(): void {
    if (this.#watch !== undefined || !(this.#isPushed || this.#store.confirmsLease === true)) return
    this.#watch = this.#store.watch?.({ changed: (key) => this.#announced(key), lost: () => this.#lost() })
  }

  get counts(): { sessions: number; bytes: number } {
    return { sessions: this.#copies.size, bytes: this.#copies.calculatedSize }
  }

  /** A copy that may answer. */
  fresh(key: string): NearCopy | undefined {
    const now = this.#runtime.monotonic()
    if (this.#watch !== undefined) {
      this.#confirmSoon(now)
      if (now - this.#confirmedAt >= this.leaseMs) return undefined
    } else if (this.#isPushed) return undefined
    const copy = this.#copies.get(key)
    return copy?.life === this.#life && (this.#isPushed || now - copy.heardAt < this.leaseMs) ? copy : undefined
  }

  /** A copy that may answer while the store is down and nobody minds that it is old. */
  old(key: string): NearCopy | undefined {
    const copy = this.#copies.get(key)
    if (copy === undefined) return undefined
    return this.#runtime.monotonic() - this.#freshAt(copy) <= this.outageMs ? copy : undefined
  }

  /** Call before the store is asked, and `end` afterwards. */
  begin(key: string): Flight {
    const flights = this.#flights.get(key)
    if (flights === undefined) this.#flights.set(key, { open: 1, changes: 0, version: 0 })
    else flights.open += 1
    return { key, startedAt: this.#runtime.monotonic(), changes: flights?.changes ?? 0, life: this.#life }
  }

  end({ key }: Flight): void {
    const flights = this.#flights.get(key)
    if (flights === undefined) return
    flights.open -= 1
    if (flights.open === 0) this.#flights.delete(key)
  }

  /** Keeps what the store answered, unless it may be old by now: then undefined. */
  keep(flight: Flight, stored: StoredRecord, record: RecordView): NearCopy | undefined {
    const { key, startedAt, life, changes } = flight
    const flights = this.#flights.get(key)
    if (flights === undefined || life !== this.#life || flights.changes !== changes || flights.version > stored.version) return undefined
    const before = this.#copies.peek(key)
    if (before !== undefined && before.life === life && before.stored.version > stored.version) return undefined
    flights.version = stored.version
    const copy: NearCopy = { record, stored, heardAt: startedAt, life }
    this.#copies.set(key, copy)
    return copy
  }

  /** The copy, fresh or not, that a write of our own may move on. */
  base(key: string): StoredRecord | undefined {
    const copy = this.#copies.peek(key)
    return copy?.life === this.#life ? copy.stored : undefined
  }

  /** No other question about this session is under way from here. */
  isAlone({ key }: Flight): boolean {
    return this.#flights.get(key)?.open === 1
  }

  /** Own writes are not announced to us: what ends here ends in our copies at once. */
  drop(key: string): void {
    this.#changed(key)
  }

  /** An own write made this version and its result is not kept: questions asked before it may bring older ones. */
  outdated({ key }: Flight, version: number): void {
    const flights = this.#flights.get(key)
    if (flights !== undefined) flights.version = Math.max(flights.version, version)
    if ((this.#copies.peek(key)?.stored.version ?? version) < version) this.#copies.delete(key)
  }

  /** Resolves once no server answers from a copy of what the store ended before this call: when all have said so, or after the lease. */
  heardByAll(): Promise<void> {
    return new Promise((done) => {
      const lease = this.#runtime.setTimer(this.leaseMs, done)
      void this.#watch?.heardByAll?.(this.leaseMs).then((isHeard) => {
        if (!isHeard) return
        lease.cancel()
        done()
      })
    })
  }

  /** Nothing that is held is certain any more. */
  distrust(): void {
    this.#lost()
  }

  close(): void {
    this.#watch?.close()
    this.#watch = undefined
    this.#copies.clear()
  }

  #announced(key: string): void {
    this.#changed(key)
    for (const listener of this.#listeners) listener(key)
  }

  #changed(key: string): void {
    this.#copies.delete(key)
    const flights = this.#flights.get(key)
    if (flights !== undefined) flights.changes += 1
  }

  /** Copies stay for an outage, with the moment up to which they were known to be fresh. */
  #lost(): void {
    for (const copy of this.#copies.values()) copy.heardAt = this.#freshAt(copy)
    this.#life += 1
    this.#confirmedAt = Number.NEGATIVE_INFINITY
  }

  /** The last moment at which nothing newer was known. */
  #freshAt(copy: NearCopy): number {
    return this.#isPushed && copy.life === this.#life ? Math.max(copy.heardAt, this.#confirmedAt) : copy.heardAt
  }

  #confirmSoon(now: number): void {
    if (this.#confirming || now - this.#confirmedAt < this.leaseMs / CONFIRMS_PER_LEASE) return
    this.#confirming = true
    const life = this.#life
    void this.#watch?.confirm().then((isAlive) => {
      this.#confirming = false
      // The moment of asking counts: what happens after it may not have been announced yet.
      if (isAlive && life === this.#life) this.#confirmedAt = now
    })
  }
}

/** Asks the store with a flight under way, where there is a cache to keep the answer. */
export async function withFlight<R>(
  cache: NearCache | undefined,
  key: string,
  ask: (flight: Flight | undefined) => Promise<R>,
): Promise<R> {
  if (cache === undefined) return ask(undefined)
  const flight = cache.begin(key)
  try {
    return await ask(flight)
  } finally {
    cache.end(flight)
  }
}

function sizeOf({ stored }: NearCopy): number {
  let size = COPY_BYTES
  for (const [name, value] of stored.fields) size += name.length + value.length
  return size
}

interface Shared {
  readonly cache: NearCache
  users: number
}

const CACHES = new WeakMap<SessionStore, Shared>()

/** The cache that others of this process keep for the store: what this one changes must not stay there. */
export function existingNearCache(store: SessionStore): NearCache | undefined {
  return CACHES.get(store)?.cache
}

/** One cache per store, as a store does not announce the writes of one of its users to another. The first user's bounds hold. */
export function nearCacheOf(store: SessionStore, options: NearCacheOptions, runtime: Runtime): { cache: NearCache; release(): void } {
  const shared = CACHES.get(store) ?? { cache: new NearCache(store, options, runtime), users: 0 }
  shared.users += 1
  CACHES.set(store, shared)
  return {
    cache: shared.cache,
    release(): void {
      shared.users -= 1
      if (shared.users > 0) return
      CACHES.delete(store)
      shared.cache.close()
    },
  }
}
