/** Ends that come before one expects them: of a server that has answered, of an answer without a body, of a client's half. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isIdle, open } from './attack-tools.ts'
import { ask, gatewayTo, rawAsk, type RunningGateway, upstream, waitFor } from './harness.ts'

const UP = 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

/** A server that says whatever it likes, as bytes; `/health` aside. */
async function rawServer(said: (socket: Socket, asked: string) => void): Promise<{ id: string; url: string; connections: () => number }> {
  let connections = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    let isCounted = false
    socket.on('data', (chunk) => {
      const asked = chunk.toString('latin1')
      if (asked.startsWith('GET /health ')) return void socket.end(UP)
      if (!isCounted) connections++
      isCounted = true
      said(socket, asked)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { id: 'a', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, connections: () => connections }
}

describe('a server that answers 413 and closes while the upload goes on', () => {
  const HEAD = 'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n'
  const answers = { 'with a length': `${HEAD}Content-Length: 9\r\n\r\ntoo large`, 'up to its end': `${HEAD}\r\ntoo large` }

  test.each(Object.entries(answers))('its answer reaches the client, %s', async (_name, answer) => {
    let client: ReturnType<typeof open> | undefined
    const server = await rawServer((socket, asked) => {
      if (client === undefined || !asked.includes('\r\n\r\n')) return
      // The client's next bytes lie before the gateway when the answer and the reset come: it writes to a server that has gone.
      client.socket.write(Buffer.alloc(100_000))
      socket.write(answer)
      socket.destroy()
    })
    const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
    for (let at = 0; at < 5; at++) {
      const { seen, socket } = (client = open(gateway.port, ''))
      const body = Buffer.alloc(300_000)
      socket.write(Buffer.concat([Buffer.from(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n`), body]))
      await waitFor('an answer', () => seen().includes('\r\n\r\n') && /too large|error/.test(seen()))
      expect(seen()).toMatch(/^HTTP\/1\.1 413 /)
      expect(seen()).toContain('too large')
      socket.destroy()
      await waitFor('idle', () => isIdle(gateway))
    }
    expect(gateway.servers()[0]).toMatchObject({ state: 'up', failures: 0 })
  })

  test('one that closes without a word is 502, soon', async () => {
    const server = await rawServer((socket, asked) => {
      if (!asked.includes('\r\n\r\n')) return
      socket.destroy()
    })
    const gateway = await gatewayTo([server], { health: { everyMs: 60_000 } })
    const { seen, socket } = open(gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    const more = setInterval(() => socket.write(`10000\r\n${'x'.repeat(65_536)}\r\n`), 5)
    onTestFinished(() => clearInterval(more))
    await waitFor('refused', () => seen().startsWith('HTTP/1.1 502'), 3_000)
    await waitFor('idle', () => isIdle(gateway))
  })
})

describe('an answer without a body, and a bad server that sends one after it', () => {
  const FALSE = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nFALSE'
  const RIGHT = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright'
  const cases: readonly [string, string, string][] = [
    ['HEAD with a length', 'HEAD', `HTTP/1.1 200 OK\r\nContent-Length: ${FALSE.length}\r\n\r\n`],
    ['HEAD without one', 'HEAD', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['HEAD with chunks', 'HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['304 with a length', 'GET', `HTTP/1.1 304 Not Modified\r\nContent-Length: ${FALSE.length}\r\n\r\n`],
    ['304 with chunks', 'GET', 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['204 with a length', 'GET', `HTTP/1.1 204 No Content\r\nContent-Length: ${FALSE.length}\r\n\r\n`],
  ]

  test.each(cases)('%s: the body is not read as the next answer', async (_name, method, head) => {
    const server = await rawServer((socket, asked) => {
      if (asked.includes('/next')) return void socket.write(RIGHT)
      socket.write(head)
      // It comes late: the gateway has used the connection again, if it ever does.
      setTimeout(() => socket.write(FALSE), 30)
    })
    const gateway = await gatewayTo([server])
    await ask(gateway.port, { method, path: '/first' })
    expect((await ask(gateway.port, { path: '/next' })).text).toBe('right')
    expect(server.connections()).toBe(2)
  })

  test('304 and 204 that announce none keep their connection', async () => {
    const server = await rawServer((socket, asked) => {
      socket.write(asked.includes('/304') ? 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n' : 'HTTP/1.1 204 No Content\r\n\r\n')
    })
    const gateway = await gatewayTo([server])
    for (const path of ['/304', '/204', '/304']) await ask(gateway.port, { path })
    expect(server.connections()).toBe(1)
  })
})

describe('a client that closes its half after its request, and reads', () => {
  /** The request and the client's end in one go; what it got until the gateway's end. */
  function halfClosed(gateway: RunningGateway, bytes: string): { seen: () => string; closed: () => boolean } {
    let [seen, closed] = ['', false]
    const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('data', (chunk) => (seen += chunk.toString('latin1'))).on('close', () => (closed = true))
    socket.on('error', () => undefined).end(bytes, 'latin1')
    onTestFinished(() => void socket.destroy())
    return { seen: () => seen, closed: () => closed }
  }

  test('is answered, pipelined requests and a body included', async () => {
    const server = await upstream('a', (incoming, response) => {
      let body = ''
      incoming.on('data', (chunk: Buffer) => (body += chunk.toString()))
      incoming.on('end', () => setTimeout(() => response.end(`<${incoming.url}${body}>`), 100))
    })
    const gateway = await gatewayTo([server])
    const bytes = 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody'
    const client = halfClosed(gateway, bytes)
    await waitFor('closed', () => client.closed())
    expect(client.seen()).toMatch(/^HTTP\/1\.1 200 .*<\/1>HTTP\/1\.1 200 .*<\/2body>$/s)
    await waitFor('idle', () => isIdle(gateway))
  })

  test('gets an answer that takes its time once it has begun', async () => {
    const server = await upstream('a', (_incoming, response) => {
      response.write('begin')
      setTimeout(() => response.end('end'), 1_600)
    })
    const gateway = await gatewayTo([server])
    const client = halfClosed(gateway, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n')
    await waitFor('closed', () => client.closed())
    expect(client.seen()).toMatch(/beginend$/)
  })

  test('holds no place for longer than a second when no answer begins, as one that has left', async () => {
    const server = await upstream('a', () => undefined)
    const gateway = await gatewayTo([server])
    halfClosed(gateway, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await waitFor('under way', () => !isIdle(gateway))
    await waitFor('given up', () => isIdle(gateway), 2_000)
  })

  test('is refused when its request is not whole, and an idle connection ends', async () => {
    const server = await upstream('a', (_incoming, response) => response.end('x'))
    const gateway = await gatewayTo([server])
    const cut = halfClosed(gateway, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\npart')
    await waitFor('cut', () => cut.closed() && isIdle(gateway))
    const seen = await rawAsk(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', (text) => text.endsWith('x'))
    expect(seen).toContain('200 OK')
    const idle = open(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await waitFor('answered', () => idle.seen().endsWith('x'))
    idle.socket.end()
    await waitFor('closed', () => idle.closed(), 900)
  })
})
