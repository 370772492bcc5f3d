import type { IncomingMessage } from 'node:http'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Runtime, SessionStrategy } from './seam.ts'

/** How long a session lives. All durations in milliseconds. */
export interface Lifetime {
  /** A session ends this long after its last request. Default 30 minutes. */
  idleMs?: number
  /** A session ends this long after it was created or its user changed, whatever happens. Default 12 hours. */
  absoluteMs?: number
  /** The time of the last request is recorded at most this often. Default `idleMs / 20`. */
  touchEveryMs?: number
}

export interface CookieOptions {
  /** Default `__Host-session`; `__Secure-session` with a domain or another path; `session` when not secure. */
  name?: string
  path?: string
  domain?: string
  sameSite?: 'lax' | 'strict' | 'none'
  /** Default true, unless `NODE_ENV` is `development` or `test` when the sessions are created. */
  secure?: boolean
  partitioned?: boolean
  priority?: 'low' | 'medium' | 'high'
  /** Keep the cookie when the browser closes (`Max-Age`, up to the absolute end). Default false. */
  persistent?: boolean
}

export interface Limits {
  /** Largest session, all fields encoded. Default 65,536. */
  sessionBytes?: number
}

/** Turns one field's value into text and back. The default is JSON that refuses what JSON cannot carry. */
export interface FieldCodec {
  encode(value: unknown, field: string): string
  decode(encoded: string, field: string): unknown
}

/** What a strategy may be asked for beyond reading and writing. */
export type Capability = 'update' | 'list' | 'revoke' | 'revokeUser'

/** Secrets that may change while the server runs: what `keyFile(…)` returns. */
export interface SecretSource {
  /** Newest first, each at least 32 bytes. Throws an error that says what is wrong and shows no secret. */
  read(): readonly string[]
  /** Tells of new ones until the returned function is called. */
  watch(runtime: Runtime, changed: (secrets: readonly string[]) => void, logger: Pick<Console, 'warn'>): () => void
}

export interface BaseOptions<D> {
  /** Newest first, each at least 32 bytes. The first makes new cookies, all verify. `keyFile(path)`: they may change without a restart. */
  secrets: string | undefined | readonly (string | undefined)[] | SecretSource
  strategy: SessionStrategy
  /** This server's name. Default `HOLDFAST_NODE`, else the host name. */
  node?: string
  lifetime?: Lifetime
  cookie?: CookieOptions
  /** Where the token travels. `header` means `x-session-token`. Default `cookie`. */
  carrier?: 'cookie' | 'header' | 'both'
  /** What to do with an unsafe request from another site that carries a session. Default `refuse`. */
  crossSite?: 'refuse' | 'allow'
  /** What to do with a stored record that does not decode or fails the schema. Default `fail`: 500, the record kept. */
  onInvalid?: 'fail' | 'new' | ((raw: unknown) => D | Promise<D>)
  /** Refuse to start (`CONFIG_INVALID`) if the strategy cannot do these. */
  requires?: readonly Capability[]
  limits?: Limits
  codec?: FieldCodec
  logger?: Pick<Console, 'warn' | 'error'>
  onEvent?: (event: SessionEvent) => void
}

export type SchemaOptions<S extends StandardSchemaV1<any, object>> = BaseOptions<StandardSchemaV1.InferOutput<S>> & {
  schema: S
  initial?: () => StandardSchemaV1.InferOutput<S>
}
export type PlainOptions<D extends object> = BaseOptions<D> & { initial?: () => D; schema?: never }

export type SessionEventType =
  | 'created'
  | 'regenerated'
  | 'replaced'
  | 'destroyed'
  | 'expired'
  | 'revoked'
  | 'regressed'
  | 'conflict'
  | 'degraded'
  | 'recovered'
  | 'invalid'
  | 'lateWrite'

/** Something that happened to a session or to the strategy. Never holds an id, a token or a field's value. */
export interface SessionEvent {
  type: SessionEventType
  /** Unix ms. */
  at: number
  /** The server that reports it. */
  node: string
  key?: string
  userId?: string
  /** One line for people. */
  detail?: string
}

export interface SessionSummary {
  /** SHA-256 of the session id, base64url: safe to log and to show. */
  key: string
  userId: string | undefined
  createdAt: number
  lastActiveAt: number
  expiresAt: number
  persistent: boolean
}

type NumericFieldOf<D> = { [K in keyof D & string]: D[K] extends number | undefined ? K : never }[keyof D & string]
/** Fields that `add` accepts: those typed as numbers, or any where the data is untyped. */
export type CounterField<D> = string extends keyof D ? string : NumericFieldOf<D>

export interface KeepOptions<D> {
  /** true: all fields; false: none; a list: those. */
  keep?: boolean | readonly (keyof D)[]
}

export interface LoginOptions<D> extends KeepOptions<D> {
  lifetime?: Lifetime
  persistent?: boolean
}

export interface Session<D> {
  /** SHA-256 of the session id, base64url: safe to log. */
  readonly key: string
  readonly isNew: boolean
  /** Change it in place; nothing is written if nothing changed. */
  readonly data: D
  readonly userId: string | undefined
  readonly createdAt: number
  readonly expiresAt: number
  /** Aborted when the session is ended, revoked or expires on this server: close sockets and streams. */
  readonly signal: AbortSignal
  /**
   * A new id, bound to the user. Data is kept from anonymous to a user, dropped from one user to another, unless `keep`
   * says otherwise. The absolute lifetime starts again.
   */
  login(userId: string, options?: LoginOptions<D>): Promise<void>
  /** Destroys the session; a later write in this request starts a fresh one. */
  logout(): Promise<void>
  /** Counters that sum exactly under concurrency. `by` defaults to 1. */
  add(field: CounterField<D>, by?: number): void
  /** Atomic against every other writer: `change` may run more than once and must not be async. */
  update<R>(change: (data: D) => R extends PromiseLike<unknown> ? never : R): Promise<R>
  /** Reads and removes: flash messages. */
  take<K extends keyof D & string>(field: K): D[K]
  /** "Remember me". */
  setLifetime(lifetime: Lifetime, persistent?: boolean): void
  touch(): void
  regenerate(options?: KeepOptions<D>): Promise<void>
  save(): Promise<void>
  reload(): Promise<void>
}

/** The part of a request the engine reads. Header names are given in lower case. */
export interface RequestView {
  header(name: string): string | undefined
  method: string
  url: string
}

/** What a commit asks the adapter to put on the answer's head. */
export interface CommitResult {
  /** Whole Set-Cookie values, ready to send. */
  cookies: string[]
  /** Other headers: `cache-control` and the token replace, `vary` and `access-control-expose-headers` append. */
  headers: [name: string, value: string][]
}

/** One request's session, between open and commit: what adapters build on. */
export interface OpenSession<D> {
  readonly session: Session<D>
  /**
   * Cheap and synchronous: has the handler done anything that must be stored before the head may leave?
   * False for a request that only read. An adapter then calls `settle()` and defers nothing.
   */
  needsCommit(): boolean
  /** What a request that only read puts on its head (a raised floor, joined notes, `Vary`). No I/O. */
  settle(): CommitResult
  /**
   * Stores what changed and says what to put on the head. Called once, before the head. Rejects with a
   * {@link SessionError} when the write was not stored; the answer must then be that error.
   */
  commit(): Promise<CommitResult>
  /** Tells the session that the head has left: later saves must not need a cookie. */
  headSent(): void
  /** Called once the answer has ended or its client has left: raises `lateWrite` for unsaved changes, lets go of everything. */
  end(): void
}

export interface SessionsStatus {
  strategy: string
  node: string
  /** Sessions this server holds or can reach, where that is known. */
  sessions?: number
  bytes?: number
  peers?: { node: string; state: 'up' | 'joining' | 'suspect' | 'down' }[]
  store?: { name: string; state: 'up' | 'down' }
  /** What this configuration does not protect, one sentence each. */
  notProtected: string[]
  /** Anything else a strategy has to say. */
  details?: Record<string, string | number | boolean>
}

export interface CreatedSession {
  key: string
  token: string
  /** Ready for a `Cookie` header. */
  cookie: string
  setCookie: string[]
}

export interface Sessions<D> {
  /** The session of a request or framework context. Throws `NO_SESSION` if the middleware is not mounted. */
  of(requestOrContext: object): Session<D>
  open(request: RequestView): Promise<OpenSession<D>>
  /** For WebSocket upgrades: sets no cookie. */
  upgrade(request: IncomingMessage): Promise<Session<D>>
  create(options?: { userId?: string; data?: Partial<D> }): Promise<CreatedSession>
  get(key: string): Promise<(SessionSummary & { data: D }) | undefined>
  list(options?: { userId?: string }): AsyncIterable<SessionSummary>
  /** With `userId`: only if the session is theirs. Resolves to whether a session was ended. */
  revoke(key: string, options?: { userId?: string }): Promise<boolean>
  /** Ends all sessions of a user, but `except`. Resolves to how many. */
  revokeUser(userId: string, options?: { except?: string }): Promise<number>
  on(type: SessionEventType, listener: (event: SessionEvent) => void): () => void
  status(): Promise<SessionsStatus>
  ready(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
}
