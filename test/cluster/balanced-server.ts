/**
 * One server with affinity for a balancer's tests, a process of its own. Its one argument is a JSON `BalancedConfig`. Prints `READY`.
 * SIGTERM: drains and ends as a server in production should, so that no request fails.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeSessions } from '../../src/adapters/node.ts'
import { haproxyRing, nginxRing } from '../../src/balancers/rings.ts'
import { caddyRoute, nameRoute, slotRoute } from '../../src/balancers/routes.ts'
import type { RouteFormat, SlotOrder } from '../../src/core/slot-order.ts'
import { SessionError } from '../../src/errors.ts'
import { createSessions } from '../../src/sessions.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'
import type { Session } from '../../src/types.ts'

export interface BalancedConfig {
  readonly node: string
  readonly secret: string
  /** Of HTTP, and of the servers' own links. */
  readonly port: number
  readonly linkPort: number
  readonly peers: readonly string[]
  readonly backups: number
  /** `labels`: what Holdfast's gateway reads; the health page tells this server's. */
  readonly route: 'labels' | 'names' | 'slot' | 'caddy'
  /** `host:port` of all servers by name. */
  readonly addresses: Readonly<Record<string, string>>
  readonly ring?: 'nginx' | 'haproxy'
  readonly routeSecret: string
  /** How long the balancer may take to see that this server drains. */
  readonly noticeMs: number
}

type Data = { n?: number }

const config = JSON.parse(process.argv[2] as string) as BalancedConfig

const ROUTES: Readonly<Record<BalancedConfig['route'], RouteFormat | undefined>> = {
  labels: undefined,
  names: nameRoute,
  slot: slotRoute,
  caddy: caddyRoute(config.addresses, config.routeSecret),
}

function placement(): SlotOrder | undefined {
  if (config.ring === undefined) return undefined
  if (config.ring === 'nginx') return nginxRing(config.addresses)
  return haproxyRing(Object.fromEntries(Object.keys(config.addresses).map((node, index) => [node, index + 1])))
}

const route = ROUTES[config.route]
const order = placement()
const sessions = createSessions<Data>({
  node: config.node,
  secrets: config.secret,
  strategy: affinity({
    transport: tcpTransport({
      cluster: 'test',
      secrets: config.secret,
      host: '127.0.0.1',
      port: config.linkPort,
      peers: [...config.peers],
    }),
    backups: config.backups,
    ...(route !== undefined && { route }),
    ...(order !== undefined && { placement: order }),
  }),
  cookie: { name: 'session', secure: false },
})

let draining = false
let closed = false

async function run(request: IncomingMessage, response: ServerResponse, session: Session<Data>): Promise<void> {
  const n = new URL(request.url as string, 'http://server.test').searchParams.get('n')
  if (n !== null) session.data.n = Number(n)
  response.end(JSON.stringify({ node: config.node, isNew: session.isNew, n: session.data.n ?? null }))
}

const withSession = nodeSessions(sessions)((request, response, session) =>
  run(request, response, session).catch((error: unknown) => {
    response.statusCode = SessionError.is(error) ? error.status : 500
    response.end(JSON.stringify({ error: SessionError.is(error) ? error.code : String(error) }))
  }),
)

const server = createServer((request, response) => {
  // Not before: new connections that nobody has accepted yet break with the listener, and a POST on one of them fails.
  if (closed) response.setHeader('connection', 'close')
  if (request.url !== '/health') return withSession(request, response)
  healthOf(response).catch(() => response.destroy())
})

async function healthOf(response: ServerResponse): Promise<void> {
  const { details, sessions: held = 0 } = await sessions.status()
  response.statusCode = draining ? 503 : 200
  response.setHeader('x-holdfast-load', held)
  if (config.route === 'labels') response.setHeader('x-holdfast-route', String(details?.['route']))
  response.end()
}

const connections = (): Promise<number> => new Promise((resolve) => void server.getConnections((_, count) => resolve(count)))

async function leave(): Promise<void> {
  draining = true
  await sleep(config.noticeMs)
  await sessions.drain()
  // Only the listener: http's own close() would break idle connections on which a request may be on its way.
  NetServer.prototype.close.call(server)
  closed = true
  // A balancer with checks has seen by now that this server leaves, and sends nothing more.
  if (config.noticeMs > 0) server.closeIdleConnections()
  for (const until = performance.now() + 8_000; (await connections()) > 0 && performance.now() < until; ) await sleep(20)
  await sessions.close()
}

await new Promise<void>((resolve, reject) => {
  server.once('error', reject)
  sessions.ready().then(() => server.listen(config.port, '127.0.0.1', resolve), reject)
})
console.log('READY')
process.once('SIGTERM', () => {
  leave().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
