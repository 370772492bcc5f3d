/** A site of three servers with sessions in cookies, behind one address that takes them in turn: for browsers and jars. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeSessions } from '../../src/adapters/node.ts'
import { SessionError } from '../../src/errors.ts'
import { createSessions } from '../../src/sessions.ts'
import { cookieBased, type CookieBasedOptions } from '../../src/strategies/cookie-based.ts'
import type { Session } from '../../src/types.ts'

type Data = Record<string, unknown>

export interface CookieSite {
  readonly url: string
  /** Answers by status. */
  readonly statuses: ReadonlyMap<number, number>
  /** The longest `Cookie` header that came. */
  readonly mostHeaderBytes: number
  close(): Promise<void>
}

const SERVERS = 3
const PAGE = '<!doctype html><title>cookies</title>'

/** `POST /set` assigns the fields of its body, `POST /add` adds them, `GET /session` reads; `?before=MS&after=MS` wait around that. */
export async function startCookieSite(options: () => CookieBasedOptions): Promise<CookieSite> {
  const statuses = new Map<number, number>()
  let mostHeaderBytes = 0
  const all = Array.from({ length: SERVERS }, (_, index) =>
    createSessions<Data>({
      secrets: 'a secret for tests, long enough to be one',
      strategy: cookieBased(options()),
      node: `n${index + 1}`,
      cookie: { name: 'session', secure: false },
    }),
  )
  const listeners: RequestListener[] = all.map((sessions) =>
    nodeSessions(sessions)((request, response, session) =>
      run(request, response, session).catch((error: unknown) => {
        const [status, code] = SessionError.is(error) ? [error.status, error.code] : [500, String(error)]
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code }))
      }),
    ),
  )
  let turn = 0
  const server = createServer((request, response) => {
    mostHeaderBytes = Math.max(mostHeaderBytes, request.headers.cookie?.length ?? 0)
    response.once('finish', () => statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1))
    if (request.url === '/') response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE)
    else listeners[turn++ % SERVERS]?.(request, response)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    socket.end(`HTTP/1.1 ${status} refused\r\nconnection: close\r\n\r\n`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    statuses,
    get mostHeaderBytes(): number {
      return mostHeaderBytes
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await Promise.all(all.map((sessions) => sessions.close()))
    },
  }
}

async function run(request: IncomingMessage, response: ServerResponse, session: Session<Data>): Promise<void> {
  const { pathname, searchParams } = new URL(request.url as string, 'http://site.test')
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString()) as Data)
  await sleep(Number(searchParams.get('before') ?? 0))
  if (pathname === '/set') Object.assign(session.data, body)
  if (pathname === '/add') for (const [name, by] of Object.entries(body)) session.add(name, by as number)
  await session.save()
  await sleep(Number(searchParams.get('after') ?? 0))
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(pathname === '/session' ? session.data : {}))
}
