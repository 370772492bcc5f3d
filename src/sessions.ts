/** `createSessions`: checks the options, starts the strategy, opens a session per request. */
import type { IncomingMessage } from 'node:http'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { cookieWriter } from './core/cookie.ts'
import { isCrossSite } from './core/cross-site.ts'
import { Fields } from './core/fields.ts'
import { jarReader, type PresentedJar, TOKEN_HEADER } from './core/jar.ts'
import { keyRing } from './core/keys.ts'
import { endOf } from './core/lifetime.ts'
import type { MountableSessions } from './core/mount.ts'
import { isEnded } from './core/refusals.ts'
import { watchReturning } from './core/returning.ts'
import { roots as createRoots } from './core/root.ts'
import { systemRuntime } from './core/runtime.ts'
import { signals as createSignals } from './core/signals.ts'
import type { Engine } from './engine.ts'
import { SessionError } from './errors.ts'
import { eventHub } from './events.ts'
import { beginRequest, beginUnreadable } from './opening.ts'
import { type Settings, settingsOf } from './options.ts'
import { RequestSession } from './request-session.ts'
import { fieldRules } from './schema.ts'
import type { MaybePromise, RecordView, Runtime } from './seam.ts'
import type {
  BaseOptions,
  CreatedSession,
  OpenSession,
  PlainOptions,
  RequestView,
  SchemaOptions,
  Session,
  SessionEvent,
  SessionEventType,
  Sessions,
  SessionsStatus,
  SessionSummary,
} from './types.ts'

const VARY = { cookie: 'Cookie', header: TOKEN_HEADER, both: `Cookie, ${TOKEN_HEADER}` } as const
const TOUCH_WARNING_EVERY_MS = 60_000

/**
 * Sessions over the given strategy. Options are checked once, here: CONFIG_INVALID names all problems together.
 * A missing, expired or forged token is not an error: it is a new session.
 */
export function createSessions<S extends StandardSchemaV1<any, object>>(
  options: SchemaOptions<S>,
): Sessions<StandardSchemaV1.InferOutput<S>>
export function createSessions<D extends object = Record<string, unknown>>(options: PlainOptions<D>): Sessions<D>
export function createSessions<D extends object>(options: SchemaOptions<StandardSchemaV1<any, D>> | PlainOptions<D>): Sessions<D> {
  return createSessionsWith(options as BaseOptions<D>, systemRuntime())
}

/** As `createSessions`, with clock, timers and randomness given: for `holdfast/testing` and simulations. */
export function createSessionsWith<D extends object>(options: BaseOptions<D>, runtime: Runtime): Sessions<D> {
  return new SessionsOf<D>(options, settingsOf(options, process.env), runtime)
}

class SessionsOf<D extends object> implements MountableSessions<D> {
  readonly #engine: Engine
  readonly #settings: Settings
  readonly #mount: symbol = Symbol('holdfast session')
  readonly #hub: ReturnType<typeof eventHub>
  readonly #stopWatching: (() => void) | undefined
  #closed = false
  #touchWarnedAt = Number.NEGATIVE_INFINITY

  constructor(options: BaseOptions<D>, settings: Settings, own: Runtime) {
    let now = own.now
    const runtime: Runtime = { ...own, now: () => now() }
    this.#settings = settings
    this.#hub = eventHub(settings, runtime)
    const keys = keyRing(settings.secrets, settings.cookie.name)
    this.#stopWatching = settings.secretSource?.watch(own, keys.replace, settings.logger)
    const roots = createRoots(keys, runtime)
    const signals = createSignals(runtime)
    const { rules, checkForCommit } = fieldRules(options, settings, this.#hub.emit)
    const strategy = settings.strategy.start({
      node: settings.node,
      runtime: own,
      steer: (agreed) => {
        now = agreed
      },
      keys,
      cookieName: settings.cookie.name,
      limits: settings.limits,
      emit: this.#hub.emit,
      ended: (key) => signals.abort(key),
      isWatched: (key) => signals.isOpen(key),
      review: () => signals.review(),
      logger: settings.logger,
    })
    this.#engine = {
      settings,
      runtime,
      strategy,
      roots,
      jars: jarReader(roots, settings.cookie.name, settings.carrier),
      cookies: cookieWriter(settings.cookie),
      rules,
      checkForCommit,
      signals,
      returning: watchReturning(settings.cookie.secure, (message) => settings.logger.warn(message)),
      seen: { cookies: [], headers: [['vary', VARY[settings.carrier]]] },
      emit: this.#hub.emit,
      touchFailed: (error) => this.#touchFailed(error),
    }
  }

  get logger(): Pick<Console, 'warn' | 'error'> {
    return this.#settings.logger
  }

  // ------------------------------------------------------------------ requests

  openNow(request: RequestView): MaybePromise<OpenSession<D>> {
    if (this.#closed)
      throw new SessionError('SESSIONS_CLOSED', 'sessions.close() was called: this server takes no more requests.', {
        headers: { 'retry-after': '1' },
      })
    const presented = this.#engine.jars.read(request)
    const { jar } = presented
    if (jar === undefined) return new RequestSession<D>(this.#engine, presented, undefined, undefined)
    this.#engine.returning.cameBack()
    if (presented.carrier === 'cookie' && this.#settings.crossSite === 'refuse' && isCrossSite(request)) {
      throw new SessionError(
        'CROSS_SITE_REFUSED',
        "A request of another site may not use this visitor's session: set crossSite: 'allow' if it must.",
      )
    }
    const opening = this.#engine.strategy.open(jar)
    if (opening instanceof Promise) {
      return opening.then(
        (opened) => beginRequest<D>(this.#engine, presented, jar.key, opened),
        (error: unknown) => beginUnreadable<D>(this.#engine, presented, jar.key, error),
      )
    }
    return beginRequest<D>(this.#engine, presented, jar.key, opening)
  }

  async open(request: RequestView): Promise<OpenSession<D>> {
    return this.openNow(request)
  }

  attach(carrier: object, open: OpenSession<D>): void {
    ;(carrier as Record<symbol, unknown>)[this.#mount] = open.session
  }

  of(requestOrContext: object): Session<D> {
    const carrier = requestOrContext as { req?: { raw?: object }; raw?: object; request?: object } | null | undefined
    for (const place of [carrier, carrier?.req, carrier?.req?.raw, carrier?.raw, carrier?.request]) {
      const session = typeof place === 'object' && place !== null ? (place as Record<symbol, unknown>)[this.#mount] : undefined
      if (session !== undefined) return session as Session<D>
    }
    throw new SessionError(
      'NO_SESSION',
      'This request has no session: mount the adapter, for example app.use(expressSessions(sessions)), before its routes.',
    )
  }

  async upgrade(request: IncomingMessage): Promise<Session<D>> {
    const view: RequestView = {
      method: request.method ?? 'GET',
      url: request.url ?? '/',
      header: (name) => (name === 'upgrade' ? 'websocket' : headerText(request.headers[name])),
    }
    const open = await this.open(view)
    open.headSent()
    return open.session
  }

  // ------------------------------------------------------------------ administration

  async create(options: { userId?: string; data?: Partial<D> } = {}): Promise<CreatedSession> {
    const presented: PresentedJar = { carrier: 'cookie', jar: undefined, notes: [], route: undefined }
    const open = new RequestSession<D>(this.#engine, presented, undefined, undefined)
    for (const [name, value] of Object.entries(options.data ?? {})) open.fields.set(name, value)
    if (options.userId === undefined) await open.save()
    else await open.login(options.userId, {})
    const { cookies } = await open.commit()
    const pairs = cookies.map((cookie) => cookie.slice(0, cookie.indexOf(';')))
    return { key: open.key, token: open.token(), cookie: pairs.join('; '), setCookie: cookies }
  }

  async get(key: string): Promise<(SessionSummary & { data: D }) | undefined> {
    const record = await this.#engine.strategy.get(key)
    if (record === undefined) return undefined
    return { ...summaryOf(record), data: new Fields(record, this.#engine.rules).snapshot() as D }
  }

  list(options: { userId?: string } = {}): AsyncIterable<SessionSummary> {
    return this.#engine.strategy.list(options)
  }

  async revoke(key: string, options: { userId?: string } = {}): Promise<boolean> {
    const revoked = await this.#engine.strategy.revoke(key, options)
    if (revoked) {
      this.#engine.signals.abort(key)
      this.#engine.emit('revoked', { key, ...options })
    }
    return revoked
  }

  async revokeUser(userId: string, options: { except?: string } = {}): Promise<number> {
    const count = await this.#engine.strategy.revokeUser(userId, options)
    this.#engine.emit('revoked', { userId, detail: `${count} sessions of the user` })
    return count
  }

  on(type: SessionEventType, listener: (event: SessionEvent) => void): () => void {
    return this.#hub.on(type, listener)
  }

  async status(): Promise<SessionsStatus> {
    return { strategy: this.#settings.strategy.name, node: this.#settings.node, ...(await this.#engine.strategy.status()) }
  }

  ready(): Promise<void> {
    return this.#whileAlive(() => this.#engine.strategy.ready())
  }

  drain(): Promise<void> {
    return this.#whileAlive(() => this.#engine.strategy.drain())
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#stopWatching?.()
    await this.#whileAlive(() => this.#engine.strategy.close())
    this.#engine.signals.abortAll()
  }

  /** A process that only waits for its store or its peers must not end, silently, because nothing else is open. */
  async #whileAlive(operation: () => Promise<void>): Promise<void> {
    const release = this.#engine.runtime.keepAlive?.()
    try {
      await operation()
    } finally {
      release?.()
    }
  }

  #touchFailed(error: unknown): void {
    const now = this.#engine.runtime.monotonic()
    if (isEnded(error) || now - this.#touchWarnedAt < TOUCH_WARNING_EVERY_MS) return
    this.#touchWarnedAt = now
    const why = SessionError.is(error) ? `${error.code}: ${error.message}` : String(error)
    this.#settings.logger.warn(`holdfast: the time of a request could not be recorded; the next request tries again. ${why}`)
  }
}

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

function summaryOf(record: RecordView): SessionSummary {
  const { userId, createdAt, lastActiveAt, persistent } = record.meta
  return { key: record.key, userId, createdAt, lastActiveAt, expiresAt: endOf(record.meta), persistent }
}
