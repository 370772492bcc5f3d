import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { gatewayTo, rawAsk, upstream, waitFor, type Upstream } from './harness.ts'

const HANDSHAKE =
  'GET /chat HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade, x-forwarded-for\r\nSec-WebSocket-Key: k\r\n\r\n'

/** Answers upgrades, says which headers it saw, then echoes. */
async function echo(id: string, route = 'r'): Promise<Upstream> {
  const server = await upstream(id, (_incoming, response) => response.end(`plain ${id}`))
  server.http.on('upgrade', (incoming, socket, head) => {
    socket.on('error', () => undefined)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Server: ${id}\r\nX-Holdfast-Route: ${route}\r\n\r\n`,
    )
    socket.write(`${JSON.stringify({ ...incoming.headers, url: incoming.url })}\n`)
    if (head.length > 0) socket.write(head)
    socket.pipe(socket)
  })
  return server
}

interface Chat {
  readonly socket: Socket
  seen: string
  closed: boolean
}

function open(port: number, bytes = HANDSHAKE): Chat {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  const chat: Chat = { socket, seen: '', closed: false }
  socket.on('data', (chunk) => (chat.seen += chunk.toString('latin1')))
  socket.on('error', () => undefined).on('close', () => (chat.closed = true))
  onTestFinished(() => void socket.destroy())
  return chat
}

test('upgrade - bytes flow both ways, early ones included, with the gateway’s headers', async () => {
  const a = await echo('a')
  const gateway = await gatewayTo([a])
  const chat = open(gateway.port, `${HANDSHAKE}early `)
  await waitFor('the echo of the early bytes', () => chat.seen.includes('early '))
  expect(chat.seen).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
  expect(chat.seen.toLowerCase()).not.toContain('x-holdfast-route')
  expect(chat.seen).toContain('"x-forwarded-for":"127.0.0.1"')
  expect(chat.seen).toContain('"host":"shop.example"')
  expect(chat.seen).toContain('"url":"/chat"')
  chat.socket.write('late')
  await waitFor('the echo', () => chat.seen.endsWith('late'))
  expect(gateway.servers()[0]?.active).toBe(1)
  chat.socket.destroy()
  await waitFor('nothing is left', () => gateway.servers()[0]?.active === 0 && a.sockets.size === 0)
})

test('upgrade - the server’s end ends the client, and a dead server is passed over', async () => {
  const [a, b] = [await echo('a'), await echo('b')]
  const gateway = await gatewayTo([a, b], { health: { everyMs: 60_000 } })
  const first = open(gateway.port)
  await waitFor('connected to a', () => first.seen.includes('X-Server: a'))
  await a.kill()
  await waitFor('cut', () => first.closed)
  for (let at = 0; at < 2; at++) {
    const next = open(gateway.port)
    await waitFor('connected', () => next.seen.includes('X-Server: '))
    expect(next.seen).toContain('X-Server: b')
  }
})

test('upgrade - a server’s refusal reaches the client whole', async () => {
  const a = await upstream('a', (_incoming, response) => response.end())
  a.http.on('upgrade', (_incoming, socket) =>
    socket.end('HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n'),
  )
  const gateway = await gatewayTo([a])
  const seen = await rawAsk(gateway.port, HANDSHAKE)
  expect(seen).toMatch(/^HTTP\/1\.1 403 Forbidden\r\nConnection: close\r\nX-Why: no\r\n\r\nno!$/)
})

test('upgrade - no server is 503, a silent one 504, a foreign target 400, another protocol is no upgrade', async () => {
  const a = await echo('a')
  expect(await rawAsk((await gatewayTo([])).port, HANDSHAKE)).toMatch(/^HTTP\/1\.1 503 .*GATEWAY_NO_SERVER/s)
  const gateway = await gatewayTo([a], { headersTimeoutMs: 200 })
  const foreign = HANDSHAKE.replace('/chat', 'http://169.254.169.254/latest')
  expect(await rawAsk(gateway.port, foreign)).toMatch(/^HTTP\/1\.1 400 /)
  expect(await rawAsk(gateway.port, HANDSHAKE.replace('websocket', 'h2c').replace('Upgrade, x', 'close, Upgrade, x'))).toMatch(
    /^HTTP\/1\.1 200 .*plain a/s,
  )
  a.http.removeAllListeners('upgrade').on('upgrade', (_incoming, socket) => socket.on('error', () => undefined))
  expect(await rawAsk(gateway.port, HANDSHAKE)).toMatch(/^HTTP\/1\.1 504 .*GATEWAY_TIMEOUT/s)
})

test('upgrade - an idle pair is closed', async () => {
  const a = await echo('a')
  const gateway = await gatewayTo([a], { idleTimeoutMs: 200 })
  const chat = open(gateway.port)
  await waitFor('connected', () => chat.seen.includes('X-Server: a'))
  await waitFor('closed', () => chat.closed, 3_000)
  await waitFor('at the server too', () => a.sockets.size === 0)
  expect(gateway.servers()[0]?.active).toBe(0)
})

test('upgrade - a client that leaves during the handshake frees the server', async () => {
  const a = await upstream('a', (_incoming, response) => response.end())
  let asked = 0
  a.http.on('upgrade', (_incoming, socket) => {
    asked++
    socket
      .on('error', () => undefined)
      .on('end', () => socket.end())
      .on('close', () => asked++)
      .resume()
  })
  const gateway = await gatewayTo([a])
  const chat = open(gateway.port)
  await waitFor('asked', () => asked === 1)
  chat.socket.destroy()
  await waitFor('freed', () => asked === 2)
  expect(gateway.servers()[0]?.active).toBe(0)
})

test('upgrade - a WebSocket follows its visitor’s session', async () => {
  const servers = [await echo('a', 'n-a'), await echo('b', 'n-b'), await echo('c', 'n-c')]
  for (const server of servers) server.health.label = `n-${server.id}`
  const gateway = await gatewayTo(servers, { policy: 'sticky' })
  for (const id of ['b', 'c', 'a', 'b', 'b']) {
    const chat = open(gateway.port, HANDSHAKE.replace('Sec-', `Cookie: session=s; session-route=n-${id}.n-a\r\nSec-`))
    await waitFor('connected', () => chat.seen.includes('X-Server: '))
    expect(chat.seen).toContain(`X-Server: ${id}`)
  }
  await servers[1]?.kill()
  await waitFor('b is down', () => gateway.servers()[1]?.state === 'down')
  const moved = open(gateway.port, HANDSHAKE.replace('Sec-', 'Cookie: session=s; session-route=n-b.n-c\r\nSec-'))
  await waitFor('connected', () => moved.seen.includes('X-Server: '))
  expect(moved.seen).toContain('X-Server: c')
})
