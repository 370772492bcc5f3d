/** WebSocket upgrades: the handshake goes to a server picked as for any request, then bytes are piped both ways. */
import { type ClientRequest, type IncomingMessage, request as ask } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { readAnswerHead } from './answer-head.ts'
import type { ExchangeSettings } from './exchange.ts'
import type { PickRequest } from './picker.ts'
import { badRequest, CROWDED, NO_SERVER, rawHead, type Refusal, refuseSocket, SERVER_FAILED, TIMED_OUT } from './refusal.ts'
import { readRequest, type RequestFacts } from './request-facts.ts'
import type { Server, UnderWay } from './servers.ts'

export interface UpgradeSettings extends ExchangeSettings {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
}

export function upgrade(settings: UpgradeSettings, request: IncomingMessage, client: Duplex, early: Buffer): void {
  const startedAt = performance.now()
  client.on('error', () => client.destroy())
  noticeLeaving(client)
  const facts = readRequest(request, settings.trust)
  const { servers, picker, retries } = settings
  let tried: readonly Server[] = []
  const told = (status: number, path: string, address: string): void =>
    settings.done({ method: 'GET', path, status, bytes: 0, startedAt, address, server: tried.at(-1)?.id, httpVersion: '1.1' })
  const problem = typeof facts === 'string' ? facts : problemOf(facts, request)
  if (problem !== undefined || typeof facts === 'string') {
    told(400, '', request.socket.remoteAddress ?? '')
    return refuseSocket(client, badRequest(problem ?? ''))
  }
  const { head, path, picked } = facts
  const headers = [...head.headers, 'connection', 'Upgrade', 'upgrade', 'websocket']

  function next(exhausted: Refusal): void {
    if (client.destroyed) return
    const server = tried.length > retries ? undefined : picker.pick(picked, tried)
    if (server === undefined) return refused(exhausted)
    // It may last for hours: nobody waits in line for one to end.
    if (servers.isFull(server)) return refused(CROWDED)
    tried = [...tried, server]
    const answered = (status: number): void => told(status, path, picked.address)
    handshake(settings, server, { path, headers, client, early, picked, answered }, (failure) => {
      if (failure === 'dial' || failure === 'reset') servers.failed(server, failure)
      if (failure === 'timeout') return refused(TIMED_OUT)
      if (failure === 'malformed') return refused(SERVER_FAILED)
      servers.notify({ type: 'retry', id: server.id, why: failure })
      next(failure === 'reset' ? SERVER_FAILED : NO_SERVER)
    })
  }

  function refused(refusal: Refusal): void {
    told(refusal.status, path, picked.address)
    refuseSocket(client, refusal)
  }

  next(NO_SERVER)
}

function problemOf({ head }: RequestFacts, request: IncomingMessage): string | undefined {
  if (head.upgrade !== 'websocket' || request.method !== 'GET') return 'Only WebSocket upgrades are forwarded.'
  return head.hasBody ? 'An upgrade carries no body.' : undefined
}

/**
 * Nobody reads the client's socket before the handshake is over, so its end would go unseen. A 'readable' listener makes Node read
 * into the socket's own, bounded buffer.
 */
function noticeLeaving(client: Duplex): void {
  client.on('readable', () => {
    if (client.readableLength === 0) client.read()
  })
  client.on('end', () => client.destroy())
}

interface Handshake {
  readonly path: string
  readonly headers: readonly string[]
  readonly client: Duplex
  readonly early: Buffer
  readonly picked: PickRequest
  answered(status: number): void
}

type HandshakeFailure = 'dial' | 'reset' | 'timeout' | 'malformed' | 'hangs'

function handshake(settings: UpgradeSettings, server: Server, given: Handshake, failed: (failure: HandshakeFailure) => void): void {
  const { client, early } = given
  const { servers } = settings
  const { hostname, port } = new URL(server.url)
  const asking = ask({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port || 80,
    path: given.path,
    headers: [...given.headers],
    agent: false,
    setHost: false,
  })
  let sent = false
  let settled = false
  let timer = setTimeout(() => asking.destroy(), settings.connectTimeoutMs)
  const underWay: UnderWay = { serverHangs: () => settle('hangs'), end: () => client.destroy() }
  const left = (): void => void asking.destroy()

  function settle(failure?: HandshakeFailure): void {
    if (settled) return
    settled = true
    clearTimeout(timer)
    client.off('close', left)
    if (failure === undefined) return
    servers.end(server, underWay)
    asking.destroy()
    if (!client.destroyed) failed(failure)
  }

  servers.begin(server, underWay)
  client.once('close', () => servers.end(server, underWay)).on('close', left)
  asking.on('socket', (socket) =>
    socket.once('connect', () => {
      sent = true
      clearTimeout(timer)
      timer = setTimeout(() => settle('timeout'), settings.headersTimeoutMs)
    }),
  )
  asking.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code?.startsWith('HPE_') === true) settle('malformed')
    else settle(sent ? 'reset' : 'dial')
  })
  asking.on('close', () => settle(sent ? 'reset' : 'dial'))
  asking.on('upgrade', (answer, upstream, upstreamEarly) => {
    settle()
    client.write(headOf(settings, server, given, answer, 'Upgrade'), 'latin1')
    if (upstreamEarly.length > 0) client.write(upstreamEarly)
    if (early.length > 0) upstream.write(early)
    join(client, upstream, settings.idleTimeoutMs)
  })
  asking.on('response', (answer) => {
    settle()
    client.write(headOf(settings, server, given, answer, 'close'), 'latin1')
    relay(asking, answer, client, settings.idleTimeoutMs)
  })
  asking.end()
}

function headOf(
  settings: UpgradeSettings,
  server: Server,
  given: Handshake,
  answer: IncomingMessage,
  connection: 'close' | 'Upgrade',
): string {
  const { headers, label } = readAnswerHead(answer.rawHeaders)
  given.answered(answer.statusCode ?? 502)
  if (label !== undefined) settings.servers.learn(server, label)
  if (connection === 'Upgrade') headers.unshift('Upgrade', 'websocket')
  const cookie = settings.picker.setCookie(given.picked, server)
  if (cookie !== undefined) headers.push('set-cookie', cookie)
  return rawHead(answer.statusCode ?? 502, answer.statusMessage ?? '', headers, connection)
}

/** A refusal of the server: its body ends with the connection. */
function relay(asking: ClientRequest, answer: IncomingMessage, client: Duplex, idleMs: number): void {
  // A client that does not read stops the server's socket, and that one's time ends both.
  const end = (): void => void client.destroy()
  asking.setTimeout(idleMs, end)
  const socket = client as Socket
  socket.setTimeout(idleMs, end)
  client.on('close', () => asking.destroy())
  answer.on('error', () => client.destroy()).pipe(client)
}

function join(client: Duplex, upstream: Duplex, idleMs: number): void {
  const socket = client as Socket
  client.removeAllListeners('readable').removeAllListeners('end')
  // Both directions pass the client's socket: its idle time is that of the pair.
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.setNoDelay(true)
  upstream.on('error', () => upstream.destroy())
  upstream.on('close', () => client.destroy())
  client.on('close', () => upstream.destroy())
  client.pipe(upstream)
  upstream.pipe(client)
}
