import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { FRAME_DATA, FRAME_HELLO, FRAME_PEERS, FRAME_PING, FRAME_WELCOME } from '../../../src/transports/tcp-messages.ts'
import { allLinked, at, frame, helloFrame, type Running, startServer, type Stranger, stranger, until } from './tcp-server.ts'
import { closeAll } from './recorded.ts'

afterEach(closeAll)

/** Two members that must not notice anything. */
async function pair(plaintext: boolean): Promise<[Running, Running]> {
  const security = plaintext ? { plaintext } : {}
  const a = await startServer({ node: 'a', ...security })
  const b = await startServer({ node: 'b', ...security, peers: [at(a)] })
  await allLinked(a, b)
  return [a, b]
}

async function unharmed(a: Running, b: Running): Promise<void> {
  const text = `still-${randomBytes(4).toString('hex')}`
  expect(a.send(b, text)).toBe(true)
  await until('the members still talk', () => b.events.includes(`frame a ${text}`))
  for (const server of [a, b]) expect(server.events.filter((event) => /^(up|down) [ab]$/.test(event))).toHaveLength(1)
}

/** A stranger that has become a member of a plaintext cluster. */
async function member(port: number, node: string): Promise<Stranger> {
  const raw = await stranger(port)
  raw.socket.write(helloFrame(node))
  await until('the welcome', () => hasFrame(raw.received(), FRAME_WELCOME))
  return raw
}

function hasFrame(bytes: Buffer, type: number): boolean {
  for (let offset = 0; offset + 5 <= bytes.length; offset += 5 + bytes.readUInt32BE(offset)) if (bytes[offset + 4] === type) return true
  return false
}

describe.each([
  ['TLS', false],
  ['plaintext', true],
])('tcp mesh - hostile bytes before the hello, %s', (_name, plaintext) => {
  test('random bytes, HTTP and huge lengths close only their own connection', { timeout: 30_000 }, async () => {
    const [a, b] = await pair(plaintext)
    const inputs = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      frame(FRAME_HELLO, randomBytes(10), 0xffff_ffff),
      frame(FRAME_HELLO, randomBytes(300)),
      frame(FRAME_DATA, Buffer.from('not yet')),
      frame(FRAME_PING, Buffer.alloc(0)),
      frame(0xff, Buffer.alloc(3)),
      Buffer.alloc(100_000),
      ...Array.from({ length: 20 }, (_, i) => randomBytes(1 + i * 37)),
    ]
    const raws = await Promise.all(
      inputs.map(async (input) => {
        const raw = await stranger(a.port)
        raw.socket.end(input)
        return raw
      }),
    )
    await Promise.all(raws.map((raw) => raw.closed))
    await unharmed(a, b)
    expect(a.warnings.length).toBeLessThanOrEqual(1)
  })

  test('a connection that says nothing, or drips, is closed after five seconds', { timeout: 20_000 }, async () => {
    const [a, b] = await pair(plaintext)
    const silent = await stranger(a.port)
    const dripping = await stranger(a.port)
    const drip = setInterval(() => dripping.socket.write(Buffer.from([plaintext ? 0 : 0x16])), 400)
    const before = performance.now()
    await Promise.all([silent.closed, dripping.closed])
    clearInterval(drip)
    expect(performance.now() - before).toBeLessThan(8000)
    await unharmed(a, b)
  })

  test('at most 64 strangers at once, and a member still gets in afterwards', { timeout: 30_000 }, async () => {
    const a = await startServer({ node: 'a', ...(plaintext ? { plaintext } : {}) })
    const raws = await Promise.all(Array.from({ length: 100 }, () => stranger(a.port)))
    let closed = 0
    for (const raw of raws) void raw.closed.then(() => closed++)
    await until('the surplus is closed', () => closed >= 36, 4000)
    expect(closed).toBe(36)
    for (const raw of raws) raw.socket.destroy()
    const b = await startServer({ node: 'b', peers: [at(a)], ...(plaintext ? { plaintext } : {}) })
    await allLinked(a, b)
  })

  test('close does not wait for strangers', async () => {
    const a = await startServer({ node: 'a', ...(plaintext ? { plaintext } : {}) })
    const raws = await Promise.all(Array.from({ length: 10 }, () => stranger(a.port)))
    const before = performance.now()
    await a.transport.close()
    expect(performance.now() - before).toBeLessThan(2000)
    await Promise.all(raws.map((raw) => raw.closed))
  })
})

describe('tcp mesh - hostile bytes after the hello', () => {
  const cases: readonly (readonly [name: string, bytes: Buffer])[] = [
    ['a frame that claims 4 GB', frame(FRAME_DATA, Buffer.alloc(0), 0xffff_ffff)],
    ['a frame one byte above the limit', frame(FRAME_DATA, Buffer.alloc(0), 1_048_577)],
    ['an unknown type', frame(0x1f, Buffer.alloc(3))],
    ['another version', frame(0x23, Buffer.alloc(3))],
    ['a second hello', helloFrame('x')],
    ['a second welcome', frame(FRAME_WELCOME, randomBytes(16))],
    ['a ping with a body', frame(FRAME_PING, Buffer.alloc(3))],
    ['a list of 2^53 addresses', frame(FRAME_PEERS, Buffer.from([255, 255, 255, 255, 255, 255, 255, 15]))],
    ['an address that is none', frame(FRAME_PEERS, Buffer.from([1, 3, 97, 32, 98, 9, 1, 97]))],
    ['a list cut short', frame(FRAME_PEERS, Buffer.from([3, 1, 97]))],
  ]
  test.each(cases)('%s closes that link with PEER_PROTOCOL, logged once', async (_name, bytes) => {
    const [a, b] = await pair(true)
    const raw = await member(a.port, 'm')
    await until('m is up', () => a.events.includes('up m'))
    raw.socket.write(bytes)
    await raw.closed
    await until('m is down', () => a.events.includes('down m'))
    const again = await member(a.port, 'm')
    again.socket.write(bytes)
    await again.closed
    expect(a.warnings.filter((line) => line.includes('PEER_PROTOCOL'))).toHaveLength(1)
    await unharmed(a, b)
  })

  test('half a frame and then nothing harms nobody; the link ends when the peer falls silent', { timeout: 20_000 }, async () => {
    const [a, b] = await pair(true)
    const raw = await member(a.port, 'm')
    raw.socket.write(frame(FRAME_DATA, Buffer.alloc(10), 1_000_000))
    await unharmed(a, b)
    await raw.closed
    expect(a.events).toContain('down m')
    await unharmed(a, b)
  })

  test('frames in pieces of any size are read whole', async () => {
    const [a] = await pair(true)
    const raw = await member(a.port, 'm')
    const stream = Buffer.concat(Array.from({ length: 50 }, (_, i) => frame(FRAME_DATA, Buffer.from(`piece ${i}`))))
    for (let offset = 0; offset < stream.length; ) {
      const size = 1 + ((randomBytes(1)[0] as number) % 17)
      raw.socket.write(stream.subarray(offset, offset + size))
      offset += size
      if (offset % 5 === 0) await sleep(1)
    }
    await until('all arrived', () => a.events.filter((event) => event.startsWith('frame m')).length === 50)
    expect(a.events.filter((event) => event.startsWith('frame m'))).toEqual(Array.from({ length: 50 }, (_, i) => `frame m piece ${i}`))
    raw.socket.destroy()
  })

  test.each([
    ['a node with a line break', { node: 'a\nb' }],
    ['an empty node', { node: '' }],
    ['an empty incarnation', { incarnation: '' }],
    ['a host that is none', { host: 'a b' }],
    ['port 0', { port: 0 }],
  ])('%s in the hello is refused', async (_name, changes) => {
    const a = await startServer({ node: 'a', plaintext: true })
    const raw = await stranger(a.port)
    raw.socket.write(helloFrame('m', changes))
    await raw.closed
    expect(a.events).toEqual([])
    expect(a.warnings[0]).toContain('invalid hello')
  })

  test('a run that was replaced stays refused', async () => {
    const a = await startServer({ node: 'a', plaintext: true })
    const hello = helloFrame('m', { incarnation: '~first' })
    const first = await stranger(a.port)
    first.socket.write(hello)
    await until('the first is up', () => a.sees('m'))
    const second = await member(a.port, 'm')
    await first.closed
    const again = await stranger(a.port)
    again.socket.write(hello)
    await again.closed
    expect(a.events).toEqual(['up m', 'down m', 'up m'])
    expect(a.warnings.join()).toContain('newer run')
    second.socket.destroy()
  })

  test('a newer protocol version is refused with advice', async () => {
    const a = await startServer({ node: 'a', plaintext: true })
    const raw = await stranger(a.port)
    const hello = helloFrame('m')
    hello[8] = 2
    raw.socket.write(hello)
    await raw.closed
    expect(a.warnings).toHaveLength(1)
    expect(a.warnings[0]).toMatch(/PEER_PROTOCOL.*one version of holdfast/)
  })

  test('lists of made-up addresses are bounded and harm nobody', async () => {
    const [a, b] = await pair(true)
    const raw = await member(a.port, 'm')
    const entry = (i: number): Buffer => Buffer.concat([Buffer.from([9]), Buffer.from('127.0.0.1'), Buffer.from([1 + (i % 120), 1, 97])])
    for (let round = 0; round < 20; round++) {
      raw.socket.write(frame(FRAME_PEERS, Buffer.concat([Buffer.from([100]), ...Array.from({ length: 100 }, (_, i) => entry(i))])))
    }
    await unharmed(a, b)
    expect(a.sees('m')).toBe(true)
    raw.socket.destroy()
  })
})
