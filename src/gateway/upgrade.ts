/** WebSocket upgrades: the handshake goes to a server picked as for any request, then bytes are piped both ways. */
import { type ClientRequest, type IncomingMessage, request as ask } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { readAnswerHead } from './answer-head.ts'
import { failureOf } from './failure.ts'
import type { ExchangeSettings } from './exchange.ts'
import { badRequest, NO_SERVER, rawHead, type Refusal, refuseSocket, SERVER_FAILED, TIMED_OUT } from './refusal.ts'
import { addForwarded, clientAddress, readRequestHead } from './request-head.ts'
import type { Server, UnderWay } from './servers.ts'
import { pathOf } from './target.ts'

export interface UpgradeSettings extends ExchangeSettings {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
}

export function upgrade(settings: UpgradeSettings, request: IncomingMessage, client: Duplex, early: Buffer): void {
  client.on('error', () => client.destroy())
  noticeLeaving(client)
  const facts = { address: request.socket.remoteAddress ?? '', trustForwarded: settings.trustForwarded }
  const head = readRequestHead(request.rawHeaders, settings.trustForwarded)
  const path = pathOf(request.url ?? '', head.host)
  const problem =
    head.problem ??
    (head.upgrade !== 'websocket' || request.method !== 'GET' ? 'Only WebSocket upgrades are forwarded.' : undefined) ??
    (head.hasBody ? 'An upgrade carries no body.' : undefined)
  if (problem !== undefined || path === undefined) {
    settings.count(400)
    return refuseSocket(client, badRequest(problem ?? 'The request target must be a path on this host.'))
  }
  const picked = { address: clientAddress(head, facts), cookie: head.cookie }
  addForwarded(head, facts)
  head.headers.push('connection', 'Upgrade', 'upgrade', 'websocket')
  const { picker, retries, servers } = settings
  let tried: readonly Server[] = []

  function next(exhausted: Refusal): void {
    if (client.destroyed) return
    const server = tried.length > retries ? undefined : picker.pick(picked, tried)
    if (server === undefined) return refused(exhausted)
    tried = [...tried, server]
    handshake(settings, server, { path: path as string, headers: head.headers, client, early, picked }, (failure) => {
      if (failure === 'dial' || failure === 'reset') servers.failed(server, failure)
      if (failure === 'timeout') return refused(TIMED_OUT)
      servers.notify({ type: 'retry', id: server.id, why: failure })
      next(failure === 'reset' ? SERVER_FAILED : NO_SERVER)
    })
  }

  function refused(refusal: Refusal): void {
    settings.count(refusal.status)
    refuseSocket(client, refusal)
  }

  next(NO_SERVER)
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
  readonly picked: { readonly address: string; readonly cookie: string | undefined }
}

type HandshakeFailure = 'dial' | 'reset' | 'timeout' | 'hangs'

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
  asking.on('error', (error) => settle(failureOf(error, sent) === 'dial' ? 'dial' : 'reset'))
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
    relay(asking, answer, client)
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
  settings.count(answer.statusCode ?? 502)
  if (label !== undefined) settings.servers.learn(server, label)
  if (connection === 'Upgrade') headers.unshift('Upgrade', 'websocket')
  const cookie = settings.picker.setCookie(given.picked, server)
  if (cookie !== undefined) headers.push('set-cookie', cookie)
  return rawHead(answer.statusCode ?? 502, answer.statusMessage ?? '', headers, connection)
}

/** A refusal of the server: its body ends with the connection. */
function relay(asking: ClientRequest, answer: IncomingMessage, client: Duplex): void {
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
