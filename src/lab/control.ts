/**
 * The control API and page. Loopback only, JSON only, never for foreign pages. Beside what the lab's description lists:
 *
 * | request | does |
 * |---|---|
 * | `GET /api/sessions` | `{ sessions: [{ key, userId }] }`: the newest live sessions, at most 30 |
 * | `GET /api/sessions/KEY` | where the session lives now: `{ key, fate, userId, holders: [{ node, role }], silent, inStore, inJar, jarBytes }` |
 * | `POST /api/visitors` with `{ "count": n }` | n visitors come, who return every 2 s for a minute: `{ created, visiting }` |
 * | `POST /api/visitors/return` | each of them comes back once, at once; answers `{ visiting }` when they have |
 * | `GET /api/traffic` · `PUT` with `{ visitors?, requestsPerSecond?, writePercent?, sessionBytes? }` | a standing crowd; answers with the settings |
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { answerError, answerJson } from './answer.ts'
import { checkChoice, optionsFor, type StrategyOptions, strategyName, wholeNumber } from './choice.ts'
import type { Cluster, NodeAction } from './cluster-types.ts'
import { refuseForeign } from './control-guard.ts'
import type { EventStream } from './event-stream.ts'
import { hasBody, type JsonObject, readJsonObject } from './json-body.ts'
import { labError } from './lab-error.ts'
import { loadPages, setPageHeaders } from './pages.ts'
import { checkTraffic, type Traffic } from './traffic.ts'
import { VISITORS_MAX, type Visitors } from './visitors.ts'

const MAX_BODY_BYTES = 16_384
const NEWEST = 30
/** SHA-256 in base64url. */
const KEY = /^[\w-]{43}$/
const ACTIONS: readonly NodeAction[] = ['kill', 'start', 'pause', 'resume', 'drain']

export interface ControlOptions {
  readonly port: number
  readonly cluster: Cluster
  readonly stream: EventStream
  readonly visitors: Visitors
  readonly traffic: Traffic
  /** Options given at the start: they hold for each strategy that uses them. */
  readonly defaults: StrategyOptions
}

export interface Control {
  listen(): Promise<void>
  close(): void
}

export function createControl(options: ControlOptions): Control {
  const { cluster, stream, traffic, visitors, port } = options
  const pages = loadPages('control')
  const server: Server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => {
      setPageHeaders(response)
      answerError(response, error)
    })
  })

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    refuseForeign(request, port)
    const { pathname } = URL.parse(request.url ?? '/', 'http://control.invalid') ?? { pathname: '' }
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '')
    if (method === 'GET' && pages.asset(pathname, response)) return
    const methods = find(pathname)
    const handler = methods[method]
    if (handler === undefined) {
      response.setHeader('allow', Object.keys(methods).join(', '))
      throw labError(405, 'METHOD_NOT_ALLOWED', `Use ${Object.keys(methods).join(' or ')} here.`)
    }
    setPageHeaders(response)
    response.setHeader('cache-control', 'no-store')
    await handler(response, request)
  }

  type Handler = (response: ServerResponse, request: IncomingMessage) => unknown
  const routes: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
    '/': { GET: (response) => pages.page(response) },
    '/api/cluster': { GET: answerCluster },
    '/api/events': { GET: (response) => stream.open(response, { name: 'cluster', data: cluster.view() }) },
    '/api/strategy': { PUT: putStrategy },
    '/api/nodes': { POST: addNode },
    '/api/sessions': { GET: (response) => answerJson(response, 200, { sessions: cluster.newest(NEWEST) }) },
    '/api/traffic': { GET: (response) => answerJson(response, 200, traffic.settings()), PUT: putTraffic },
    '/api/visitors': { POST: sendVisitors },
    '/api/visitors/return': { POST: returnVisitors },
  }

  function find(pathname: string): Readonly<Record<string, Handler>> {
    const [, , area, id = '', action, more] = pathname.split('/')
    if (pathname.startsWith('/api/sessions/') && action === undefined && KEY.test(id)) return { GET: (response) => locate(id, response) }
    if (area !== 'nodes' || id === '' || !pathname.startsWith('/api/') || more !== undefined) {
      const known = routes[pathname]
      if (known !== undefined) return known
    } else if (action === undefined) {
      return { DELETE: (response, request) => removeNode(id, response, request) }
    } else {
      const known = ACTIONS.find((name) => name === action)
      if (known !== undefined) return { POST: (response, request) => act(id, known, response, request) }
    }
    throw labError(404, 'NOT_FOUND', 'The lab has no such address.')
  }

  async function answerCluster(response: ServerResponse): Promise<void> {
    await cluster.refresh()
    answerJson(response, 200, cluster.view())
  }

  async function putStrategy(response: ServerResponse, request: IncomingMessage): Promise<void> {
    const body = await readJsonObject(request, MAX_BODY_BYTES)
    const given = body['options'] ?? {}
    if (typeof given !== 'object' || Array.isArray(given)) throw labError(400, 'OPTION_INVALID', 'options must be an object.')
    const strategy = strategyName(body['strategy'])
    const checked = checkChoice(strategy, given as JsonObject)
    visitors.forget()
    await traffic.renew(cluster.setStrategy({ strategy, options: { ...optionsFor(strategy, options.defaults), ...checked.options } }))
    await answerCluster(response)
  }

  async function addNode(response: ServerResponse, request: IncomingMessage): Promise<void> {
    await noOtherBody(request)
    answerJson(response, 201, await cluster.add())
  }

  async function removeNode(id: string, response: ServerResponse, request: IncomingMessage): Promise<void> {
    await noOtherBody(request)
    await cluster.remove(id)
    response.writeHead(204).end()
  }

  async function act(id: string, action: NodeAction, response: ServerResponse, request: IncomingMessage): Promise<void> {
    await noOtherBody(request)
    answerJson(response, 200, await cluster.act(id, action))
  }

  async function sendVisitors(response: ServerResponse, request: IncomingMessage): Promise<void> {
    const body = await readJsonObject(request, MAX_BODY_BYTES)
    const created = await visitors.send(wholeNumber(body['count'], 'count', 1, VISITORS_MAX))
    answerJson(response, 201, { created, visiting: visitors.count() })
  }

  async function returnVisitors(response: ServerResponse, request: IncomingMessage): Promise<void> {
    await noOtherBody(request)
    await visitors.returnAll()
    answerJson(response, 200, { visiting: visitors.count() })
  }

  async function putTraffic(response: ServerResponse, request: IncomingMessage): Promise<void> {
    traffic.set(checkTraffic(await readJsonObject(request, MAX_BODY_BYTES), traffic.settings()))
    answerJson(response, 200, traffic.settings())
  }

  async function locate(key: string, response: ServerResponse): Promise<void> {
    const visitor = visitors.find(key) ?? traffic.find(key)
    answerJson(response, 200, { ...(await cluster.locate(key)), jarBytes: visitor?.jarBytes() ?? null })
  }

  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, '127.0.0.1', () => {
          server.off('error', reject)
          server.on('error', () => undefined)
          resolve()
        })
      }),
    close() {
      stream.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

/** These take no options: a body is allowed, but only as JSON. */
async function noOtherBody(request: IncomingMessage): Promise<void> {
  if (hasBody(request) || request.headers['content-type'] !== undefined) {
    if (hasBody(request)) await readJsonObject(request, MAX_BODY_BYTES)
    else if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) throw labError(415, 'JSON_ONLY', 'Send JSON only.')
  }
}
