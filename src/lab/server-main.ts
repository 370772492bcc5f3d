/** One server of the lab's cluster, a process of its own. Its configuration comes over the IPC channel: secrets are in no argument. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SessionError } from '../errors.ts'
import type { Transport } from '../seam.ts'
import { createSessions } from '../sessions.ts'
import type { Sessions } from '../types.ts'
import { withEndings } from './endings.ts'
import { type Serving, withHealth } from './health.ts'
import { isLabError } from './lab-error.ts'
import { type MeshView, watchMesh } from './mesh-view.ts'
import type { FromServer, Holding, Report, ServerConfig, ToServer } from './messages.ts'
import { loadPages } from './pages.ts'
import { createShop, type ShopData } from './shop.ts'
import { strangerWatch } from './stranger.ts'
import { buildStrategy } from './strategy.ts'
import { createWitness } from './witness.ts'

const STOP_DEADLINE_MS = 1_000

let serving: Serving = 'joining'
let sessions: Sessions<ShopData> | undefined
let transport: Transport | undefined
let mesh: MeshView | undefined
let server: Server | undefined
let node = ''
let requests = 0
const witness = createWitness()

function tell(message: FromServer): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

function fail(error: unknown): void {
  const known = SessionError.is(error) || isLabError(error)
  const code = known ? error.code : ((error as NodeJS.ErrnoException).code ?? 'INTERNAL')
  tell({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) })
  setTimeout(() => process.exit(1), 100)
}

async function start(config: ServerConfig): Promise<void> {
  const built = await buildStrategy(config.choice, config.mesh, config.secrets)
  transport = built.transport
  node = config.node
  // What the cookie strategy says to others are endings: no server holds a session.
  if (transport !== undefined && config.choice.strategy !== 'cookieBased') mesh = watchMesh(transport)
  sessions = createSessions<ShopData>({
    node: config.node,
    secrets: config.secrets,
    strategy: withEndings(built.strategy, (key) => tell({ type: 'ended', key })),
    cookie: { name: config.cookieName, secure: false },
    carrier: 'both',
    onEvent: (event) => tell({ type: 'event', event }),
  })
  const isStranger = strangerWatch(config, (key) => tell({ type: 'stranger', key }))
  const shop = createShop({
    node: config.node,
    sessions,
    pages: loadPages('shop'),
    witness,
    controlUrl: config.controlUrl,
    opened(request, session) {
      requests += 1
      isStranger(request, session)
    },
  })
  server = createServer(withHealth(shop, () => serving, sessions))
  tell({ type: 'listening', port: await listen(server, config.port) })
  await sessions.ready()
  serving = 'up'
  tell({ type: 'ready' })
}

function listen(http: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    http.once('error', reject)
    http.listen(port, '127.0.0.1', () => {
      http.off('error', reject)
      http.on('error', fail)
      resolve((http.address() as AddressInfo).port)
    })
  })
}

async function report(id: number): Promise<void> {
  const status = await sessions?.status()
  const traffic = transport?.traffic() ?? { sentBytes: 0, receivedBytes: 0 }
  const body: Report = {
    sessions: status?.sessions ?? 0,
    rssBytes: process.memoryUsage.rss(),
    ...traffic,
    requests,
    sentTo: mesh?.sentTo ?? {},
    counters: witness.counters,
    notProtected: status?.notProtected ?? [],
  }
  tell({ type: 'report', id, report: body })
}

/** Where servers share sessions each is asked by another: what a server without others has, it can find without asking. */
async function locate(id: number, key: string): Promise<void> {
  const holdings: Record<string, Holding> = { ...(await mesh?.holders(key)) }
  if (Object.keys(holdings).length === 0) {
    const found = await sessions?.get(key).catch(() => undefined)
    holdings[node] = found === undefined ? 'none' : 'copy'
  }
  tell({ type: 'located', id, holdings })
}

async function drain(): Promise<void> {
  serving = 'draining'
  await sessions?.drain()
  tell({ type: 'drained' })
}

async function stop(): Promise<void> {
  setTimeout(() => process.exit(0), STOP_DEADLINE_MS)
  serving = 'draining'
  server?.closeAllConnections()
  server?.close()
  await sessions?.close()
  process.exit(0)
}

process.on('message', (message: ToServer) => {
  if (message.type === 'configure') start(message.config).catch(fail)
  else if (message.type === 'report') report(message.id).catch(fail)
  else if (message.type === 'locate') locate(message.id, message.key).catch(fail)
  else if (message.type === 'drain') drain().catch(fail)
  else stop().catch(() => process.exit(1))
})
// The lab ended without a word: nobody is left to stop this server.
process.on('disconnect', () => process.exit(0))
// Ctrl-C reaches the whole group of processes; the lab decides in which order they end.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => void stop().catch(() => process.exit(1)))
tell({ type: 'loaded' })
