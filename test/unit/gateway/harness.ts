/** Real upstreams and raw clients for the gateway's tests. */
import { createServer, request, type IncomingHttpHeaders, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions } from '../../../src/gateway/index.ts'

export interface Upstream {
  readonly id: string
  readonly url: string
  readonly port: number
  readonly http: Server
  readonly sockets: Set<Socket>
  /** Answered at /health. */
  health: { status: number; label?: string; load?: number; silent?: boolean }
  /** Ends it with all its connections, as a killed process would. */
  kill(): Promise<void>
}

/** A server that answers `app`, and /health by itself. */
export async function upstream(id: string, app: RequestListener, port = 0): Promise<Upstream> {
  const health: Upstream['health'] = { status: 200 }
  const sockets = new Set<Socket>()
  const http = createServer((incoming, response) => {
    if (incoming.url !== '/health') return app(incoming, response)
    if (health.silent === true) return
    if (health.label !== undefined) response.setHeader('x-holdfast-route', health.label)
    if (health.load !== undefined) response.setHeader('x-holdfast-load', health.load)
    response.writeHead(health.status).end()
  })
  http.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
  })
  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve))
  const bound = (http.address() as AddressInfo).port
  async function kill(): Promise<void> {
    if (!http.listening) return
    const done = new Promise((resolve) => http.close(resolve))
    for (const socket of sockets) socket.resetAndDestroy()
    await done
  }
  onTestFinished(kill)
  return { id, url: `http://127.0.0.1:${bound}`, port: bound, http, sockets, health, kill }
}

export interface RunningGateway extends Gateway {
  readonly url: string
  readonly port: number
}

export async function gatewayTo(
  upstreams: readonly { id: string; url: string }[],
  options: Partial<GatewayOptions> = {},
): Promise<RunningGateway> {
  const gateway = createGateway({ to: upstreams.map(({ id, url }) => ({ id, url })), ...options })
  onTestFinished(() => gateway.close(0))
  return { ...gateway, ...(await gateway.listen()) }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: string[]
  readonly body: Buffer
  readonly text: string
}

export interface Ask {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  body?: string | Buffer
}

/** One request on a connection of its own. Rejects when the answer is broken off. */
export function ask(port: number, { method = 'GET', path = '/', headers = {}, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const all = Buffer.concat(chunks)
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          rawHeaders: response.rawHeaders,
          body: all,
          text: all.toString(),
        })
      })
    })
    asking.setTimeout(20_000, () => asking.destroy(new Error('no answer in 20 s')))
    asking.on('error', reject).end(body)
  })
}

/** Sends bytes as they are and collects what comes back until the connection ends, or `until` is seen. */
export function rawAsk(port: number, bytes: string, until?: (seen: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no end in 10 s, seen: ${seen.slice(0, 200)}`)))
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1')
      if (until?.(seen) === true) socket.destroy()
    })
    socket.on('error', reject).on('close', () => resolve(seen))
  })
}

/** Waits for a condition, not for a time. */
export async function waitFor(what: string, condition: () => boolean | Promise<boolean>, deadlineMs = 10_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const stateOf = (gateway: Gateway, id: string): string | undefined => gateway.servers().find((server) => server.id === id)?.state
