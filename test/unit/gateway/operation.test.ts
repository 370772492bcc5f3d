import { Agent, request, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { type AccessLine, createGateway } from '../../../src/gateway/index.ts'
import { freePort } from '../../setup/ports.ts'
import { ask, gatewayTo, rawAsk, stateOf, upstream, waitFor, type Upstream } from './harness.ts'

const named = (id: string): Promise<Upstream> => upstream(id, (_incoming, response) => response.end(id))

/** Answers only when told to. */
async function holding(id: string): Promise<{ server: Upstream; held: ServerResponse[] }> {
  const held: ServerResponse[] = []
  return { server: await upstream(id, (_incoming, response) => void held.push(response)), held }
}

describe('limits', () => {
  test('a full server lets requests wait, in order, and visitors who may go elsewhere go elsewhere', async () => {
    const { server, held } = await holding('a')
    const gateway = await gatewayTo([server], { limits: { perServer: 2, queue: 2, queueMs: 60_000 } })
    const answers: string[] = []
    const asked = ['1', '2', '3', '4'].map(async (path) => {
      const { text } = await ask(gateway.port, { path: `/${path}` })
      answers.push(text)
    })
    await waitFor('two under way, two waiting', () => gateway.servers()[0]?.active === 2 && gateway.servers()[0]?.waiting === 2)
    expect(held).toHaveLength(2)
    const crowded = await ask(gateway.port)
    expect(crowded).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    for (let at = 0; at < 4; at++) {
      await waitFor('the next', () => held.length > at)
      held[at]?.end(`${at}`)
    }
    await Promise.all(asked)
    expect(answers.sort()).toEqual(['0', '1', '2', '3'])
    const second = await named('b')
    await gateway.add(second.url)
    const busy = [ask(gateway.port), ask(gateway.port), ask(gateway.port), ask(gateway.port)]
    await waitFor('two at a', () => gateway.servers()[0]?.active === 2)
    for (let at = 0; at < 5; at++) expect((await ask(gateway.port)).text).toBe('b')
    for (const response of held) response.end('a')
    await Promise.all(busy)
  })

  test('a wait ends: with 503 at its deadline, elsewhere when the server goes, with nothing when the client leaves', async () => {
    const { server, held } = await holding('a')
    const gateway = await gatewayTo([server], { limits: { perServer: 1, queue: 8, queueMs: 300 }, health: { everyMs: 50 } })
    const first = ask(gateway.port)
    await waitFor('one under way', () => held.length === 1)
    expect((await ask(gateway.port)).status).toBe(503)
    const leaving = connect(gateway.port, '127.0.0.1', () => leaving.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    await waitFor('one waits', () => gateway.servers()[0]?.waiting === 1)
    leaving.destroy()
    await waitFor('it left', () => gateway.servers()[0]?.waiting === 0)
    const b = await named('b')
    const moved = ask(gateway.port)
    await waitFor('one waits', () => gateway.servers()[0]?.waiting === 1)
    await gateway.add({ id: 'b', url: b.url })
    server.health.status = 503
    expect((await moved).text).toBe('b')
    held[0]?.end('a')
    await first
  })

  test('a WebSocket that finds no room is 503 at once', async () => {
    const { server, held } = await holding('a')
    const gateway = await gatewayTo([server], { limits: { perServer: 1 } })
    const first = ask(gateway.port)
    await waitFor('full', () => held.length === 1)
    const seen = await rawAsk(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    expect(seen).toMatch(/^HTTP\/1\.1 503 /)
    held[0]?.end()
    await first
  })
})

describe('setServers', () => {
  test('those that stay keep what is under way, those that go end what they have, new ones serve; nobody sees an error', async () => {
    const [a, b, c] = [await holding('a'), await named('b'), await named('c')]
    const gateway = await gatewayTo([a.server, b])
    const under = ask(gateway.port)
    await waitFor('a is busy', () => a.held.length === 1)
    const bad: number[] = []
    let running = true
    const visitors = Array.from({ length: 4 }, async () => {
      while (running) {
        const { status } = await ask(gateway.port, { method: 'POST', body: 'x' })
        if (status !== 200) bad.push(status)
      }
    })
    const set = gateway.setServers([
      { id: 'c', url: c.url },
      { id: 'b', url: b.url },
    ]) // prettier-ignore
    expect(gateway.servers().map(({ id }) => id)).toEqual(['c', 'b'])
    await waitFor('c serves', () => (gateway.servers()[0]?.requests ?? 0) > 5)
    for (const response of a.held) response.end('a')
    await set
    running = false
    await Promise.all(visitors)
    expect((await under).text).toBe('a')
    expect(bad).toEqual([])
    await waitFor('no connection to a is left', () => a.server.sockets.size === 0)
    expect(gateway.totals().failed).toBe(0)
  })

  test('a list with a duplicate changes nothing; an unreachable member is one line and the others serve', async () => {
    const [a, port, lines] = [await named('a'), await freePort(), [] as string[]]
    const logger = { warn: (line: string) => void lines.push(line), error: (line: string) => void lines.push(line) }
    const gateway = await gatewayTo([a], { logger })
    await expect(gateway.setServers([a.url, `${a.url}/`])).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `Gateway: to: ${a.url} is named twice: remove one.`,
    })
    expect(gateway.servers().map(({ id }) => id)).toEqual(['a'])
    await gateway.setServers([
      { id: 'a', url: a.url },
      { id: 'dead', url: `http://127.0.0.1:${port}` },
    ]) // prettier-ignore
    expect(lines).toEqual(['Gateway: server dead is down: it cannot be reached.'])
    for (let at = 0; at < 4; at++) expect((await ask(gateway.port)).text).toBe('a')
    await waitFor('checked again', () => stateOf(gateway, 'dead') === 'down')
    expect(lines).toHaveLength(1)
  })

  test('an unreachable member of the first list is one line too', async () => {
    const lines: string[] = []
    const logger = { warn: (line: string) => void lines.push(line), error: (line: string) => void lines.push(line) }
    const a = await named('a')
    await gatewayTo([a, { id: 'dead', url: `http://127.0.0.1:${await freePort()}` }], { logger })
    expect(lines).toEqual(['Gateway: server dead is down: it cannot be reached.'])
  })
})

describe('who speaks for whom', () => {
  const echo = (): Promise<Upstream> => upstream('a', (incoming, response) => response.end(JSON.stringify(incoming.headers)))

  test('a listed proxy is believed, up to the first address that is no proxy’s; others are not', async () => {
    const a = await echo()
    const sent = { 'x-forwarded-for': '6.6.6.6, 203.0.113.9, 10.1.1.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example' }
    const lines: AccessLine[] = []
    const trusting = await gatewayTo([a], { trustForwarded: ['127.0.0.1', '10.0.0.0/8'], accessLog: (line) => lines.push(line) })
    expect(JSON.parse((await ask(trusting.port, { headers: sent })).text)).toMatchObject({
      'x-forwarded-for': '6.6.6.6, 203.0.113.9, 10.1.1.1, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'shop.example',
    })
    await waitFor('the line', () => lines.length === 1)
    expect(lines[0]?.address).toBe('203.0.113.9')
    const wary = await gatewayTo([a], { trustForwarded: ['10.0.0.0/8'] })
    expect(JSON.parse((await ask(wary.port, { headers: sent })).text)).toMatchObject({
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
    })
  })

  test('networks that are none are refused at creation', () => {
    expect(() => createGateway({ to: [], trustForwarded: ['10.0.0.0/33'] })).toThrow(/10\.0\.0\.0\/8/)
    expect(() => createGateway({ to: [], trustForwarded: ['localhost'] })).toThrow(/addresses or networks/)
  })
})

describe('what is told', () => {
  test('the access log has the path and neither the query, nor a cookie, nor a token', async () => {
    const a = await named('a')
    const lines: AccessLine[] = []
    const gateway = await gatewayTo([a], { accessLog: (line) => lines.push(line) })
    await ask(gateway.port, {
      path: '/cart;jsessionid=CANARY?token=CANARY',
      headers: { cookie: 'session=CANARY', 'x-session-token': 'CANARY', authorization: 'CANARY' },
    })
    await rawAsk(gateway.port, 'GET http://evil/CANARY HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await waitFor('two lines', () => lines.length === 2)
    expect(lines[0]).toMatchObject({ method: 'GET', path: '/cart', status: 200, bytes: 1, server: 'a', http: '1.1', address: '127.0.0.1' })
    expect(lines[1]).toMatchObject({ status: 400, server: null })
    expect(JSON.stringify(lines) + gateway.metrics()).not.toContain('CANARY')
  })

  test('metrics count answers, retries and what is under way, on a port of their own', async () => {
    const { server, held } = await holding('a')
    const b = await named('b')
    const gateway = createGateway({
      to: [
        { id: 'a', url: server.url },
        { id: 'b', url: b.url },
      ],
      metrics: { port: 0 },
    }) // prettier-ignore
    const { port, metricsPort = 0 } = await gateway.listen()
    const waiting = ask(port)
    await waitFor('under way', () => held.length === 1)
    expect((await ask(port)).text).toBe('b')
    const { text, headers } = await ask(metricsPort, { path: '/metrics' })
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    for (const line of [
      'holdfast_gateway_requests_total 2',
      'holdfast_gateway_answers_total{server="b",status="2xx"} 1',
      'holdfast_gateway_server_active{server="a"} 1',
      'holdfast_gateway_server_up{server="b"} 1',
      'holdfast_gateway_request_seconds_count 1',
      'holdfast_gateway_request_seconds_bucket{le="+Inf"} 1',
    ]) {
      expect(text.split('\n')).toContain(line)
    }
    for (const line of text.trim().split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [\d.]+)$/)
    expect((await ask(metricsPort, { path: '/metrics', headers: { host: 'evil.example' } })).status).toBe(403)
    expect((await ask(metricsPort, { path: '/' })).status).toBe(404)
    const forAll = ask(port, { path: '/metrics' })
    await waitFor('no visitor sees them', () => held.length === 2)
    for (const response of held) response.end()
    await Promise.all([waiting, forAll])
    await gateway.close(0)
    await expect(ask(metricsPort, { path: '/metrics' })).rejects.toThrow(/ECONNREFUSED/)
  })
})

test('keep-alive - connections to servers are used again, and those the server closed are not', async () => {
  const a = await named('a')
  let connections = 0
  a.http.on('connection', () => connections++)
  a.http.keepAliveTimeout = 20_000
  const gateway = await gatewayTo([a], { health: { everyMs: 60_000 } })
  const before = connections
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const once = (method: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const asking = request(
        { host: '127.0.0.1', port: gateway.port, method, agent },
        (response) => void response.resume().on('end', () => resolve(response.statusCode)),
      )
      asking.on('error', reject).end()
    })
  for (let at = 0; at < 20; at++) expect(await once(at % 2 === 0 ? 'GET' : 'POST')).toBe(200)
  expect(connections - before).toBe(1)
  for (const socket of a.sockets) socket.destroy()
  expect(await once('POST')).toBe(200)
  expect(connections - before).toBe(2)
  agent.destroy()
})

test('pipelining - requests that come at once are answered in order', async () => {
  const a = await upstream('a', (incoming, response) => {
    setTimeout(() => response.end(`<${incoming.url}>`), incoming.url === '/1' ? 100 : 0)
  })
  const gateway = await gatewayTo([a])
  const bytes = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join('')
  const seen = await rawAsk(gateway.port, bytes, (text) => text.includes('</3>'))
  expect(seen.match(/<\/\d>/g)).toEqual(['</1>', '</2>', '</3>'])
})

test('timeouts - an answer that stops half-way is broken off, one that a client pauses for less than that is not', async () => {
  const a = await upstream('a', (incoming, response) => {
    response.writeHead(200).write('part')
    if (incoming.url === '/big') response.end(Buffer.alloc(8 * 1024 * 1024))
  })
  const gateway = await gatewayTo([a], { idleTimeoutMs: 1_500 })
  await expect(ask(gateway.port)).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  const size = await new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port: gateway.port, path: '/big', agent: false }, (response) => {
      let bytes = 0
      response.pause()
      setTimeout(() => response.resume(), 500)
      response
        .on('data', (chunk: Buffer) => (bytes += chunk.length))
        .on('end', () => resolve(bytes))
        .on('error', reject) // prettier-ignore
    })
    asking.on('error', reject).end()
  })
  expect(size).toBe(8 * 1024 * 1024 + 4)
})

test('timeouts - a server that stops reading a body is 504, and so is one that only ever says 100', async () => {
  const a = await upstream('a', (incoming, response) => {
    if (incoming.url === '/body') return
    const more = setInterval(() => response.writeContinue(), 20)
    response.on('close', () => clearInterval(more))
  })
  const gateway = await gatewayTo([a], { idleTimeoutMs: 400, headersTimeoutMs: 400 })
  const answers = await Promise.all([
    ask(gateway.port, { path: '/body', method: 'POST', body: Buffer.alloc(32 * 1024 * 1024) }),
    ask(gateway.port, { path: '/interim', method: 'POST' }),
  ])
  expect(answers.map(({ status }) => status)).toEqual([504, 504])
  await waitFor('no connection is left', () => gateway.servers()[0]?.active === 0)
})
