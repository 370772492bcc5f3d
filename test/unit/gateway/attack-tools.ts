import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { upstream, type RunningGateway, type Upstream } from './harness.ts'

export interface Seen {
  readonly server: Upstream
  readonly requests: { readonly method: string; readonly url: string; readonly headers: Record<string, unknown>; readonly body: string }[]
}

/** A server that writes down what reaches it. */
export async function witness(): Promise<Seen> {
  const requests: Seen['requests'] = []
  const server = await upstream('a', (incoming, response) => {
    let body = ''
    incoming.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    incoming.on('end', () => {
      requests.push({ method: incoming.method as string, url: incoming.url as string, headers: incoming.headers, body })
      response.end('answer')
    })
  })
  return { server, requests }
}

/** Nobody may ever come here. */
export async function forbidden(): Promise<{ port: number; visits: () => number }> {
  let visits = 0
  const http = createServer((_request, response) => response.end('forbidden')).on('connection', () => visits++)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void http.close())
  return { port: (http.address() as AddressInfo).port, visits: () => visits }
}

export function open(port: number, bytes: string): { socket: Socket; seen: () => string; closed: () => boolean } {
  let seen = ''
  let closed = false
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.write(bytes, 'latin1'))
  socket.on('data', (chunk) => (seen += chunk.toString('latin1')))
  socket
    .on('error', () => undefined)
    .on('close', () => (closed = true))
    .on('end', () => socket.end()) // prettier-ignore
  onTestFinished(() => void socket.destroy())
  return { socket, seen: () => seen, closed: () => closed }
}

export const UPGRADE = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\n'
export const isIdle = (gateway: RunningGateway): boolean => gateway.servers().every(({ active }) => active === 0)
