import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import type { ServerEvent } from '../../../src/gateway/index.ts'
import { freePort } from '../../setup/ports.ts'
import { ask, gatewayTo, stateOf, upstream, waitFor } from './harness.ts'

const named =
  (name: string) =>
  (incoming: IncomingMessage, response: ServerResponse): void => {
    incoming.resume()
    response.end(name)
  }

test('fail-over - no server at all is 503 with Retry-After', async () => {
  const gateway = await gatewayTo([])
  const answer = await ask(gateway.port)
  expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '1', 'content-type': 'application/json; charset=utf-8' } })
  expect(JSON.parse(answer.text).error.code).toBe('GATEWAY_NO_SERVER')
})

test('fail-over - a POST whose dial fails goes to the next server, body and all', async () => {
  const [a, b] = [await upstream('a', named('a')), await upstream('b', (incoming, response) => void incoming.pipe(response))]
  const gateway = await gatewayTo([a, b], { health: { everyMs: 60_000 } })
  await a.kill()
  for (let at = 0; at < 4; at++)
    expect(await ask(gateway.port, { method: 'POST', body: `body ${at}` })).toMatchObject({ status: 200, text: `body ${at}` })
  expect(gateway.totals()).toEqual({ requests: 4, failed: 0, retried: 1 })
  expect(stateOf(gateway, 'a')).toBe('down')
})

test('fail-over - a GET reset before its answer is repeated elsewhere, a POST is 502', async () => {
  const posts: string[] = []
  const reset = (incoming: IncomingMessage): void => {
    if (incoming.method === 'POST') posts.push('a')
    incoming.on('data', () => undefined).on('end', () => incoming.socket.resetAndDestroy())
  }
  const a = await upstream('a', reset)
  const b = await upstream('b', (incoming, response) => {
    if (incoming.method === 'POST') posts.push('b')
    named('b')(incoming, response)
  })
  const gateway = await gatewayTo([a, b])
  for (let at = 0; at < 4; at++) expect(await ask(gateway.port)).toMatchObject({ status: 200, text: 'b' })
  const statuses: number[] = []
  for (let at = 0; at < 6; at++) {
    await waitFor('a is up again', () => stateOf(gateway, 'a') === 'up')
    const answer = await ask(gateway.port, { method: 'POST', body: 'x' })
    statuses.push(answer.status)
    if (answer.status === 502) expect(JSON.parse(answer.text).error.code).toBe('GATEWAY_SERVER_FAILED')
  }
  expect(new Set(statuses)).toEqual(new Set([200, 502]))
  expect(posts).toHaveLength(6)
})

test('fail-over - a POST without a body is not repeated either', async () => {
  let asked = 0
  const reset = (incoming: IncomingMessage): void => {
    asked++
    incoming.socket.resetAndDestroy()
  }
  const gateway = await gatewayTo([await upstream('a', reset), await upstream('b', reset)])
  expect((await ask(gateway.port, { method: 'POST' })).status).toBe(502)
  expect(asked).toBe(1)
})

test('fail-over - the only server left is asked once more when it breaks a connection', async () => {
  let count = 0
  const a = await upstream('a', (incoming, response) => {
    if (count++ === 0) incoming.socket.resetAndDestroy()
    else response.end('second')
  })
  const gateway = await gatewayTo([a])
  expect(await ask(gateway.port)).toMatchObject({ status: 200, text: 'second' })
})

test('fail-over - a killed server under GET load costs no client an error, and comes back by itself', async () => {
  const slow = (name: string) => (_incoming: IncomingMessage, response: ServerResponse) => void setTimeout(() => response.end(name), 5)
  const servers = [await upstream('a', slow('a')), await upstream('b', slow('b')), await upstream('c', slow('c'))]
  const gateway = await gatewayTo(servers)
  const answers = new Map<string, number>()
  let running = true
  async function visitor(): Promise<void> {
    while (running) {
      const { status, text } = await ask(gateway.port)
      const key = `${status} ${text}`
      answers.set(key, (answers.get(key) ?? 0) + 1)
    }
  }
  const visitors = Array.from({ length: 16 }, visitor)
  await waitFor('all three answer', () => answers.size === 3)
  await servers[1]?.kill()
  answers.clear()
  await waitFor('the others answer', () => [...answers.values()].reduce((sum, one) => sum + one, 0) > 300)
  const again = await upstream('b', slow('again'), servers[1]?.port)
  const since = performance.now()
  await waitFor('it is back', () => answers.has('200 again'))
  expect(performance.now() - since).toBeLessThan(1_500)
  running = false
  await Promise.all(visitors)
  expect([...answers.keys()].filter((key) => !key.startsWith('200'))).toEqual([])
  expect(gateway.totals().failed).toBe(0)
  await again.kill()
})

test('fail-over - a server that accepts and does not answer is down within a second, its GETs go elsewhere', async () => {
  const a = await upstream('a', () => undefined)
  const b = await upstream('b', named('b'))
  const gateway = await gatewayTo([a, b], { health: { everyMs: 100, timeoutMs: 200 } })
  a.health.silent = true
  const since = performance.now()
  const both = await Promise.all([ask(gateway.port), ask(gateway.port)])
  expect(both.map(({ status, text }) => [status, text])).toEqual([
    [200, 'b'],
    [200, 'b'],
  ]) // prettier-ignore
  expect(performance.now() - since).toBeLessThan(1_000)
  expect(stateOf(gateway, 'a')).toBe('down')
  a.health.silent = false
  await waitFor('a is up again', () => stateOf(gateway, 'a') === 'up')
})

test('fail-over - when every server is only slow, requests wait for them instead of failing', async () => {
  const a = await upstream('a', named('a'))
  const gateway = await gatewayTo([a], { health: { everyMs: 50, timeoutMs: 50 } })
  a.health.silent = true
  await waitFor('a is down', () => stateOf(gateway, 'a') === 'down')
  expect(await ask(gateway.port)).toMatchObject({ status: 200, text: 'a' })
})

test('health - 503 gets no new requests, 500 is down, 404 is up, and every change is told', async () => {
  const a = await upstream('a', named('a'))
  const b = await upstream('b', named('b'))
  const gateway = await gatewayTo([a, b], { health: { everyMs: 30 } })
  const events: ServerEvent[] = []
  for (const type of ['up', 'down', 'draining'] as const) gateway.on(type, (event) => events.push(event))
  for (const [status, state] of [
    [503, 'draining'],
    [500, 'down'],
    [404, 'up'],
  ] as const) {
    a.health.status = status
    await waitFor(`a is ${state}`, () => stateOf(gateway, 'a') === state)
    const texts = new Set([(await ask(gateway.port)).text, (await ask(gateway.port)).text])
    expect(texts).toEqual(new Set(state === 'up' ? ['a', 'b'] : ['b']))
  }
  expect(events.map(({ type, id }) => `${type} ${id}`)).toEqual(['draining a', 'down a', 'up a'])
})

test('drain - nothing new, what is under way ends, then it may go; a new process in its place is used again', async () => {
  let finish: () => void = () => undefined
  const a = await upstream('a', (incoming, response) => {
    if (incoming.url === '/slow') finish = () => response.end('done')
    else response.end('a')
  })
  const b = await upstream('b', named('b'))
  const gateway = await gatewayTo([a, b], { health: { everyMs: 30 } })
  const slow = [ask(gateway.port, { path: '/slow' }), ask(gateway.port, { path: '/slow' })]
  await waitFor('under way', () => gateway.servers().every(({ requests }) => requests > 0))
  let drained = false
  const draining = gateway.drain('a').then(() => (drained = true))
  for (let at = 0; at < 4; at++) expect((await ask(gateway.port)).text).toBe('b')
  expect(stateOf(gateway, 'a')).toBe('draining')
  expect(drained).toBe(false)
  finish()
  await draining
  expect((await Promise.all(slow)).map(({ text }) => text).sort()).toEqual(['b', 'done'])
  await a.kill()
  await waitFor('a is down', () => stateOf(gateway, 'a') === 'down')
  await upstream('a', named('a'), a.port)
  await waitFor('a is up', () => stateOf(gateway, 'a') === 'up')
  await gateway.drain('b')
  expect((await ask(gateway.port)).text).toBe('a')
  gateway.resume('b')
  await waitFor('b is up', () => stateOf(gateway, 'b') === 'up')
})

test('add and remove - servers come and go under load without an error', async () => {
  const servers = [await upstream('a', named('a')), await upstream('b', named('b'))]
  const gateway = await gatewayTo(servers)
  const bad: number[] = []
  const seen = new Set<string>()
  let running = true
  const visitors = Array.from({ length: 8 }, async () => {
    for (let at = 0; running; at++) {
      const { status, text } = await ask(gateway.port, at % 2 === 0 ? {} : { method: 'POST', body: 'x' })
      seen.add(text)
      if (status !== 200) bad.push(status)
    }
  })
  const c = await upstream('c', named('c'))
  await gateway.add(c.url)
  await waitFor('c is used', () => seen.has('c'))
  await gateway.remove('a')
  expect(gateway.servers().map(({ id }) => id)).toEqual(['b', `127.0.0.1:${c.port}`])
  await servers[0]?.kill()
  seen.clear()
  await waitFor('both are used', () => seen.has('b') && seen.has('c'))
  running = false
  await Promise.all(visitors)
  expect(bad).toEqual([])
  await expect(gateway.add({ id: 'b', url: 'http://127.0.0.1:1' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await expect(gateway.remove('nobody')).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
})

test('close - ends in time although a request hangs and a WebSocket is open, and leaves no connection', async () => {
  const a = await upstream('a', () => undefined)
  a.http.on('upgrade', (_incoming, socket) =>
    socket
      .on('end', () => socket.end())
      .resume()
      .write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'),
  )
  const gateway = await gatewayTo([a])
  const hanging = ask(gateway.port).catch(() => 'cut')
  const socket = connect(gateway.port, '127.0.0.1', () =>
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'),
  )
  await new Promise((resolve) => socket.once('data', resolve))
  const gone = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => undefined)
  await waitFor('both under way', () => gateway.servers()[0]?.active === 2)
  const since = performance.now()
  await gateway.close(100)
  expect(performance.now() - since).toBeLessThan(1_000)
  expect(await hanging).toBe('cut')
  await gone
  await waitFor('no upstream connection', () => a.sockets.size === 0, 2_000)
})

test('gateway - a port nobody listens on is down from the start and answers 503', async () => {
  const gateway = await gatewayTo([{ id: 'x', url: `http://127.0.0.1:${await freePort()}` }])
  expect(stateOf(gateway, 'x')).toBe('down')
  expect((await ask(gateway.port, { method: 'HEAD' })).status).toBe(503)
})
