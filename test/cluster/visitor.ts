/** A visitor of real servers: a browser's cookie jar with its limits, and requests over HTTP. */
import { CookieJar } from 'tough-cookie'
import type { Server } from './session-cluster.ts'

const SITE = 'http://127.0.0.1/'
/** What browsers keep of one cookie, and of one site. */
const COOKIE_BYTES = 4_096
const COOKIES_MAX = 180
/** Node answers 431 above 16 KB of headers. */
const HEADER_BYTES = 15_000
const DEADLINE_MS = 20_000

export interface Answer {
  readonly status: number
  readonly cookies: readonly string[]
  readonly isNew: boolean
  readonly user: string | null
  readonly data: Record<string, unknown>
  /** Of an error. */
  readonly code: string | undefined
}

export interface Request {
  readonly path: `${'GET' | 'POST'} /${string}`
  readonly body?: object
}

export class Visitor {
  readonly #jar: CookieJar
  /** The longest `Cookie` header sent. */
  mostHeaderBytes = 0

  constructor(jar: CookieJar = new CookieJar()) {
    this.#jar = jar
  }

  copy(): Visitor {
    return new Visitor(this.#jar.cloneSync() as CookieJar)
  }

  get cookieNames(): string[] {
    return this.#jar.getCookiesSync(SITE).map(({ key }) => key)
  }

  /** Takes an answer's cookies, as a browser that refuses what is too large. */
  take({ cookies }: Pick<Answer, 'cookies'>): void {
    for (const text of cookies) {
      const pair = text.split(';', 1)[0] as string
      if (Buffer.byteLength(pair) > COOKIE_BYTES) throw new Error(`a browser refuses a cookie of ${pair.length} bytes`)
      this.#jar.setCookieSync(text, SITE)
    }
    if (cookies.length > 0 && this.cookieNames.length > COOKIES_MAX) throw new Error(`a browser evicts: ${this.cookieNames.length} cookies`)
  }

  /** Sends a request with the jar as it is now. The jar takes nothing yet. Rejects when the connection fails. */
  async send(server: Server, { path, body }: Request): Promise<Answer> {
    const [method, target] = path.split(' ') as [string, string]
    const cookie = this.#jar.getCookieStringSync(SITE)
    if (cookie.length > HEADER_BYTES) throw new Error(`a Cookie header of ${cookie.length} bytes`)
    this.mostHeaderBytes = Math.max(this.mostHeaderBytes, cookie.length)
    const response = await fetch(server.url + target, {
      method,
      headers: cookie === '' ? {} : { cookie },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
    const answer = (await response.json()) as Partial<Answer> & { error?: { code: string } }
    return {
      status: response.status,
      cookies: response.headers.getSetCookie(),
      isNew: answer.isNew ?? true,
      user: answer.user ?? null,
      data: answer.data ?? {},
      code: answer.error?.code,
    }
  }

  /** A request whose answer reaches the jar before anything else happens; anything but 200 is an error. */
  async visit(server: Server, request: Request): Promise<Answer> {
    const answer = await this.send(server, request)
    if (answer.status !== 200) throw new Error(`${request.path}: ${answer.status} ${answer.code}`)
    this.take(answer)
    return answer
  }

  /** What a fresh request reads; undefined: a stranger. */
  async read(server: Server): Promise<Record<string, unknown> | undefined> {
    const { data, isNew } = await this.visit(server, { path: 'GET /session' })
    return isNew ? undefined : data
  }
}
