import { createHash, randomBytes } from 'node:crypto'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import { createGateway } from '../../../src/gateway/index.ts'
import { ask, gatewayTo, rawAsk, upstream, waitFor } from './harness.ts'

const MIB = 1024 * 1024

test('gateway - a request and its answer pass unchanged, two Set-Cookie fields and unknown names included', async () => {
  const a = await upstream('a', (incoming, response) => {
    response.writeHead(207, 'So Be It', ['Set-Cookie', 'one=1; Path=/', 'X-Odd', 'é', 'set-cookie', 'two=2', 'X-Holdfast-Route', 'n1'])
    response.end(
      JSON.stringify({ url: incoming.url, method: incoming.method, host: incoming.headers.host, cookie: incoming.headers.cookie }),
    )
  })
  const gateway = await gatewayTo([a])
  const answer = await ask(gateway.port, { path: '/x?y=%20', headers: { host: 'shop.example', cookie: 'c=1' } })
  expect(answer.status).toBe(207)
  expect(answer.headers['set-cookie']).toEqual(['one=1; Path=/', 'two=2'])
  expect(answer.headers['x-odd']).toBe('é')
  expect(answer.headers['x-holdfast-route']).toBeUndefined()
  expect(JSON.parse(answer.text)).toEqual({ url: '/x?y=%20', method: 'GET', host: 'shop.example', cookie: 'c=1' })
})

test('gateway - answers without a body: HEAD, 204, 304, and the connection goes on', async () => {
  const a = await upstream('a', (incoming, response) => {
    if (incoming.url === '/204') return response.writeHead(204).end()
    if (incoming.url === '/304') return response.writeHead(304, { etag: '"x"' }).end()
    response.writeHead(200, { 'content-length': '5' }).end('hello')
  })
  const gateway = await gatewayTo([a])
  const requests = [
    ['HEAD', '/'],
    ['GET', '/204'],
    ['GET', '/304'],
    ['GET', '/'],
  ].map(([method, path]) => `${method} ${path} HTTP/1.1\r\nHost: a\r\n\r\n`) // prettier-ignore
  const seen = await rawAsk(gateway.port, requests.join(''), (text) => text.endsWith('hello'))
  expect(seen.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 204', 'HTTP/1.1 304', 'HTTP/1.1 200'])
  expect(seen.match(/hello/g)).toHaveLength(1)
  expect(seen).toMatch(/content-length: 5/i)
})

test('gateway - Connection: x-forwarded-for strips nothing that the gateway says', async () => {
  const a = await upstream('a', (incoming, response) => response.end(JSON.stringify(incoming.headers)))
  const gateway = await gatewayTo([a])
  const answer = await ask(gateway.port, {
    headers: { connection: 'close, x-forwarded-for, x-mine', 'x-forwarded-for': '6.6.6.6', 'x-mine': '1' },
  })
  const headers = JSON.parse(answer.text) as Record<string, string>
  expect(headers['x-forwarded-for']).toBe('127.0.0.1')
  expect(headers['x-forwarded-proto']).toBe('http')
  expect(headers['x-forwarded-host']).toBe(`127.0.0.1:${gateway.port}`)
  expect(headers['x-mine']).toBeUndefined()
})

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
test.each([
  [
    'Content-Length with Transfer-Encoding',
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['two Content-Length', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`],
  ['a list as Content-Length', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`],
  ['a signed Content-Length', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +${SMUGGLED.length}\r\n\r\n${SMUGGLED}`],
  ['an unknown Transfer-Encoding', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
  ['chunked not last', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${SMUGGLED}`],
  ['a space before the colon', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
  ['a folded field', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n${SMUGGLED}`],
  ['a bare line feed', `GET / HTTP/1.1\nHost: a\nX: 1\n\n`],
  ['a chunk size that is none', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`],
  ['two Host fields', `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n`],
  ['no Host field', `GET / HTTP/1.1\r\nConnection: close\r\n\r\n`],
  ['a foreign absolute target', `GET http://evil.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`],
  ['a target that is no path', `OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`],
])('gateway - refuses a request with %s', async (_name, bytes) => {
  const paths: string[] = []
  const a = await upstream('a', (incoming, response) => {
    paths.push(incoming.url as string)
    incoming.resume()
    response.end()
  })
  const gateway = await gatewayTo([a])
  const seen = await rawAsk(gateway.port, bytes)
  expect(seen).toMatch(/^HTTP\/1\.1 400 /)
  expect(seen.match(/HTTP\/1\.1 /g)).toHaveLength(1)
  expect(paths).not.toContain('/smuggled')
})

test('gateway - CONNECT opens nothing', async () => {
  const a = await upstream('a', (_incoming, response) => response.end())
  const gateway = await gatewayTo([a])
  expect(await rawAsk(gateway.port, `CONNECT 127.0.0.1:${a.port} HTTP/1.1\r\nHost: a\r\n\r\n`)).toBe('')
})

test('gateway - //host and absolute targets reach a server as plain paths', async () => {
  const a = await upstream('a', (incoming, response) => response.end(`<${incoming.url}>`))
  const gateway = await gatewayTo([a])
  expect(await rawAsk(gateway.port, 'GET //evil.example/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).toContain('</evil.example/x>')
  expect(await rawAsk(gateway.port, 'GET http://a/y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).toContain('</y>')
})

test('gateway - Expect: 100-continue is answered and the body arrives', async () => {
  const a = await upstream(
    'a',
    (incoming, response) => void incoming.on('data', (chunk) => response.write(chunk)).on('end', () => response.end()),
  )
  const gateway = await gatewayTo([a])
  const seen = await new Promise<string>((resolve, reject) => {
    let all = ''
    const socket = connect(gateway.port, '127.0.0.1', () =>
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n'),
    )
    socket.once('data', () => socket.write('body'))
    socket
      .on('data', (chunk) => (all += chunk))
      .on('close', () => resolve(all))
      .on('error', reject) // prettier-ignore
  })
  expect(seen).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
  expect(seen).toContain('body')
})

test('gateway - interim answers of a server do not disturb the final one', async () => {
  const a = await upstream('a', (_incoming, response) =>
    response.writeEarlyHints({ link: '</a.css>; rel=preload' }, () => response.end('final')),
  )
  const gateway = await gatewayTo([a])
  expect(await ask(gateway.port)).toMatchObject({ status: 200, text: 'final' })
})

test('gateway - 16 MiB up and 16 MiB down pass whole', async () => {
  const bytes = randomBytes(16 * MIB)
  const a = await upstream('a', (incoming, response) => {
    if (incoming.method === 'GET') return response.end(bytes)
    const hash = createHash('sha256')
    incoming.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')))
  })
  const gateway = await gatewayTo([a])
  const expected = createHash('sha256').update(bytes).digest('hex')
  expect((await ask(gateway.port, { method: 'POST', body: bytes })).text).toBe(expected)
  expect((await ask(gateway.port, { method: 'POST', body: bytes, headers: { 'transfer-encoding': 'chunked' } })).text).toBe(expected)
  expect(
    createHash('sha256')
      .update((await ask(gateway.port)).body)
      .digest('hex'),
  ).toBe(expected)
})

test('gateway - a client that does not read stops the server; a server that does not read stops the client', async () => {
  let sent = 0
  let received = 0
  const a = await upstream('a', (incoming, response) => {
    if (incoming.method === 'POST') return
    const more = (): void => {
      while (sent < 64 * MIB) {
        sent += MIB
        if (!response.write(Buffer.alloc(MIB))) return void response.once('drain', more)
      }
      response.end()
    }
    more()
  })
  const gateway = await gatewayTo([a])
  const steady = async (value: () => number): Promise<number> => {
    for (let last = -1, since = performance.now(); ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      if (value() !== last) [last, since] = [value(), performance.now()]
      else if (last > 0 && performance.now() - since > 400) return last
    }
  }
  const reader = request({ host: '127.0.0.1', port: gateway.port, agent: false }, (response) => void response.pause()).on(
    'error',
    () => undefined,
  )
  reader.end()
  expect(await steady(() => sent)).toBeLessThan(32 * MIB)
  reader.destroy()
  const writer = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', agent: false }).on('error', () => undefined)
  const push = (): void => {
    while (received < 64 * MIB) {
      received += MIB
      if (!writer.write(Buffer.alloc(MIB))) return void writer.once('drain', push)
    }
  }
  push()
  expect(await steady(() => received)).toBeLessThan(32 * MIB)
  writer.destroy()
})

test('gateway - the head and single pieces of a slow answer arrive at once', async () => {
  let step: () => void = () => undefined
  const a = await upstream('a', (_incoming, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    step = () => response.write('data: 1\n\n')
  })
  const gateway = await gatewayTo([a])
  const first = await new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port: gateway.port, agent: false }, (response) => {
      response.once('data', (chunk) => {
        asking.destroy()
        resolve(String(chunk))
      })
      step()
    })
    asking.on('error', reject).end()
  })
  expect(first).toBe('data: 1\n\n')
})

test('gateway - 200 aborted requests leave no connection to a server in use', async () => {
  let arrived = 0
  const a = await upstream('a', (_incoming, response) => {
    arrived++
    if (arrived % 2 === 0) response.write('first part')
  })
  const gateway = await gatewayTo([a])
  const agent = new Agent({ maxSockets: 200 })
  const askings = Array.from({ length: 200 }, () => request({ host: '127.0.0.1', port: gateway.port, agent }).on('error', () => undefined))
  for (const asking of askings) asking.end()
  await waitFor('all arrived', () => arrived === 200)
  expect(a.sockets.size).toBeGreaterThanOrEqual(200)
  for (const asking of askings) asking.destroy()
  await waitFor('no socket in use', () => a.sockets.size <= 1, 2_000)
  expect(gateway.servers()[0]).toMatchObject({ active: 0, state: 'up', failures: 0 })
})

test('gateway - an upload given up half-way is given up at the server too, and does not count against it', async () => {
  let aborted = false
  let seen = 0
  const a = await upstream(
    'a',
    (incoming) => void incoming.on('data', (chunk: Buffer) => (seen += chunk.length)).on('error', () => (aborted = true)),
  )
  const gateway = await gatewayTo([a])
  const asking = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', headers: { 'content-length': '1000' } }).on(
    'error',
    () => undefined,
  )
  asking.write('half')
  await waitFor('the first half arrived', () => seen === 4)
  asking.destroy()
  await waitFor('aborted', () => aborted)
  expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
})

test('gateway - an answer that breaks off breaks the client’s connection', async () => {
  const a = await upstream('a', (incoming, response) => {
    response.writeHead(200, incoming.url === '/sized' ? { 'content-length': '100' } : {})
    response.write('part of it', () => setTimeout(() => incoming.socket.resetAndDestroy(), 20))
  })
  const gateway = await gatewayTo([a])
  await expect(ask(gateway.port, { path: '/sized' })).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  await expect(ask(gateway.port, { path: '/chunked' })).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  expect(gateway.totals().failed).toBe(2)
})

test('gateway - an answer before the upload has ended arrives, and the connection serves the next request', async () => {
  const a = await upstream('a', (incoming, response) => {
    if (incoming.method === 'POST') return void setTimeout(() => response.writeHead(413).end('too large'), 100)
    response.end('next')
  })
  const gateway = await gatewayTo([a])
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const post = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', agent, headers: { 'content-length': `${32 * MIB}` } })
  const status = await new Promise((resolve, reject) => {
    post.on('error', reject).on('response', (response) => void response.resume().on('end', () => resolve(response.statusCode)))
    post.end(Buffer.alloc(32 * MIB))
  })
  expect(status).toBe(413)
  const next = await new Promise((resolve, reject) => {
    const get = request(
      { host: '127.0.0.1', port: gateway.port, agent },
      (response) => void response.on('data', (chunk) => resolve(String(chunk))),
    )
    get.on('error', reject).end()
  })
  expect(next).toBe('next')
  agent.destroy()
})

test('gateway - a server that begins no answer is 504, one that answers nonsense 502', async () => {
  const a = await upstream('a', (incoming) => {
    if (incoming.url === '/nonsense') incoming.socket.end('HELLO THERE\r\n\r\n')
  })
  const gateway = await gatewayTo([a], { headersTimeoutMs: 300 })
  const slow = await ask(gateway.port, { method: 'POST', body: 'x' })
  expect([slow.status, JSON.parse(slow.text).error.code]).toEqual([504, 'GATEWAY_TIMEOUT'])
  const nonsense = await ask(gateway.port, { path: '/nonsense' })
  expect([nonsense.status, JSON.parse(nonsense.text).error.code]).toEqual([502, 'GATEWAY_SERVER_FAILED'])
})

test('gateway - a busy port is PORT_IN_USE', async () => {
  const a = await upstream('a', (_incoming, response) => response.end())
  const second = createGateway({ to: [], port: a.port })
  await expect(second.listen()).rejects.toMatchObject({ code: 'PORT_IN_USE', message: expect.stringContaining(String(a.port)) })
  await second.close()
})

test('gateway - options are checked together, duplicates are named once', () => {
  const problemsOf = (make: () => unknown): string => {
    try {
      make()
    } catch (error) {
      if (SessionError.is(error) && error.code === 'CONFIG_INVALID') return error.message
      throw error
    }
    return ''
  }
  const many = problemsOf(() =>
    createGateway({ to: ['ftp://x', 'http://a/path'], policy: 'best' as never, retries: -1, surprise: 1 } as never),
  )
  for (const part of ['to.0', 'to.1', 'policy', 'retries', 'surprise']) expect(many).toContain(part)
  const twice = problemsOf(() => createGateway({ to: ['http://127.0.0.1:1', 'http://127.0.0.1:1/'] }))
  expect(twice).toBe('Gateway: to: http://127.0.0.1:1 is named twice: remove one.')
  expect(
    problemsOf(() =>
      createGateway({
        to: [
          { id: 'a', url: 'http://h:1' },
          { id: 'a', url: 'http://h:2' },
        ],
      }),
    ),
  ).toContain('own id') // prettier-ignore
})
