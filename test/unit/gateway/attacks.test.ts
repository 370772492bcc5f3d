import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AccessLine } from '../../../src/gateway/index.ts'
import { forbidden, isIdle, UPGRADE, witness } from './attack-tools.ts'
import { ask, gatewayTo, rawAsk, waitFor } from './harness.ts'

test('attack - Connection names the fields that the gateway adds, and those that frame the request', async () => {
  const { server, requests } = await witness()
  const gateway = await gatewayTo([server])
  const names =
    'close, X-Forwarded-For, x-forwarded-proto, X-FORWARDED-HOST, x-holdfast-route, content-length, transfer-encoding, host, cookie, authorization, origin, content-type'
  const head = `POST /x HTTP/1.1\r\nHost: shop\r\nConnection: ${names}\r\nConnection: x-forwarded-for\r\nCookie: c=1\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: b\r\nOrigin: https://shop\r\nContent-Type: text/x\r\n`
  await rawAsk(gateway.port, `${head}Content-Length: 4\r\n\r\nbody`)
  await rawAsk(gateway.port, `${head}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n`)
  expect(requests).toHaveLength(2)
  for (const { body, headers } of requests) {
    expect(body).toBe('body')
    expect(headers).toMatchObject({
      host: 'shop',
      cookie: 'c=1',
      authorization: 'b',
      origin: 'https://shop',
      'content-type': 'text/x',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'shop',
    })
  }
})

test('attack - the same on an upgrade', async () => {
  const { server } = await witness()
  let seen: Record<string, unknown> = {}
  server.http.on('upgrade', (incoming, socket) => {
    seen = incoming.headers
    socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')
  })
  const gateway = await gatewayTo([server])
  const bytes =
    'GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: Upgrade, x-forwarded-for, host, cookie, sec-websocket-key\r\nCookie: c=1\r\nSec-WebSocket-Key: k\r\n\r\n'
  await rawAsk(gateway.port, bytes)
  expect(seen).toMatchObject({ host: 'shop', cookie: 'c=1', 'x-forwarded-for': '127.0.0.1', connection: 'Upgrade', upgrade: 'websocket' })
})

test('attack - lengths and codings in any combination hide no second request', async () => {
  const { server, requests } = await witness()
  const entries: AccessLine[] = []
  const gateway = await gatewayTo([server], { accessLog: (line) => entries.push(line) })
  const hidden = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
  const field = fc.constantFrom(
    'Content-Length: 0',
    `Content-Length: ${hidden.length}`,
    'Content-Length: 5',
    `content-length: 0${hidden.length}`,
    'Content-Length: 0x5',
    'Content-Length: -1',
    'Content-Length: 99999999999999999999',
    'Content-Length:',
    'Content-Length : 5',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: Chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding: chunked, chunked',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding: \u000bchunked',
    'Transfer-Encoding: "chunked"',
    'X: y\nTransfer-Encoding: chunked',
    'X: y\rTransfer-Encoding: chunked',
    'Connection: content-length',
    'Connection: transfer-encoding',
  )
  const bodies = fc.constantFrom('', '0\r\n\r\n', '5\r\nhello\r\n0\r\n\r\n', '0\r\nX: y\r\n\r\n', '5;a=b\r\nhello\r\n0\r\n\r\n', '0\n\n')
  let [refused, tries] = [0, 0]
  await fc.assert(
    fc.asyncProperty(
      fc.array(field, { minLength: 1, maxLength: 3 }),
      bodies,
      fc.constantFrom('POST', 'GET'),
      async (fields, body, method) => {
        requests.length = 0
        entries.length = 0
        const bytes = `${method} / HTTP/1.1\r\nHost: a\r\n${fields.join('\r\n')}\r\n\r\n${body}${hidden}`
        const enough = (seen: string): boolean => (seen.match(/HTTP\/1\.1 \d/g) ?? []).length === 2 || / 40\d /.test(seen)
        const seen = await rawAsk(gateway.port, bytes, enough).catch(() => '')
        tries++
        if (seen.includes(' 400 ')) refused++
        await waitFor('idle', () => isIdle(gateway))
        // The server never sees a request that the gateway has not seen, nor another one.
        const known = entries.map(({ method: asked, path }) => `${asked} ${path}`)
        for (const { method: asked, url } of requests) {
          const at = known.indexOf(`${asked} ${url}`)
          expect(at, `${asked} ${url}`).toBeGreaterThanOrEqual(0)
          known.splice(at, 1)
        }
      },
    ),
    { numRuns: 150, interruptAfterTimeLimit: 12_000 },
  )
  // A slow machine gets through fewer of them in the time.
  expect(tries).toBeGreaterThan(5)
  expect(refused / tries).toBeGreaterThan(0.1)
})

describe('attack - targets', () => {
  test('absolute and //host targets never choose where a request or an upgrade goes', async () => {
    const { server, requests } = await witness()
    const upgrades: string[] = []
    server.http.on('upgrade', (incoming, socket) => {
      upgrades.push(incoming.url as string)
      socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')
    })
    const gateway = await gatewayTo([server])
    const away = await forbidden()
    const foreign = `127.0.0.1:${away.port}`
    for (const fields of ['Connection: close\r\n', UPGRADE]) {
      for (const target of [
        `http://${foreign}/x`,
        `ws://${foreign}/x`,
        `http://a@${foreign}/x`,
        `http://a:b@${foreign}/`,
        foreign,
        `*`,
        `?x`,
        `http:/${foreign}/x`,
      ]) {
        expect(await rawAsk(gateway.port, `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`), target).toMatch(/^HTTP\/1\.1 400 /)
      }
      for (const target of [`//${foreign}/x`, `///${foreign}/x`, `/\\${foreign}/x`, `http://a//${foreign}/x`]) {
        await rawAsk(gateway.port, `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`)
      }
    }
    expect(requests.map(({ url }) => url)).toEqual(Array.from({ length: 4 }, () => `/${foreign}/x`))
    expect(upgrades).toEqual(Array.from({ length: 4 }, () => `/${foreign}/x`))
    expect(away.visits()).toBe(0)
  })

  test('a Host of another machine is only a name', async () => {
    const { server, requests } = await witness()
    const gateway = await gatewayTo([server])
    const away = await forbidden()
    await ask(gateway.port, { headers: { host: `127.0.0.1:${away.port}` } })
    expect(requests).toHaveLength(1)
    expect(away.visits()).toBe(0)
  })
})

describe('attack - headers without end', () => {
  test('more than 16 KB of header fields are 431 and reach no server', async () => {
    const { server, requests } = await witness()
    const gateway = await gatewayTo([server])
    const long = `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`
    const many = `GET / HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 3_000 }, (_, at) => `X-${at}: y\r\n`).join('')}\r\n`
    const line = `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`
    for (const bytes of [long, many, line])
      expect(await rawAsk(gateway.port, bytes).catch(() => 'HTTP/1.1 431 ')).toMatch(/^HTTP\/1\.1 431 /)
    expect(requests).toEqual([])
    expect((await ask(gateway.port)).status).toBe(200)
  })

  test('two thousand small fields hide neither the body nor the cookie behind them', async () => {
    const { server, requests } = await witness()
    server.http.maxHeadersCount = 0
    const gateway = await gatewayTo([server])
    const junk = 'a:\r\n'.repeat(2_100)
    await rawAsk(gateway.port, `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${junk}Cookie: c=1\r\nContent-Length: 4\r\n\r\nbody`)
    expect(requests[0]).toMatchObject({ body: 'body', headers: { cookie: 'c=1', 'x-forwarded-for': '127.0.0.1' } })
  })
})
