/**
 * One server of a cluster, a process of its own: sessions over plain node:http. Its one argument is a JSON `ServerConfig`.
 * Prints `READY PORT`. Handlers that carry `?gate=NAME` wait, once their session is open, until the test opens that gate.
 */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeSessions } from '../../src/adapters/node.ts'
import { SessionError } from '../../src/errors.ts'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { replication } from '../../src/strategies/replication.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'
import type { Session } from '../../src/types.ts'

export interface ServerConfig {
  readonly node: string
  readonly secret: string
  readonly strategy: 'replication' | 'affinity' | 'cookieBased' | 'sqlite' | 'redis'
  /** Of the servers' own links. */
  readonly port: number
  readonly peers: readonly string[]
  /** The port that it tells others; default: its own. */
  readonly advertise?: number
  /** A file, or a Redis URL. */
  readonly store: string
}

type Data = Record<string, unknown>
type Handler = (session: Session<Data>, body: Data) => void | Promise<void>

const config = JSON.parse(process.argv[2] as string) as ServerConfig

function transport(): Transport {
  const { advertise, peers, port, secret } = config
  const advertised = advertise === undefined ? {} : { advertise: { host: '127.0.0.1', port: advertise } }
  return tcpTransport({ cluster: 'test', secrets: secret, host: '127.0.0.1', port, peers, ...advertised })
}

function strategy(): SessionStrategy {
  switch (config.strategy) {
    case 'replication':
      return replication({ transport: transport(), acks: 1 })
    case 'affinity':
      return affinity({ transport: transport(), backups: 1 })
    case 'cookieBased':
      return cookieBased()
    case 'sqlite':
      return dedicated({ store: sqliteStore({ file: config.store }) })
    case 'redis':
      return dedicated({ store: redisStore({ url: config.store }) })
  }
}

// ------------------------------------------------------------------ gates

class Gate {
  readonly arrived = Promise.withResolvers<void>()
  readonly opened = Promise.withResolvers<void>()
}

const gates = new Map<string, Gate>()
const gateOf = (name: string): Gate => {
  const gate = gates.get(name) ?? new Gate()
  gates.set(name, gate)
  return gate
}

async function hold(query: URLSearchParams): Promise<void> {
  await sleep(Number(query.get('delay') ?? 0))
  const name = query.get('gate')
  if (name === null) return
  const gate = gateOf(name)
  gate.arrived.resolve()
  await gate.opened.promise
}

/** `GET /gates/NAME`: answers once a request waits there. `POST`: opens it. */
async function answerGate(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
  if (request.method === 'POST') gateOf(name).opened.resolve()
  else await gateOf(name).arrived.promise
  answer(response, 200, {})
}

// ------------------------------------------------------------------ the application

const handlers: Readonly<Record<string, Handler>> = {
  'GET /session': () => {},
  'POST /set': ({ data }, body) => void Object.assign(data, body),
  'POST /add': (session, body) => {
    for (const [name, by] of Object.entries(body)) session.add(name, by as number)
  },
  'POST /login': (session, body) => session.login(body.user as string),
  'POST /logout': (session) => session.logout(),
}

async function bodyOf(request: IncomingMessage): Promise<Data> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString()) as Data)
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function answerError(response: ServerResponse, error: unknown): void {
  const [status, code] = SessionError.is(error) ? [error.status, error.code] : [500, String(error)]
  if (!response.headersSent) answer(response, status, { error: { code } })
}

async function run(request: IncomingMessage, response: ServerResponse, session: Session<Data>): Promise<void> {
  const { pathname, searchParams } = new URL(request.url as string, 'http://server.test')
  const handler = handlers[`${request.method} ${pathname}`]
  if (handler === undefined) return answer(response, 404, { error: { code: 'NOT_FOUND' } })
  const body = await bodyOf(request)
  // A slow reader has read before it waits.
  const wasNew = session.isNew
  const before = request.method === 'GET' ? { ...session.data } : undefined
  await hold(searchParams)
  await handler(session, body)
  answer(response, 200, { node: config.node, isNew: wasNew, user: session.userId ?? null, data: before ?? {} })
}

const sessions = createSessions<Data>({
  node: config.node,
  secrets: config.secret,
  strategy: strategy(),
  cookie: { name: 'session', secure: false },
})
const withSession = nodeSessions(sessions)((request, response, session) =>
  run(request, response, session).catch((error: unknown) => answerError(response, error)),
)
const listener: RequestListener = (request, response) => {
  const gate = /^\/gates\/([\w-]+)$/.exec(request.url as string)?.[1]
  if (gate === undefined) withSession(request, response)
  else answerGate(request, response, gate).catch((error: unknown) => answerError(response, error))
}

const server = createServer(listener)
// It listens first: timers alone do not keep this process alive while it waits (see sqlite-start.test.ts).
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
await sessions.ready()
console.log(`READY ${(server.address() as AddressInfo).port}`)
process.on('SIGTERM', () => {
  server.closeAllConnections()
  server.close()
  sessions.close().then(
    () => process.exit(0),
    () => process.exit(1),
  )
})
