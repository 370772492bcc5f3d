/** What a case of the adapter contract works with: servers with and without Holdfast, and their answers compared. */
import assert from 'node:assert/strict'
import { createSessions } from '../sessions.ts'
import { isolated } from '../strategies/isolated.ts'
import type { Session, SessionEvent, Sessions } from '../types.ts'
import type { AdapterUnderTest, ContractApp, ContractServer, ServeOptions } from './adapter-contract.ts'
import { CommitControl, controlled } from './commit-control.ts'
import { exchange, header, headerValues, type RawAnswer, requestText } from './raw-http.ts'
import type { Data } from './visit.ts'

const SECRET = 'a secret of the adapter contract, 32 bytes or more'

export interface Served {
  readonly port: number
  readonly sessions: Sessions<Data>
  readonly control: CommitControl
  readonly events: readonly SessionEvent[]
  /** What was written to the logger. */
  readonly logged: readonly string[]
}

export interface Bench {
  /** A server with Holdfast. Its path `/read` answers with the session's data. */
  serve(app: ContractApp, options?: Pick<ServeOptions, 'onCommitError'>): Promise<Served>
  /** The same server without. */
  serveBare(app: ContractApp): Promise<ContractServer>
  /** The answers with Holdfast, after comparing them with those of the same server without. */
  asWithout(app: ContractApp, text: string): Promise<{ answers: RawAnswer[]; served: Served }>
  close(): Promise<void>
}

export function adapterBench(adapter: AdapterUnderTest): Bench {
  const closers: (() => Promise<void>)[] = []

  async function serve(app: ContractApp, options: Pick<ServeOptions, 'onCommitError'> = {}): Promise<Served> {
    const control = new CommitControl()
    const events: SessionEvent[] = []
    const logged: string[] = []
    const log = (message: unknown): number => logged.push(String(message))
    const sessions = createSessions<Data>({
      secrets: SECRET,
      strategy: controlled(isolated(), control),
      cookie: { secure: false },
      logger: { warn: log, error: log },
      onEvent: (event) => events.push(event),
    })
    closers.push(() => sessions.close())
    const server = await adapter.serve(withReading(app), sessions, { ...options, bareSession: bareSession() })
    closers.push(() => server.close())
    return { port: server.port, sessions, control, events, logged }
  }

  async function serveBare(app: ContractApp): Promise<ContractServer> {
    const server = await adapter.serve(withReading(app), undefined, { bareSession: bareSession() })
    closers.push(() => server.close())
    return server
  }

  return {
    serve,
    serveBare,
    async asWithout(app, text) {
      const bare = await serveBare(app)
      const served = await serve(app)
      const expected = await exchange(bare.port, text)
      const answers = await exchange(served.port, text)
      assert.deepEqual(answers.map(comparable), expected.map(comparable))
      return { answers, served }
    },
    async close() {
      for (const close of closers.reverse()) await close()
    },
  }
}

/** Everything but the time and what a session adds. */
export function comparable(answer: RawAnswer): unknown {
  const headers = answer.headers
    .filter(([name, value]) => name !== 'date' && name !== 'cache-control' && !(name === 'set-cookie' && isSessionCookie(value)))
    .map(([name, value]) => [name, name === 'vary' ? withoutCookie(value) : value])
    .filter(([name, value]) => name !== 'vary' || value !== '')
  const sorted = headers.toSorted(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0))
  return { ...answer, headers: sorted, body: answer.body.toString('latin1') }
}

function withoutCookie(vary: string): string {
  const tokens = vary.split(',').map((token) => token.trim())
  return tokens.filter((token) => token.toLowerCase() !== 'cookie').join(', ')
}

function isSessionCookie(setCookie: string): boolean {
  return /^session(-[^=]*)?=/.test(setCookie)
}

/** The session cookies an answer sets, ready for a Cookie header; an assertion fails when there is none. */
export function sessionCookie(answer: RawAnswer | undefined): string {
  assert.ok(answer, 'there is an answer')
  const set = headerValues(answer, 'set-cookie').filter(isSessionCookie)
  assert.ok(set.length > 0, 'the answer sets the session cookie')
  assert.match(header(answer, 'cache-control') ?? '', /no-store/, 'an answer that sets a session cookie is not cached')
  return set.map((each) => each.slice(0, each.indexOf(';'))).join('; ')
}

export function setsSessionCookie(answer: RawAnswer): boolean {
  return headerValues(answer, 'set-cookie').some(isSessionCookie)
}

/** What a next request of the same visitor reads. */
export async function readBack(served: Served, cookie: string): Promise<Data> {
  const [answer] = await exchange(served.port, requestText('/read', { headers: { Cookie: cookie } }))
  assert.equal(answer?.status, 200)
  return JSON.parse(answer.body.toString()) as Data
}

/** Sessions that are stored on this server. */
export async function storedCount(served: Served): Promise<number> {
  return (await served.sessions.status()).sessions ?? 0
}

function withReading({ node, fetch }: ContractApp): ContractApp {
  return {
    ...(node !== undefined && {
      node: (request, response, session) => {
        if (request.url !== '/read') return node(request, response, session)
        response.end(JSON.stringify(session.data))
      },
    }),
    ...(fetch !== undefined && {
      fetch: (request, session) => (new URL(request.url).pathname === '/read' ? Response.json(session.data) : fetch(request, session)),
    }),
  }
}

function bareSession(): Session<Data> {
  return { data: {}, isNew: true, login: async () => undefined } as unknown as Session<Data>
}
