/** Visitors of an Express application who go on while its store is away, and what they were answered. */
import express, { type ErrorRequestHandler } from 'express'
import { expressSessions } from '../../src/adapters/express.ts'
import { SessionError } from '../../src/errors.ts'
import type { SessionStore } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import type { SessionEventType, Sessions } from '../../src/types.ts'
import { listen } from '../setup/adapter-servers.ts'

export interface Shop {
  readonly url: string
  readonly sessions: Sessions<Data>
  readonly events: { readonly type: SessionEventType; readonly at: number }[]
  close(): Promise<void>
}

interface Data {
  visits: number
}

/** `fail` is the policy for outages. */
export async function openShop(store: SessionStore, deadlineMs: number): Promise<Shop> {
  const events: Shop['events'] = []
  const sessions = createSessions<Data>({
    secrets: 'a secret of the outage tests, 32 bytes or more',
    strategy: dedicated({ store, deadlineMs, whenDown: 'fail' }),
    cookie: { secure: false },
    initial: () => ({ visits: 0 }),
    onEvent: ({ type }) => void events.push({ type, at: performance.now() }),
    logger: { warn: () => {}, error: console.error },
  })
  await sessions.ready()
  const app = express().disable('x-powered-by').set('env', 'test').use(expressSessions(sessions))
  // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 forwards the rejection
  app.post('/login/:user', async (request, response) => {
    await sessions.of(request).login(request.params.user)
    response.json({ isNew: false })
  })
  app.get('/', (request, response) => {
    const { isNew, userId, data } = sessions.of(request)
    response.json({ isNew, user: userId, visits: data.visits })
  })
  app.post('/', (request, response) => {
    sessions.of(request).add('visits')
    // In pieces: none may leave before the commit.
    response.type('json').write('{"stored":')
    response.end('true}')
  })
  app.use(answerError)
  const server = await listen(app)
  return {
    url: `http://127.0.0.1:${server.port}`,
    sessions,
    events,
    async close() {
      await server.close()
      await sessions.close()
    },
  }
}

/** A session that cannot be opened goes to Express's error handling: as an application would answer it. */
const answerError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (response.headersSent || !SessionError.is(error)) return next(error)
  response
    .status(error.status)
    .set(error.headers ?? {})
    .json({ error: { code: error.code } })
}

export interface Answer {
  readonly method: 'GET' | 'POST'
  /** Monotonic ms. */
  readonly sentAt: number
  readonly tookMs: number
  readonly status: number
  readonly retryAfter: string | null
  readonly setsCookies: boolean
  readonly body: { isNew?: boolean; user?: string; visits?: number; stored?: boolean; error?: { code: string } }
}

const PAUSE_MS = 40
/** Far beyond every deadline: a request that takes this long hangs. */
const HANG_MS = 15_000

export class Visitor {
  readonly user: string
  readonly answers: Answer[] = []
  /** Acknowledged. */
  stored = 0
  /** Answered with an error: they may have been stored. */
  unsure = 0
  readonly #jar = new BrowserJar()
  readonly #url: string
  #leaving = false
  #visiting: Promise<void> | undefined

  constructor(url: string, user: string) {
    this.#url = url
    this.user = user
  }

  async send(method: 'GET' | 'POST', path = '/'): Promise<Answer> {
    const { header } = this.#jar
    const sentAt = performance.now()
    const headers = header === undefined ? {} : { cookie: header }
    const response = await fetch(this.#url + path, { method, headers, signal: AbortSignal.timeout(HANG_MS) })
    const body = (await response.json()) as Answer['body']
    const cookies = response.headers.getSetCookie()
    this.#jar.take(cookies)
    const tookMs = performance.now() - sentAt
    const { status } = response
    return { method, sentAt, tookMs, status, retryAfter: response.headers.get('retry-after'), setsCookies: cookies.length > 0, body }
  }

  login(): Promise<Answer> {
    return this.send('POST', `/login/${this.user}`)
  }

  async write(): Promise<Answer> {
    const answer = await this.send('POST')
    if (answer.status === 200) this.stored += 1
    else this.unsure += 1
    return answer
  }

  /** Reads and writes in turn, without end, until `leave()`. */
  goOn(): void {
    this.#visiting ??= this.#visit()
    // `leave()` tells.
    this.#visiting.catch(() => {})
  }

  async #visit(): Promise<void> {
    for (let turn = 0; !this.#leaving; turn++) {
      this.answers.push(await (turn % 2 === 0 ? this.write() : this.send('GET')))
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  async leave(): Promise<void> {
    this.#leaving = true
    await this.#visiting
  }
}
