/** The shop every server of the lab runs: the smallest application that shows what happens to a session. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeSessions } from '../adapters/node.ts'
import type { Session, Sessions } from '../types.ts'
import { answerError, answerJson } from './answer.ts'
import { type JsonObject, readJsonObject } from './json-body.ts'
import { labError } from './lab-error.ts'
import type { Pages } from './pages.ts'
import type { Witness } from './witness.ts'

const MAX_BODY_BYTES = 65_536
const MAX_DELAY_MS = 10_000
const MAX_FIELD_BYTES = 128
const MAX_USER_LENGTH = 64

export type ShopData = Record<string, unknown>
type ShopSession = Session<ShopData>

export interface ShopOptions {
  readonly node: string
  readonly sessions: Sessions<ShopData>
  readonly pages: Pages
  readonly witness: Witness
  readonly controlUrl: string
  /** Called with each request's session before the handler: the lab watches for forgotten visitors here. */
  readonly opened: (request: IncomingMessage, session: ShopSession) => void
}

interface Visit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly session: ShopSession
  readonly delayMs: number
}
type Handler = (visit: Visit) => Promise<void>

export function createShop(options: ShopOptions): RequestListener {
  const { node, sessions, pages, witness } = options
  const handlers = shopHandlers(node, sessions)
  const withSession = nodeSessions(sessions)(async (request, response, session) => {
    try {
      const { pathname, searchParams } = target(request)
      options.opened(request, session)
      witness.check(request, session)
      const handler = handlers[pathname]?.[request.method ?? ''] as Handler
      await handler({ request, response, session, delayMs: delayOf(searchParams) })
    } catch (error) {
      answerError(response, error)
    }
  })
  return (request, response) => {
    response.setHeader('x-lab-node', node)
    route(request, response).catch((error: unknown) => answerError(response, error))
  }

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = target(request)
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '')
    if (method === 'GET' && pages.asset(pathname, response)) return
    if (pathname === '/') return servePage(method, searchParams, response)
    const methods = handlers[pathname]
    if (methods === undefined) throw labError(404, 'NOT_FOUND', 'The shop has no such page.')
    if (methods[request.method ?? ''] === undefined) {
      response.setHeader('allow', Object.keys(methods).join(', '))
      throw labError(405, 'METHOD_NOT_ALLOWED', `Use ${Object.keys(methods).join(' or ')} here.`)
    }
    delayOf(searchParams)
    withSession(request, response)
  }

  /** The page needs no session, so it comes up even while sessions cannot be reached. */
  async function servePage(method: string, query: URLSearchParams, response: ServerResponse): Promise<void> {
    if (method !== 'GET') {
      response.setHeader('allow', 'GET')
      throw labError(405, 'METHOD_NOT_ALLOWED', 'Use GET here.')
    }
    await pause(delayOf(query))
    pages.page(response, { CONTROL_URL: options.controlUrl })
  }
}

function shopHandlers(node: string, sessions: Sessions<ShopData>): Readonly<Record<string, Readonly<Record<string, Handler>>>> {
  function answer({ response, session }: Visit, wrote: boolean): void {
    const key = session.isNew && !wrote ? null : session.key
    answerJson(response, 200, { node, isNew: session.isNew, user: session.userId ?? null, key, data: session.data })
  }
  const read: Handler = async (visit) => {
    await pause(visit.delayMs)
    answer(visit, false)
  }
  const patch: Handler = async (visit) => {
    const fields = checkFields(await readJsonObject(visit.request, MAX_BODY_BYTES))
    await pause(visit.delayMs)
    for (const [name, value] of fields) {
      if (value === null) delete visit.session.data[name]
      else visit.session.data[name] = value
    }
    answer(
      visit,
      fields.some(([, value]) => value !== null),
    )
  }
  const add: Handler = async (visit) => {
    const fields = checkAmounts(await readJsonObject(visit.request, MAX_BODY_BYTES))
    await pause(visit.delayMs)
    for (const [name, by] of fields) visit.session.add(name, by)
    answer(visit, fields.length > 0)
  }
  const login: Handler = async (visit) => {
    const user = checkUser(await readJsonObject(visit.request, MAX_BODY_BYTES))
    await pause(visit.delayMs)
    await visit.session.login(user)
    answer(visit, true)
  }
  const logout: Handler = async ({ session, response, delayMs }) => {
    await pause(delayMs)
    await session.logout()
    response.writeHead(204).end()
  }
  const logoutEverywhere: Handler = async ({ session, response, delayMs }) => {
    await pause(delayMs)
    // This one goes last and by its own request, so that its cookies are cleaned away too.
    if (session.userId !== undefined) await sessions.revokeUser(session.userId, { except: session.key })
    await session.logout()
    response.writeHead(204).end()
  }
  return {
    '/session': { GET: read, PATCH: patch },
    '/session/add': { POST: add },
    '/login': { POST: login },
    '/logout': { POST: logout },
    '/logout-everywhere': { POST: logoutEverywhere },
  }
}

function target(request: IncomingMessage): URL {
  const url = URL.parse(request.url ?? '/', 'http://shop.invalid')
  if (url === null) throw labError(400, 'URL_INVALID', 'The address is not valid.')
  return url
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await sleep(ms)
}

function delayOf(query: URLSearchParams): number {
  const raw = query.get('delay')
  if (raw === null) return 0
  if (/^\d{1,5}$/.test(raw) && Number(raw) <= MAX_DELAY_MS) return Number(raw)
  throw labError(400, 'DELAY_INVALID', `delay must be a whole number of milliseconds, at most ${MAX_DELAY_MS}.`)
}

function checkFields(body: JsonObject): [name: string, value: unknown][] {
  const fields = Object.entries(body)
  for (const [name] of fields) {
    if (name !== '' && Buffer.byteLength(name) <= MAX_FIELD_BYTES) continue
    throw labError(400, 'FIELD_NAME_INVALID', `A field's name must have 1 to ${MAX_FIELD_BYTES} bytes.`)
  }
  return fields
}

function checkAmounts(body: JsonObject): [name: string, by: number][] {
  return checkFields(body).map(([name, by]) => {
    if (typeof by === 'number' && Number.isSafeInteger(by)) return [name, by]
    throw labError(400, 'AMOUNT_INVALID', 'Each amount must be a whole number: { "visits": 1 }.')
  })
}

function checkUser(body: JsonObject): string {
  const { user } = body
  if (typeof user === 'string' && user.length > 0 && user.length <= MAX_USER_LENGTH) return user
  throw labError(400, 'USER_INVALID', `user must be a text of 1 to ${MAX_USER_LENGTH} characters: { "user": "ada" }.`)
}
