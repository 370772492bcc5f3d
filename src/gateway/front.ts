/** What listens for clients: HTTP/1.1, or TLS with HTTP/2 and HTTP/1.1. */
import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { SessionError } from '../errors.ts'
import { answerHalfClosed } from './half-closed.ts'
import type { GatewaySettings } from './options.ts'

export type Front = HttpServer | Http2SecureServer

const KEEP_ALIVE_MS = 65_000
const HANDSHAKE_MS = 10_000
/** Header fields of HTTP/1.1 (Node's own bound) and of HTTP/2. */
const HEADER_BYTES_MAX = 16_384
const STREAMS_MAX = 128

export function createFront(settings: GatewaySettings): Front {
  const { tls, clientHeadersTimeoutMs, idleTimeoutMs } = settings
  const http1 = {
    insecureHTTPParser: false,
    maxHeaderSize: HEADER_BYTES_MAX,
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: clientHeadersTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, clientHeadersTimeoutMs),
    // Long uploads are fine as long as they move.
    requestTimeout: 0,
    // Node 24.9 and newer: any other protocol is ignored, as RFC 9110, section 7.8 allows; older ones refuse it.
    shouldUpgradeCallback: (request: IncomingMessage): boolean => request.headers.upgrade?.trim().toLowerCase() === 'websocket',
  }
  if (tls === undefined) {
    const front = createServer(http1)
    // Node drops further fields unseen, which would change a request; their bytes are bounded anyway.
    front.maxHeadersCount = 0
    answerHalfClosed(front)
    return bounded(front, settings)
  }
  const front = createSecureServer({
    ...http1,
    ...tls,
    allowHTTP1: true,
    handshakeTimeout: HANDSHAKE_MS,
    minVersion: 'TLSv1.2',
    settings: { maxConcurrentStreams: STREAMS_MAX, maxHeaderListSize: HEADER_BYTES_MAX, enablePush: false },
  })
  front.on('session', (session: ServerHttp2Session) => session.setTimeout(idleTimeoutMs + 1_000, () => session.destroy()))
  return bounded(front, settings)
}

function bounded<F extends Front>(front: F, { idleTimeoutMs, limits }: GatewaySettings): F {
  front.maxConnections = limits.connections
  // The servers' own deadline comes first, and with it an answer that says why.
  front.setTimeout(idleTimeoutMs + 1_000)
  return front
}

/** Every connection of a front, so that closing can end them. */
export function connectionsOf(front: Front): Set<Socket> {
  const all = new Set<Socket>()
  for (const event of ['connection', 'secureConnection'] as const) {
    front.on(event, (socket: Socket) => {
      all.add(socket)
      socket.on('close', () => all.delete(socket))
    })
  }
  return all
}

export function opened(front: Front, { port, host, logger }: Pick<GatewaySettings, 'port' | 'host' | 'logger'>): Promise<number> {
  return new Promise((resolve, reject) => {
    front.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      const message = `Port ${port} on ${host} is in use: stop what listens there or choose another port.`
      reject(new SessionError('PORT_IN_USE', message, { cause: error }))
    })
    front.listen(port, host, () => {
      front.removeAllListeners('error').on('error', (error: Error) => logger?.error(`Gateway: ${error.message}`))
      resolve((front.address() as AddressInfo).port)
    })
  })
}

export async function closed(front: Front, connections: ReadonlySet<Socket>, graceMs: number): Promise<void> {
  if (!front.listening) return
  const cut = (): void => {
    for (const socket of connections) socket.destroy()
  }
  const timer = setTimeout(cut, graceMs)
  await new Promise<void>((resolve) => {
    front.close(() => resolve())
    if ('closeIdleConnections' in front) front.closeIdleConnections()
  })
  clearTimeout(timer)
  cut()
}
