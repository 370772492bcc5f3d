import { describe, expect, onTestFinished, test } from 'vitest'
import { forbidden, isIdle, open, UPGRADE, witness } from './attack-tools.ts'
import { ask, gatewayTo, rawAsk, upstream, waitFor, type Upstream } from './harness.ts'

describe('attack - slow clients', () => {
  test('a head that never ends is cut, and so is a connection that says nothing', async () => {
    const { server, requests } = await witness()
    const gateway = await gatewayTo([server], { clientHeadersTimeoutMs: 300 })
    const silent = open(gateway.port, '')
    const dribbling = open(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\n')
    const drops = setInterval(() => dribbling.socket.write('X: y\r\n'), 50)
    onTestFinished(() => clearInterval(drops))
    await waitFor('both cut', () => silent.closed() && dribbling.closed(), 5_000)
    expect(dribbling.seen()).toMatch(/^HTTP\/1\.1 408 /)
    expect(requests).toEqual([])
  })

  test('a body that dribbles is 408 and frees the server; one that keeps the pace is not cut', async () => {
    let under = 0
    const server = await upstream('a', (incoming, response) => {
      under++
      incoming.on('error', () => undefined).on('close', () => under--)
      incoming.on('end', () => response.end('whole')).resume()
    })
    const gateway = await gatewayTo([server], { clientBodyTimeoutMs: 300 })
    const slow = open(gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n')
    const steady = open(gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n')
    let sent = 0
    const drops = setInterval(() => {
      slow.socket.write('x')
      if (sent < 3_000) steady.socket.write('x'.repeat(100))
      sent += 100
    }, 50)
    onTestFinished(() => clearInterval(drops))
    await waitFor('cut', () => slow.closed(), 5_000)
    expect(slow.seen()).toMatch(/^HTTP\/1\.1 408 .*REQUEST_TOO_SLOW/s)
    await waitFor('the steady one is served', () => steady.closed(), 10_000)
    expect(steady.seen()).toMatch(/^HTTP\/1\.1 200 .*whole/s)
    await waitFor('nothing is left', () => under === 0 && isIdle(gateway))
    expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
  })

  test('a server that reads slowly does not make its client a slow one', async () => {
    const server = await upstream('a', (incoming, response) => {
      setTimeout(() => incoming.resume().on('end', () => response.end('whole')), 1_000)
    })
    const gateway = await gatewayTo([server], { clientBodyTimeoutMs: 200 })
    expect(await ask(gateway.port, { method: 'POST', body: Buffer.alloc(16 * 1024 * 1024) })).toMatchObject({ status: 200, text: 'whole' })
  })

  test('no more connections than allowed', async () => {
    const { server } = await witness()
    const gateway = await gatewayTo([server], { limits: { connections: 2 } })
    const first = [open(gateway.port, 'GET / HTTP/1.1\r\n'), open(gateway.port, 'GET / HTTP/1.1\r\n')]
    await waitFor('third refused', async () => (await ask(gateway.port).catch(() => undefined)) === undefined)
    first[0]?.socket.destroy()
    await waitFor('room again', async () => (await ask(gateway.port).catch(() => undefined))?.status === 200)
  })
})

describe('attack - upgrades', () => {
  async function chat(): Promise<{ server: Upstream; ends: () => number }> {
    let ends = 0
    const server = await upstream('a', (_incoming, response) => response.end('plain'))
    server.http.on('upgrade', (_incoming, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello')
      socket.on('error', () => undefined).on('data', (chunk) => socket.write(chunk))
      socket.on('end', () => {
        ends++
        socket.end('last words')
      })
    })
    return { server, ends: () => ends }
  }

  test('a client that closes its half gets what the server still says, and nothing stays open', async () => {
    const { server, ends } = await chat()
    const gateway = await gatewayTo([server])
    const client = open(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
    await waitFor('hello', () => client.seen().endsWith('hello'))
    client.socket.end('bye ')
    await waitFor('last words', () => client.seen().endsWith('bye last words'))
    await waitFor('all closed', () => client.closed() && server.sockets.size === 0 && isIdle(gateway))
    expect(ends()).toBe(1)
  })

  test('halves that are closed on one side only are cut when idle', async () => {
    const server = await upstream('a', (_incoming, response) => response.end('plain'))
    server.http.on('upgrade', (_incoming, socket) => {
      socket
        .on('error', () => undefined)
        .on('end', () => undefined)
        .resume() // prettier-ignore
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello')
    })
    const gateway = await gatewayTo([server], { idleTimeoutMs: 300 })
    const clients = Array.from({ length: 20 }, () => open(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`))
    await waitFor('joined', () => clients.every(({ seen }) => seen().endsWith('hello')))
    for (const { socket } of clients) socket.end()
    await waitFor('cut', () => clients.every(({ closed }) => closed()) && isIdle(gateway), 5_000)
    // A server that never ends its own half notices when it speaks.
    await waitFor('the server notices', () => {
      for (const socket of server.sockets) socket.write('anybody there?')
      return server.sockets.size === 0
    })
  })

  test('a half closed during the handshake frees the server', async () => {
    const server = await upstream('a', (_incoming, response) => response.end('plain'))
    let asked = 0
    server.http.on('upgrade', (_incoming, socket) => {
      asked++
      socket.on('error', () => undefined).resume()
    })
    const gateway = await gatewayTo([server])
    const client = open(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
    await waitFor('asked', () => asked === 1)
    client.socket.end()
    await waitFor('freed', () => isIdle(gateway))
  })

  test('what follows a refused upgrade is no request, and 101 without being asked is no tunnel', async () => {
    const urls: string[] = []
    const server = await upstream('a', (incoming, response) => {
      urls.push(incoming.url as string)
      if (incoming.url === '/unasked') return void incoming.socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n')
      response.end()
    })
    server.http.on('upgrade', (_incoming, socket) => socket.end('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n'))
    const gateway = await gatewayTo([server])
    const refused = await rawAsk(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n`)
    expect(refused).toMatch(/^HTTP\/1\.1 426 /)
    expect(urls).toEqual([])
    expect((await ask(gateway.port, { path: '/unasked', method: 'POST' })).status).toBe(502)
  })
})

describe('attack - hints', () => {
  test('hints of nobody, of addresses and made-up ones lead to a server of the list, and nothing is dialled', async () => {
    const away = await forbidden()
    const servers = await Promise.all(['a', 'b'].map((id) => upstream(id, (_incoming, response) => response.end(id))))
    for (const [at, server] of servers.entries()) server.health.label = `n${at}`
    const gateway = await gatewayTo(servers, { policy: 'sticky' })
    for (const value of [
      'nobody',
      `127.0.0.1:${away.port}`,
      `http://127.0.0.1:${away.port}/`,
      Buffer.from(`127.0.0.1:${away.port}`).toString('base64'),
      '__proto__',
      'constructor.prototype',
      '..',
      'x'.repeat(8_000),
      'x.'.repeat(4_000),
      '%00',
    ]) {
      for (const cookie of [`session-route=${value}`, `session=s; session-route=${value}`, `session-route-gw=${value}`]) {
        const answer = await ask(gateway.port, { headers: { cookie } })
        expect([answer.status, ['a', 'b'].includes(answer.text)]).toEqual([200, true])
      }
    }
    expect(away.visits()).toBe(0)
  })

  test('a hint alone, without a session, crowds nobody on one server; with a session it is followed', async () => {
    const servers = await Promise.all(['a', 'b', 'c'].map((id) => upstream(id, (_incoming, response) => response.end(id))))
    for (const [at, server] of servers.entries()) {
      server.health.label = `n${at}`
      server.health.load = at === 0 ? 130 : 85
    }
    const gateway = await gatewayTo(servers, { policy: 'sticky', health: { everyMs: 60_000 } })
    for (let at = 0; at < 6; at++) expect((await ask(gateway.port, { headers: { cookie: 'session-route=n0' } })).text).not.toBe('a')
    for (let at = 0; at < 6; at++) expect((await ask(gateway.port, { headers: { cookie: 'session=s; session-route=n0' } })).text).toBe('a')
    expect((await ask(gateway.port, { headers: { cookie: 'session-route=n0', 'x-session-token': 't' } })).text).toBe('a')
  })

  test('two servers with one label: the first keeps it, and one line says so', async () => {
    const servers = await Promise.all(['a', 'b'].map((id) => upstream(id, (_incoming, response) => response.end(id))))
    for (const server of servers) server.health.label = 'same'
    const lines: string[] = []
    const logger = { warn: (line: string) => void lines.push(line), error: (line: string) => void lines.push(line) }
    const gateway = await gatewayTo(servers, { policy: 'sticky', health: { everyMs: 20 }, logger })
    await waitFor('the line', () => lines.length > 0)
    const first = (await ask(gateway.port, { headers: { cookie: 's=1; session-route=same' } })).text
    for (let at = 0; at < 5; at++) expect((await ask(gateway.port, { headers: { cookie: 's=1; session-route=same' } })).text).toBe(first)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('give each server a name of its own')
  })
})

test('attack - 200 clients that leave before, in and after the head leave no connection to a server 2 s later', async () => {
  const server = await upstream('a', (incoming, response) => {
    incoming.resume()
    if (incoming.url === '/head') response.writeHead(200).flushHeaders()
    if (incoming.url === '/part') response.write('x'.repeat(10_000))
  })
  const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
  const clients = Array.from({ length: 200 }, (_, at) => {
    if (at % 4 === 0) return open(gateway.port, 'POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf')
    return open(gateway.port, `GET ${['', '/silent', '/head', '/part'][at % 4]} HTTP/1.1\r\nHost: a\r\n\r\n`)
  })
  await waitFor('all under way', () => gateway.servers()[0]?.active === 200 && server.sockets.size >= 200)
  const late = Array.from({ length: 50 }, () => open(gateway.port, 'GET /dialling HTTP/1.1\r\nHost: a\r\n\r\n'))
  await waitFor('some are dialling', () => (gateway.servers()[0]?.active ?? 0) > 200)
  for (const { socket } of [...clients, ...late]) socket.resetAndDestroy()
  await waitFor('no connection', () => server.sockets.size === 0 && isIdle(gateway), 2_000)
  expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
  expect(gateway.totals().failed).toBe(0)
})
