import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { gatewayTo, upstream, waitFor, type RunningGateway, type Upstream } from './harness.ts'

function certificate(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=localhost']
  execFileSync('openssl', [...made, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const pair = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  rmSync(folder, { recursive: true })
  return pair
}

const tls = certificate()

async function over(
  app: Parameters<typeof upstream>[1],
  options = {},
): Promise<{ server: Upstream; gateway: RunningGateway; session: ClientHttp2Session }> {
  const server = await upstream('a', app)
  const gateway = await gatewayTo([server], { tls, ...options })
  const session = connect(gateway.url, { rejectUnauthorized: false })
  session.on('error', () => undefined)
  onTestFinished(() => session.destroy())
  return { server, gateway, session }
}

interface Answer {
  headers: IncomingHttpHeaders & { ':status'?: number | undefined }
  text: string
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body?: string | Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined })
    const answer: Answer = { headers: {}, text: '' }
    stream.setTimeout(15_000, () => stream.destroy(new Error('no answer in 15 s')))
    stream.on('response', (got) => (answer.headers = got)).on('data', (chunk: Buffer) => (answer.text += chunk.toString()))
    stream.on('end', () => (answer.headers[':status'] === undefined ? reject(new Error('no answer')) : resolve(answer))).on('error', reject)
    if (body !== undefined) stream.end(body)
  })
}

test('http/2 - requests pass as HTTP/1.1, with one Cookie field, the host and the scheme, and two Set-Cookie come back', async () => {
  const { gateway, session } = await over((incoming, response) => {
    response.writeHead(207, ['Set-Cookie', 'a=1', 'set-cookie', 'b=2', 'Connection', 'keep-alive', 'X-Holdfast-Route', 'n1'])
    response.end(JSON.stringify({ ...incoming.headers, url: incoming.url, version: incoming.httpVersion }))
  })
  expect(gateway.url).toMatch(/^https:/)
  const { headers, text } = await ask(session, { ':path': '/x?y', cookie: ['a=1', 'b=2'], 'x-forwarded-for': '6.6.6.6', te: 'trailers' })
  expect(headers[':status']).toBe(207)
  expect(headers['set-cookie']).toEqual(['a=1', 'b=2'])
  expect(headers['x-holdfast-route']).toBeUndefined()
  expect(JSON.parse(text)).toMatchObject({
    url: '/x?y',
    version: '1.1',
    host: `127.0.0.1:${gateway.port}`,
    cookie: 'a=1; b=2',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'https',
  })
  expect(JSON.parse(text)).not.toHaveProperty('te')
})

test('http/2 - bodies up and down, with and without length, many at once', async () => {
  const { session } = await over((incoming, response) => void incoming.pipe(response))
  const body = Buffer.alloc(300_000, 'abc')
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      ask(session, { ':method': 'POST', ...(at % 2 === 0 && { 'content-length': body.length }) }, body),
    ),
  )
  for (const { text } of answers) expect(text === body.toString()).toBe(true)
})

test('http/2 - a client that does not read stops the server', async () => {
  let sent = 0
  const { session } = await over((_incoming, response) => {
    const more = (): void => {
      while (sent < 64) {
        sent++
        if (!response.write(Buffer.alloc(1024 * 1024))) return void response.once('drain', more)
      }
      response.end()
    }
    more()
  })
  const stream = session.request({})
  stream.on('error', () => undefined).pause()
  let last = -1
  await waitFor('it stands still', async () => {
    const before = sent
    await new Promise((resolve) => setTimeout(resolve, 400))
    last = sent
    return before > 0 && before === last
  })
  expect(last).toBeLessThan(32)
  stream.close()
})

test('http/2 - streams that are reset, one after the other and at once, leave no connection to a server', async () => {
  let asked = 0
  const { server, gateway, session } = await over(
    (_incoming, response) => {
      asked++
      response.write('part')
    },
    { health: { everyMs: 60_000 } },
  ) // prettier-ignore
  const streams = Array.from({ length: 100 }, () => session.request({}).on('error', () => undefined))
  await waitFor('asked', () => asked === 100)
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL)
  await waitFor('nothing left', () => gateway.servers()[0]?.active === 0 && server.sockets.size === 0, 5_000)
  const again = connect(gateway.url, { rejectUnauthorized: false }).on('error', () => undefined)
  const hundred = Array.from({ length: 20 }, () => again.request({}).on('error', () => undefined))
  await waitFor('asked', () => asked === 120)
  again.destroy()
  await waitFor('nothing left', () => gateway.servers()[0]?.active === 0 && server.sockets.size === 0, 5_000)
  expect(hundred).toHaveLength(20)
})

test('http/2 - a broken answer resets its stream and nothing else', async () => {
  const { session } = await over((incoming, response) => {
    if (incoming.url === '/fine') return response.end('fine')
    response.write('part', () => setTimeout(() => incoming.socket.resetAndDestroy(), 20))
  })
  const [broken, fine] = await Promise.allSettled([ask(session, { ':path': '/broken' }), ask(session, { ':path': '/fine' })])
  expect(broken.status).toBe('rejected')
  expect(fine).toMatchObject({ status: 'fulfilled', value: { text: 'fine' } })
})

test('http/2 - odd targets, hosts and fields are refused or neutralised', async () => {
  const paths: string[] = []
  const { server, session, gateway } = await over((incoming, response) => {
    paths.push(incoming.url as string)
    response.end(JSON.stringify(incoming.headers))
  })
  for (const headers of [
    { ':path': 'http://evil.example/' },
    { ':path': '*' },
    { ':path': '/a b' },
    { ':authority': 'one.example', host: 'other.example' },
  ]) {
    // Some are refused by the library already.
    const status = (await ask(session, headers).catch(() => undefined))?.headers[':status']
    expect([400, undefined], JSON.stringify(headers)).toContain(status)
  }
  const doubled = await ask(session, { ':path': '//evil.example/x' })
  expect(doubled.headers[':status']).toBe(200)
  expect(paths).toEqual(['/evil.example/x'])
  const large = await ask(session, { 'x-long': 'x'.repeat(30_000) }).catch(() => undefined)
  expect(large?.headers[':status'] ?? 431).toBe(431)
  expect(paths).toHaveLength(1)
  expect(server.sockets.size).toBeLessThanOrEqual(2)
  expect(gateway.servers()[0]?.state).toBe('up')
})

test('tls - HTTP/1.1 and WebSockets pass too, the gateway’s own cookie is Secure, plain HTTP gets nothing', async () => {
  const server = await upstream('a', (incoming, response) => response.end(String(incoming.headers['x-forwarded-proto'])))
  server.http.on('upgrade', (_incoming, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  const gateway = await gatewayTo([server], { tls, policy: 'sticky' })
  const get = (): Promise<{ text: string; cookie: string | undefined }> =>
    new Promise((resolve, reject) => {
      const asking = request(gateway.url, { rejectUnauthorized: false, agent: false }, (response) => {
        let text = ''
        response
          .on('data', (chunk: Buffer) => (text += chunk.toString()))
          .on('end', () => resolve({ text, cookie: response.headers['set-cookie']?.[0] }))
      })
      asking.on('error', reject).end()
    })
  expect((await get()).text).toBe('https')
  await waitFor('the cookie', async () => (await get()).cookie?.endsWith('; Secure') === true)
  let seen = ''
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }, () =>
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello'),
  )
  socket.on('data', (chunk: Buffer) => (seen += chunk.toString())).on('error', () => undefined)
  onTestFinished(() => void socket.destroy())
  await waitFor('the echo', () => seen.endsWith('hello'))
  await expect(fetch(gateway.url.replace('https', 'http'))).rejects.toThrow(/fetch failed/)
})

test('http/2 - closing ends every connection in time', async () => {
  const { gateway, session } = await over(() => undefined)
  const hanging = ask(session).catch(() => 'cut')
  await waitFor('under way', () => gateway.servers()[0]?.active === 1)
  const since = performance.now()
  await gateway.close(100)
  expect(performance.now() - since).toBeLessThan(2_000)
  expect(await hanging).toBe('cut')
})

test('http/2 - a request without a body reaches the server without one, and is tried elsewhere when a server breaks', async () => {
  let breaks = false
  const { session } = await over((incoming, response) => {
    if (breaks) {
      breaks = false
      return void incoming.socket.resetAndDestroy()
    }
    response.end(JSON.stringify(incoming.headers))
  })
  expect(JSON.parse((await ask(session)).text)).not.toHaveProperty('transfer-encoding')
  breaks = true
  expect((await ask(session)).headers[':status']).toBe(200)
})

test('http/2 - repeated single-value fields become one, and 204 loses its length', async () => {
  const { session } = await over((incoming, response) => {
    if (incoming.url === '/204') return void incoming.socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n')
    response.writeHead(200, ['ETag', '"1"', 'ETag', '"1"', 'HTTP2-Settings', 'a', 'Content-Length', '2']).end('ok')
  })
  expect(await ask(session)).toMatchObject({ headers: { ':status': 200, etag: '"1"' }, text: 'ok' })
  expect((await ask(session, { ':path': '/204' })).headers).not.toHaveProperty('content-length')
})

test('http/2 - an early answer ends the stream of a client that goes on sending', async () => {
  const { session } = await over((_incoming, response) => void response.writeHead(413).end())
  const stream = session.request({ ':method': 'POST' }, { endStream: false }).on('error', () => undefined)
  stream.resume().write('part')
  await waitFor('the stream ends', () => stream.closed, 3_000)
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
})

function frame(type: number, flags: number, stream: number, body: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

test.each([0, 8])('http/2 - a body that its client cut short is never whole for the server, with code %i', async (code) => {
  let began = 0
  let cut = 0
  let whole = 0
  const { gateway } = await over((incoming) => {
    incoming.on('error', () => undefined).on('close', () => cut++)
    incoming.on('data', () => began++).on('end', () => whole++)
  })
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  socket.on('error', () => undefined).resume()
  onTestFinished(() => void socket.destroy())
  // POST https / with the authority x (RFC 7541, appendix A).
  const head = frame(1, 4, 1, Buffer.from([0x83, 0x87, 0x84, 0x01, 0x01, 0x78]))
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0)), head]))
  socket.write(frame(0, 0, 1, Buffer.from('half')))
  await waitFor('it began', () => began === 1)
  socket.write(frame(3, 0, 1, Buffer.from([0, 0, 0, code])))
  await waitFor('the server sees the cut', () => cut === 1)
  expect(whole).toBe(0)
})
