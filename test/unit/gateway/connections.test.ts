import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { isIdle, open, UPGRADE } from './attack-tools.ts'
import { ask, gatewayTo, rawAsk, upstream, waitFor } from './harness.ts'

test('connections - one that the server closed meanwhile does not mark it down, and the request is sent again to the same server', async () => {
  const used = new Map<unknown, number>()
  const server = await upstream('a', (incoming, response) => {
    const times = (used.get(incoming.socket) ?? 0) + 1
    used.set(incoming.socket, times)
    if (times === 2) return void incoming.socket.destroy()
    response.end('fine')
  })
  const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
  const downs: unknown[] = []
  gateway.on('down', (event) => downs.push(event))
  for (let at = 0; at < 4; at++) expect(await ask(gateway.port)).toMatchObject({ status: 200, text: 'fine' })
  expect(downs).toEqual([])
  expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
})

test('connections - a server that closes before it has read a body is not marked down', async () => {
  const server = await upstream('a', (incoming) => void incoming.once('data', () => incoming.socket.destroy()))
  const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
  const client = open(gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart')
  await waitFor('refused', () => client.seen().startsWith('HTTP/1.1 502'))
  expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
})

test('connections - a client that never reads holds no place, on requests and refused upgrades alike', async () => {
  const server = await upstream('a', (_incoming, response) => response.end(Buffer.alloc(32 * 1024 * 1024)))
  server.http.on('upgrade', (_incoming, socket) => {
    socket.on('error', () => undefined).write('HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n')
    socket.end(Buffer.alloc(32 * 1024 * 1024))
  })
  const gateway = await gatewayTo([server], { idleTimeoutMs: 300 })
  for (const fields of ['', UPGRADE]) {
    const client = connect(gateway.port, '127.0.0.1', () => client.write(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`))
    client.on('error', () => undefined).pause()
    // Keeps the client's socket busy.
    const drops = setInterval(() => client.write('\r\n'), 50)
    onTestFinished(() => {
      clearInterval(drops)
      client.destroy()
    })
    await waitFor('under way', () => !isIdle(gateway))
    await waitFor('freed', () => isIdle(gateway), 8_000)
  }
})

test('connections - pipelined requests reach the servers one after the other, and too many end the connection', async () => {
  let under = 0
  let most = 0
  const server = await upstream('a', (incoming, response) => {
    most = Math.max(most, ++under)
    incoming.resume()
    setTimeout(() => {
      under--
      response.end('x')
    }, 20)
  })
  const gateway = await gatewayTo([server])
  const one = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx'
  const seen = await rawAsk(gateway.port, one.repeat(5), (text) => text.split('200 OK').length === 6)
  expect(seen.split('200 OK')).toHaveLength(6)
  expect(most).toBe(1)
  const flood = open(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(300))
  await waitFor('ended', () => flood.closed())
})

test('connections - a malformed answer to an upgrade is 502, not retried, and the server stays up', async () => {
  const server = await upstream('a', (_incoming, response) => response.end())
  let asked = 0
  server.http.on('upgrade', (_incoming, socket) => {
    asked++
    socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc')
  })
  const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
  expect(await rawAsk(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)).toMatch(/^HTTP\/1\.1 502 /)
  expect(asked).toBe(1)
  expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
})

test('connections - metrics on every address answer to any address, not to a name', async () => {
  const server = await upstream('a', (_incoming, response) => response.end())
  const gateway = await gatewayTo([server], { metrics: { port: 0, host: '0.0.0.0' } })
  const { metricsPort } = gateway as unknown as { metricsPort: number }
  const status = async (host: string): Promise<number> => (await ask(metricsPort, { path: '/metrics', headers: { host } })).status
  expect(await status('10.0.0.5:9090')).toBe(200)
  expect(await status('evil.example:9090')).toBe(403)
})

test('connections - a body in another coding than chunked is refused', async () => {
  const server = await upstream('a', (_incoming, response) => response.end())
  const gateway = await gatewayTo([server])
  const bytes = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'
  expect(await rawAsk(gateway.port, bytes)).toMatch(/^HTTP\/1\.1 400 /)
})
