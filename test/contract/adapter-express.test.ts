/** What is particular to Express: its routers, its own ways to answer and its error handling. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import express, { type ErrorRequestHandler, type Express, type Response as ExpressResponse } from 'express'
import { afterEach, describe, expect, test } from 'vitest'
import { expressSessions } from '../../src/adapters/express.ts'
import { SessionError } from '../../src/errors.ts'
import { createSessions } from '../../src/sessions.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import { comparable, sessionCookie, setsSessionCookie } from '../../src/testing/adapter-bench.ts'
import { CommitControl, controlled } from '../../src/testing/commit-control.ts'
import { exchange, header, headerValues, type RawAnswer, requestText } from '../../src/testing/raw-http.ts'
import type { Sessions } from '../../src/types.ts'
import { listen } from '../setup/adapter-servers.ts'

type Data = { item?: string }
const SECRET = 'a secret of the Express tests, 32 bytes or more'
const FILE = fileURLToPath(import.meta.url)
const closers: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function newSessions(control = new CommitControl(), name = 'session'): Sessions<Data> {
  const sessions = createSessions<Data>({ secrets: SECRET, strategy: controlled(isolated(), control), cookie: { secure: false, name } })
  closers.push(() => sessions.close())
  return sessions
}

async function serve(app: Express): Promise<number> {
  const server = await listen(app)
  closers.push(() => server.close())
  return server.port
}

const newApp = (): Express => express().disable('x-powered-by').set('env', 'test')

async function answerOf(app: Express, text = requestText('/')): Promise<RawAnswer> {
  const [answer] = await exchange(await serve(app), text)
  return answer as RawAnswer
}

const quiet: ErrorRequestHandler = (error: Error & { status?: number; code?: string }, _request, response, next) => {
  if (response.headersSent) return next(error)
  response.status(error.status ?? 500).json({ handled: error.code ?? error.message })
}

describe('expressSessions', () => {
  const answers: [name: string, answer: (response: ExpressResponse) => unknown, headers?: Record<string, string>][] = [
    ['json', (response) => response.status(201).json({ ok: true })],
    ['send text', (response) => response.send('text')],
    ['send bytes', (response) => response.send(Buffer.from([1, 2, 3]))],
    ['sendStatus', (response) => response.sendStatus(202)],
    ['redirect', (response) => response.redirect(303, '/next')],
    ['other cookies', (response) => response.cookie('a', '1').cookie('b', '2').clearCookie('c').end()],
    ['sendFile', (response) => response.sendFile(FILE)],
    ['sendFile of a range', (response) => response.sendFile(FILE), { Range: 'bytes=5-50' }],
    ['sendFile of an impossible range', (response) => response.sendFile(FILE), { Range: 'bytes=9999999-' }],
    ['sendFile not modified', (response) => response.sendFile(FILE), { 'If-Modified-Since': 'Fri, 01 Jan 2100 00:00:00 GMT' }],
    ['sendFile of no file', (response) => response.sendFile(`${FILE}.none`)],
    ['download', (response) => response.download(FILE)],
    ['json not modified', (response) => response.json({ ok: true }), { 'If-None-Match': '*' }],
    ['vary and format', (response) => response.format({ json: () => response.json({}), text: () => response.send('x') })],
  ]

  test.each(answers)('%s - is answered as without Holdfast, with the cookie', async (_name, answer, headers = {}) => {
    for (const method of ['GET', 'HEAD']) {
      const text = requestText('/', { method, headers })
      const sessions = newSessions()
      const bare = newApp()
        .use((_request, response) => void answer(response))
        .use(quiet)
      const held = newApp().use(expressSessions(sessions))
      held.use((request, response) => {
        sessions.of(request).data.item = 'tea'
        answer(response)
      })
      const expected = await answerOf(bare, text)
      const actual = await answerOf(held.use(quiet), text)
      expect(comparable(actual)).toEqual(comparable(expected))
      sessionCookie(actual)
    }
  })

  test('mounted twice, and on a nested app and router, it opens one session and sets one cookie', async () => {
    const sessions = newSessions()
    const control = expressSessions(sessions)
    const router = express.Router().use(control)
    router.get('/deep', (request, response) => {
      sessions.of(request).data.item = 'tea'
      response.json({ item: sessions.of(request).data.item })
    })
    const nested = newApp().use(control).use('/router', router)
    const answer = await answerOf(newApp().use(control).use(control).use('/app', nested), requestText('/app/router/deep'))
    expect(answer.body.toString()).toBe('{"item":"tea"}')
    expect(headerValues(answer, 'set-cookie')).toHaveLength(1)
  })

  test('two kinds of sessions on one request are stored both, or the answer is an error', async () => {
    const control = new CommitControl()
    const [users, carts] = [newSessions(control, 'session-a'), newSessions(undefined, 'session-b')]
    const app = newApp().use(expressSessions(users)).use(expressSessions(carts))
    app.use((request, response) => {
      users.of(request).data.item = 'tea'
      carts.of(request).data.item = 'coffee'
      response.send('both')
    })
    const port = await serve(app)
    const [stored] = await exchange(port, requestText('/'))
    expect(headerValues(stored as RawAnswer, 'set-cookie').map((each) => each.slice(0, 9))).toEqual(['session-a', 'session-b'])
    control.failure = new SessionError('STORE_UNAVAILABLE', 'Try again.')
    const [failed] = await exchange(port, requestText('/'))
    expect([failed?.status, setsSessionCookie(failed as RawAnswer)]).toEqual([503, false])
  })

  test('skip - a skipped request has no session', async () => {
    const sessions = newSessions()
    const app = newApp().use(expressSessions(sessions, { skip: (request) => request.url === '/health' }))
    app.use((request, response) => void response.json(sessions.of(request).isNew))
    expect((await answerOf(app.use(quiet), requestText('/health'))).body.toString()).toBe('{"handled":"NO_SESSION"}')
  })

  test("a session that cannot be opened goes to Express's error handling", async () => {
    const sessions = newSessions()
    const { cookie } = await sessions.create({ data: { item: 'tea' } })
    const crossSite = requestText('/', {
      method: 'POST',
      headers: { Cookie: cookie, 'Sec-Fetch-Site': 'cross-site', 'Content-Length': '0' },
    })
    const app = newApp().use(expressSessions(sessions))
    app.use((_request, response) => void response.send('handled'))
    expect((await answerOf(newApp().use(app), crossSite)).status).toBe(403)
    expect((await answerOf(app.use(quiet), crossSite)).body.toString()).toBe('{"handled":"CROSS_SITE_REFUSED"}')
  })

  test('a session that cannot be stored never reaches next(error)', async () => {
    const control = new CommitControl()
    const sessions = newSessions(control)
    control.failure = new SessionError('STORE_UNAVAILABLE', 'Try again.', { headers: { 'retry-after': '3' } })
    const app = newApp().use(expressSessions(sessions))
    app.use((request, response) => {
      sessions.of(request).data.item = 'tea'
      response.json({ ok: true })
    })
    const answer = await answerOf(app.use(quiet))
    expect([answer.status, header(answer, 'retry-after'), header(answer, 'etag')]).toEqual([503, '3', undefined])
    expect(JSON.parse(answer.body.toString())).toEqual({ error: { code: 'STORE_UNAVAILABLE', message: 'Try again.' } })
  })

  test('an async handler that rejects after its answer: that answer leaves whole, the error handler sees it as sent', async () => {
    const sessions = newSessions()
    let sawHeadersSent: boolean | undefined
    const app = newApp().use(expressSessions(sessions))
    // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 forwards the rejection
    app.use(async (request, response) => {
      sessions.of(request).data.item = 'tea'
      response.json({ ok: true })
      await Promise.resolve()
      throw new Error('after the answer')
    })
    app.use(((error, _request, response, next) => {
      sawHeadersSent = response.headersSent
      next(error)
    }) as ErrorRequestHandler)
    const answer = await answerOf(app)
    expect([answer.status, answer.whole, answer.body.toString(), sawHeadersSent]).toEqual([200, true, '{"ok":true}', true])
    sessionCookie(answer)
  })

  test('an error page made by an error handler commits what was changed before', async () => {
    const sessions = newSessions()
    const app = newApp().use(expressSessions(sessions))
    app.use((request) => {
      sessions.of(request).data.item = 'tea'
      throw new Error('in the handler')
    })
    const port = await serve(app.use(quiet))
    const [failed] = await exchange(port, requestText('/'))
    expect(failed?.status).toBe(500)
    const found = await sessions.list()[Symbol.asyncIterator]().next()
    expect(found.done).toBe(false)
    sessionCookie(failed)
  })

  test('a server without Express calls it the same way', async () => {
    const sessions = newSessions()
    const mount = expressSessions(sessions)
    const server = createServer((request, response) => {
      mount(request, response, (error) => {
        expect(error).toBeUndefined()
        sessions.of(request).data.item = 'tea'
        response.end('plain')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closers.push(async () => void server.close())
    const [answer] = await exchange((server.address() as { port: number }).port, requestText('/'))
    expect(answer?.body.toString()).toBe('plain')
    sessionCookie(answer)
  })
})
