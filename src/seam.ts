/**
 * The seam: a strategy opens what the browser holds into a record, and turns a commit into changes to what the browser
 * holds. Stores and transports have their interfaces here too, so that a strategy takes them as arguments.
 */
import type { Capability, Limits, SessionEvent, SessionEventType, SessionSummary, SessionsStatus } from './types.ts'

export type MaybePromise<T> = T | Promise<T>

// ---------------------------------------------------------------- surroundings, injected everywhere below `sessions`

export interface Timer {
  cancel(): void
}

/** Clock, timers and randomness. Nothing below `sessions` touches the globals, so that simulations replay exactly. */
export interface Runtime {
  /** Unix ms: for lifetimes only, never to order writes. */
  now(): number
  /** Milliseconds that never go back: for deadlines. */
  monotonic(): number
  randomBytes(size: number): Buffer
  /** Does not keep the process alive. */
  setTimer(ms: number, run: () => void): Timer
  /** Runs soon, after the current turn: for batching. */
  defer(run: () => void): void
  /** Keeps the process alive until the returned function is called: timers alone do not. */
  keepAlive?(): () => void
}

/** MACs and encryption with keys derived from the secrets (HKDF-SHA-256, one key per purpose and secret). */
export interface Keys {
  /** Short ids of the keys, newest first. */
  readonly ids: readonly number[]
  /** 16 bytes of HMAC-SHA-256 under the newest key, or the one of that id (undefined: no such key). */
  mac(purpose: KeyPurpose, text: string | Uint8Array): Buffer
  verify(purpose: KeyPurpose, text: string | Uint8Array, mac: Uint8Array, keyId: number): boolean
  /** The newest key's id comes first. */
  readonly newest: number
  /** Raw derived key (32 bytes) of a purpose; undefined when no secret has this id. */
  derive(purpose: KeyPurpose, keyId: number): Buffer | undefined
  /** The secrets changed: what was verified or derived with one of them has to be looked at anew. Absent: they never do. */
  onChange?(listener: () => void): void
}
export type KeyPurpose = 'root' | 'note' | 'seal' | 'hint'

// ---------------------------------------------------------------- the record as the engine sees it

export interface RecordMeta {
  readonly userId: string | undefined
  readonly createdAt: number
  /** Merged by maximum. */
  readonly lastActiveAt: number
  readonly idleMs: number
  readonly touchEveryMs: number
  /** Unix ms: the absolute end. */
  readonly absoluteAt: number
  readonly persistent: boolean
}

/** An immutable snapshot: a request never sees a record change under its hands. */
export interface RecordView {
  readonly key: string
  readonly meta: RecordMeta
  /** Encoded value, counters summed; undefined when absent or removed. */
  get(field: string): string | undefined
  /** True when the field was removed after it existed: it does not read as its default again. */
  isRemoved(field: string): boolean
  /** Present fields. */
  fields(): Iterable<string>
  /** UTF-8 length of all names and encoded values. */
  readonly bytes: number
}

/** What one commit changes. */
export interface Change {
  /** Encoded value, or undefined to remove. */
  readonly set: ReadonlyMap<string, string | undefined>
  /** Added to a counter; `from` is the value an absent field starts at. */
  readonly add: ReadonlyMap<string, { readonly by: number; readonly from: number }>
  readonly touchAt: number
  /** Present when `setLifetime` changed it. Never lengthens the absolute end. */
  readonly lifetime?: { readonly idleMs: number; readonly touchEveryMs: number; readonly absoluteAt: number }
}

/** A new record. */
export interface Draft {
  readonly meta: RecordMeta
  readonly fields: ReadonlyMap<string, string>
}

/** The record under a new id, made from what the session is at that moment: parallel requests may have written since it was opened. */
export type DraftOf = (newest: RecordView) => Draft

// ---------------------------------------------------------------- the jar as a strategy sees it

export interface SessionId {
  /** 16 random bytes, base64url: the bearer secret. Only roots and associated data see it. */
  readonly id: string
  /** SHA-256 of the id's bytes, base64url. */
  readonly key: string
  /** Unix ms: the absolute end as the root states it. */
  readonly absoluteAt: number
}

/** A note as presented: `name` without the root's prefix, `value` unverified text. */
export interface Note {
  readonly name: string
  readonly value: string
}

/** A presented jar whose root has been verified. */
export interface Jar extends SessionId {
  readonly notes: readonly Note[]
  /** Bytes of the whole Cookie header, other cookies included: for budgets. */
  readonly headerBytes: number
}

/** Changes to the notes the browser holds. The engine writes the root itself. */
export interface JarDelta {
  readonly set: readonly Note[]
  /** Names this answer has joined, and only those. */
  readonly delete: readonly string[]
  /** A routing cookie for the balancer in front; set when it differs from what the browser presented. */
  readonly route?: string
}

// ---------------------------------------------------------------- the strategy

/** What a strategy holds for one request; strategies add fields of their own. */
export interface Opened {
  readonly record: RecordView
}

export type Opening =
  | { readonly outcome: 'found'; readonly opened: Opened }
  /**
   * No such session (any more). `unknown` is not reported. While `endedAt` (Unix ms) is recent, the answer that ended the
   * session may still be on its way to the browser: this request then stores nothing and sets no cookie.
   */
  | { readonly outcome: 'gone'; readonly reason: 'destroyed' | 'replaced' | 'expired' | 'unknown'; readonly endedAt?: number }
  /** The store is down and visitors are served as strangers meanwhile: nothing is stored, no cookie is set or cleared. */
  | { readonly outcome: 'anonymous' }
  /** A write the jar names is lost. With `opened`: the best copy, to be served or refused by the strategy's policy. */
  | { readonly outcome: 'regressed'; readonly opened?: Opened; readonly policy: 'serve' | 'fail' | 'byUser' }

export interface Written {
  /** Replaces the request's `Opened`. */
  readonly opened: Opened
  readonly jar: JarDelta
}

export type EndReason = 'destroyed' | 'replaced' | 'revoked' | 'expired'

/**
 * One running strategy. Methods may answer synchronously, and do where no I/O is needed: the engine then spends no await.
 * Rejections are `SessionError`s: SESSION_GONE, SESSION_REPLACED, SESSION_UNAVAILABLE, STORE_UNAVAILABLE, COOKIE_TOO_LARGE…
 */
export interface RunningStrategy {
  open(jar: Jar): MaybePromise<Opening>
  create(id: SessionId, draft: Draft): MaybePromise<Written>
  /** An update, never a create: SESSION_GONE or SESSION_REPLACED when the session is no longer there. */
  write(opened: Opened, change: Change): MaybePromise<Written>
  /** A new id for the same visitor: creates the new record and ends the old one in one commit. `draft` may be called several times. */
  replace(opened: Opened, id: SessionId, draft: DraftOf): MaybePromise<Written>
  destroy(opened: Opened): MaybePromise<JarDelta>
  /** For a request that stored nothing: notes to join or a floor to raise. `decoded`: it read data. No I/O. */
  settle(opened: Opened, decoded: boolean): JarDelta | undefined
  /** Atomic read-modify-write; `change` may run several times, on the newest record each time. */
  update(opened: Opened, change: (record: RecordView) => Change): MaybePromise<Written>
  /** A fresh look at the same session. */
  reload(opened: Opened): MaybePromise<Opening>
  get(key: string): MaybePromise<RecordView | undefined>
  list(filter: { userId?: string }): AsyncIterable<SessionSummary>
  revoke(key: string, filter: { userId?: string }): Promise<boolean>
  revokeUser(userId: string, filter: { except?: string }): Promise<number>
  status(): MaybePromise<Omit<SessionsStatus, 'strategy' | 'node'>>
  ready(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
}

export interface StrategyContext {
  readonly node: string
  readonly runtime: Runtime
  readonly keys: Keys
  /** Name of the root cookie; notes are `<cookieName>-<note name>`. */
  readonly cookieName: string
  readonly limits: Required<Limits>
  emit(type: SessionEventType, event?: Omit<SessionEvent, 'type' | 'at' | 'node'>): void
  /** A session ended on or beyond this server: its `signal`s abort here. */
  ended(key: string, reason: EndReason): void
  /** The servers agree on a time: lifetimes go by it from then on, whatever this server's wall clock says. */
  steer?(now: () => number): void
  /** Somebody on this server holds the session's `signal`: an end elsewhere should be looked for. */
  isWatched?(key: string): boolean
  /** Sessions may have ended that cannot be named: whoever holds a `signal` looks again. */
  review?(): void
  logger: Pick<Console, 'warn' | 'error'>
}

/** What `replication(…)`, `affinity(…)` and the others return: checked options, nothing running yet. */
export interface SessionStrategy {
  readonly name: 'replication' | 'affinity' | 'cookieBased' | 'dedicated' | 'isolated' | (string & {})
  readonly capabilities: ReadonlySet<Capability>
  start(context: StrategyContext): RunningStrategy
}

// ---------------------------------------------------------------- stores (dedicated)

/** A record at rest. Fields and metadata are separate namespaces. */
export interface StoredRecord {
  readonly meta: RecordMeta
  readonly fields: ReadonlyMap<string, string>
  /** Removed fields whose removal still has to be remembered. */
  readonly removed?: ReadonlySet<string>
  /** Counts writes; touches alone are none. */
  readonly version: number
  /** Newest first, at most 8: the i-th made version `version - i`. They tell a store that fell back and counted on. */
  readonly writeIds: readonly string[]
}

export interface StorePatch extends Change {
  /** Applied once however often it is sent: a record keeps its last 8. */
  readonly writeId: string
  /** Compare-and-set: apply only at this version. */
  readonly ifVersion?: number
  /** What the writer believes to be the record now: where that holds, a store may replace it as a whole instead of merging. */
  readonly base?: StoredRecord
}

export type PatchResult =
  | {
      readonly outcome: 'applied'
      readonly before: number
      readonly after: number
      readonly counters: ReadonlyMap<string, string>
      /** What the record is now, where the store has made it from the patch's `base`. */
      readonly record?: StoredRecord
    }
  | { readonly outcome: 'conflict'; readonly version: number }
  | { readonly outcome: 'gone'; readonly reason: 'destroyed' | 'replaced' | 'unknown' }

export interface StoreContext {
  readonly runtime: Runtime
  readonly logger: Pick<Console, 'warn' | 'error'>
  /** Every operation must end within this time. */
  readonly deadlineMs: number
  /** The store tells whether it can be reached. */
  stateChanged(state: 'up' | 'down', detail: string): void
  /** This store dropped an expired session and nobody else will report it. Stores that expire by themselves stay silent. */
  expired?(key: string, userId: string | undefined): void
}

/**
 * Keeps records outside the servers. Each method is one round trip and atomic. A store that cannot be reached rejects with
 * STORE_UNAVAILABLE within the deadline; a record that does not parse rejects with STORE_RECORD_INVALID and stays.
 * A key the store does not know is `undefined` or `gone`/`unknown`, never an error. Expired records read as absent.
 */
export interface SessionStore {
  readonly name: string
  readonly capabilities: ReadonlySet<'list' | 'users'>
  /** What this store does not protect, one sentence each: goes into `status()`. */
  readonly notProtected?: readonly string[]
  /**
   * How near copies of its records learn of foreign changes: `push`: `watch` announces them; `lease`: they do not, so a copy lives for
   * the lease. Absent: no near copies, because a read needs no round trip, or because the store keeps no versions.
   */
  readonly freshness?: 'push' | 'lease'
  /**
   * With `lease`: `watch` announces nothing, but a copy may answer only while its `confirm()` holds. For a store of which other servers'
   * copies are pushed: their endings then know that they have to wait for the lease.
   */
  readonly confirmsLease?: boolean
  /** With `push` or `confirmsLease`. Called after `ready()`, once per listener. */
  watch?(listener: ChangeListener): ChangeWatch
  /** Connects and, where needed, creates tables. */
  ready(context: StoreContext): Promise<void>
  read(key: string): Promise<StoredRecord | { readonly gone: 'destroyed' | 'replaced'; readonly endedAt?: number } | undefined>
  /** False: the key exists already. */
  create(key: string, draft: Draft, writeId: string): Promise<boolean>
  patch(key: string, patch: StorePatch): Promise<PatchResult>
  /** Creates `newKey` and ends `oldKey` in one step; refused when `oldKey` is gone, a conflict where it is not at `ifVersion`. */
  replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult>
  /**
   * Leaves a mark, so that a late writer and a late visitor learn why: until `markUntil` (Unix ms) or the end that the session
   * had, whichever is later. True: a live session was ended.
   */
  destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter?: { userId?: string }): Promise<boolean>
  list(filter: { userId?: string }): AsyncIterable<SessionSummary>
  /** Where the store can end all sessions of a user in one step; marks as `destroy` does. The keys of those that were live. */
  endUser?(userId: string, markUntil: number, filter: { except?: string }): Promise<readonly string[]>
  close(): Promise<void>
}

export interface ChangeListener {
  /** Somebody else changed or ended this session. Own writes through the same store need not be announced. */
  changed(key: string): void
  /** The channel broke or was renewed: what happened meanwhile was not announced. */
  lost(): void
}

export interface ChangeWatch {
  /**
   * Resolves to true once every change that the store applied before this call has been announced, to false when the channel
   * is broken, closed or silent for the deadline. Never rejects. Where there is `heardByAll`: a server whose `confirm()` was true is
   * waited for by it until at least 1,000 ms, the longest lease, after it was asked.
   */
  confirm(): Promise<boolean>
  /**
   * Resolves to true once every server that may answer from a copy has heard of all that the store applied before this call, to false,
   * by then or at once, when that is not known within `ms`. Never rejects. Absent: it is never known.
   */
  heardByAll?(ms: number): Promise<boolean>
  close(): void
}

// ---------------------------------------------------------------- transports (cluster)

export interface Peer {
  readonly node: string
  /** Unique to one run of one server, never used again. */
  readonly incarnation: string
}

export interface TransportHandlers {
  readonly self: Peer
  readonly runtime: Runtime
  readonly logger: Pick<Console, 'warn' | 'error'>
  /** Frames of one peer arrive in the order they were sent; a peer's frames come after its `up` and before its `down`. */
  frame(peer: Peer, frame: Buffer): void
  up(peer: Peer): void
  down(peer: Peer, why: string): void
}

/** Moves frames between the servers of one cluster; knows nothing of sessions. At most 1 MiB a frame. */
export interface Transport {
  readonly name: string
  /** The cluster it joins, where it has a name: a floor of another cluster is ignored. */
  readonly cluster?: string
  /** Resolves once this server listens and a first attempt to reach each known peer has ended. */
  start(handlers: TransportHandlers): Promise<void>
  peers(): readonly Peer[]
  /** False when the peer is unknown or its queue is full: the frame is dropped and repair has to mend it. */
  send(incarnation: string, frame: Uint8Array): boolean
  /** The peer broke the protocol: close its link, say why once. */
  refuse(incarnation: string, why: string): void
  /** Bytes on the wire since the start. */
  traffic(): { sentBytes: number; receivedBytes: number }
  close(): Promise<void>
}
