/** What every transport must do, as runnable cases: for authors of transports, with any test runner. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_FRAME_BYTES } from '../core/frames.ts'
import { systemRuntime } from '../core/runtime.ts'
import { SessionError } from '../errors.ts'
import type { Peer, Transport, TransportHandlers } from '../seam.ts'
import type { ContractCase } from './contract.ts'

const DEADLINE_MS = 15_000
const BURST = 10_000

/** One empty network. */
export interface TransportUnderTest {
  /**
   * A transport of one more server, not started. It must find all servers that were started before; `node` is the name
   * it will be started with.
   */
  transport(node: string): Transport | Promise<Transport>
  /** Called when the case is over, after every transport was closed. */
  end?(): Promise<void>
}

/** Cases for one transport. `make` is called once per case and must give an empty network each time. */
export function transportContract(make: () => Promise<TransportUnderTest>): readonly ContractCase[] {
  return CASES.map(([name, body]) => ({
    name,
    async run(): Promise<void> {
      const network = await make()
      const servers: TestServer[] = []
      try {
        await body(async (node) => {
          const server = await startServer(network, node)
          servers.push(server)
          return server
        })
      } finally {
        await Promise.all(servers.map((server) => server.transport.close()))
        await network.end?.()
      }
    },
  }))
}

type Event = { readonly type: 'up' | 'down'; readonly peer: Peer } | { readonly type: 'frame'; readonly peer: Peer; readonly frame: Buffer }

/** A started transport and everything it has told, in order. */
interface TestServer {
  readonly self: Peer
  readonly transport: Transport
  readonly handlers: TransportHandlers
  readonly events: Event[]
}

type Start = (node: string) => Promise<TestServer>

async function startServer(network: TransportUnderTest, node: string): Promise<TestServer> {
  const transport = await network.transport(node)
  const self: Peer = { node, incarnation: `${node}-${randomBytes(8).toString('hex')}` }
  const events: Event[] = []
  const handlers: TransportHandlers = {
    self,
    runtime: systemRuntime(),
    logger: { warn: () => undefined, error: (line: unknown) => assert.fail(String(line)) },
    frame: (peer, frame) => void events.push({ type: 'frame', peer, frame: Buffer.from(frame) }),
    up: (peer) => void events.push({ type: 'up', peer }),
    down: (peer) => void events.push({ type: 'down', peer }),
  }
  await transport.start(handlers)
  return { self, transport, handlers, events }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    assert.ok(performance.now() < deadline, `${what}: not within ${DEADLINE_MS} ms`)
    await sleep(5)
  }
}

const sees = (a: TestServer, b: TestServer): boolean => a.transport.peers().some((peer) => peer.incarnation === b.self.incarnation)

async function linked(...servers: readonly TestServer[]): Promise<void> {
  await until('all servers see each other', () => servers.every((a) => servers.every((b) => a === b || sees(a, b))))
}

function framesFrom(at: TestServer, from: TestServer): Buffer[] {
  return at.events.flatMap((e) => (e.type === 'frame' && e.peer.incarnation === from.self.incarnation ? [e.frame] : []))
}

function countOf(at: TestServer, type: 'up' | 'down', of: TestServer): number {
  return at.events.filter((e) => e.type === type && e.peer.incarnation === of.self.incarnation).length
}

function sendText(from: TestServer, to: TestServer, text: string): void {
  assert.equal(from.transport.send(to.self.incarnation, Buffer.from(text)), true, `send of ${text.slice(0, 20)}`)
}

async function trio(start: Start): Promise<[TestServer, TestServer, TestServer]> {
  const servers: [TestServer, TestServer, TestServer] = [await start('a'), await start('b'), await start('c')]
  await linked(...servers)
  return servers
}

/** Each peer: one `up`, then frames, then `down`; never a frame outside. */
function assertOrderOfEvents(server: TestServer): void {
  const up = new Set<string>()
  for (const event of server.events) {
    const { incarnation } = event.peer
    if (event.type === 'up') assert.ok(!up.has(incarnation), 'up twice')
    else assert.ok(up.has(incarnation), `${event.type} of a peer that is not up`)
    if (event.type === 'up') up.add(incarnation)
    if (event.type === 'down') up.delete(incarnation)
  }
}

const CASES: readonly (readonly [name: string, body: (start: Start) => Promise<void>])[] = [
  ['three servers find each other, each is up once', everyoneUpOnce],
  ['frames pass between all pairs, both directions', allPairs],
  ['frames of one sender arrive in order and unchanged, of any size up to the limit', sizesInOrder],
  ['a frame above the limit throws PEER_PROTOCOL, the link lives on', aboveTheLimit],
  ['a burst of 10,000 small frames arrives whole and in order', burst],
  ['a sender may use its buffer again at once', bufferReuse],
  ['a peer that leaves is down at once, sends to it answer false', leaving],
  ['a server that comes back as a new run is up again, and gets frames', comingBack],
  ['a newer run with the name of a live one takes its place', takingPlace],
  ['refuse closes the link on both sides', refusing],
  ['an unknown incarnation is answered false', unknownPeer],
  ['a second start is refused, a start after close too', startTwice],
  ['close may be called twice, at the same time too', closeTwice],
  ['traffic counts what was sent and received', counting],
]

async function everyoneUpOnce(start: Start): Promise<void> {
  const servers = await trio(start)
  for (const a of servers) {
    for (const b of servers) if (a !== b) assert.equal(countOf(a, 'up', b), 1)
    assert.equal(a.transport.peers().length, 2)
  }
}

async function allPairs(start: Start): Promise<void> {
  const servers = await trio(start)
  for (const a of servers) for (const b of servers) if (a !== b) sendText(a, b, `${a.self.node} to ${b.self.node}`)
  await until('all frames arrived', () => servers.every((s) => s.events.filter((e) => e.type === 'frame').length === 2))
  for (const a of servers) {
    for (const b of servers) if (a !== b) assert.deepEqual(framesFrom(b, a).map(String), [`${a.self.node} to ${b.self.node}`])
    assertOrderOfEvents(a)
  }
}

async function sizesInOrder(start: Start): Promise<void> {
  const [a, b] = await trio(start)
  const sizes = [0, 1, 4, 5, 6, 1000, 65_530, 65_531, 65_532, 70_000, 3, 200_000, MAX_FRAME_BYTES - 1, 0, MAX_FRAME_BYTES, 7]
  const sent = sizes.map((size) => randomBytes(size))
  for (const frame of sent) assert.equal(a.transport.send(b.self.incarnation, frame), true)
  await until('all frames arrived', () => framesFrom(b, a).length === sent.length)
  framesFrom(b, a).forEach((frame, i) => assert.ok(frame.equals(sent[i] as Buffer), `frame ${i} of ${sizes[i]} bytes`))
}

async function aboveTheLimit(start: Start): Promise<void> {
  const [a, b] = await trio(start)
  const isProtocol = (error: unknown): boolean => SessionError.is(error) && error.code === 'PEER_PROTOCOL'
  assert.throws(() => a.transport.send(b.self.incarnation, Buffer.alloc(MAX_FRAME_BYTES + 1)), isProtocol)
  sendText(a, b, 'still here')
  await until('the next frame arrived', () => framesFrom(b, a).length === 1)
  assert.equal(countOf(a, 'down', b) + countOf(b, 'down', a), 0)
}

async function burst(start: Start): Promise<void> {
  const [a, b, c] = await trio(start)
  for (let i = 0; i < BURST; i++) {
    sendText(a, b, `a${i}`)
    sendText(c, b, `c${i}`)
  }
  await until('all frames arrived', () => framesFrom(b, a).length === BURST && framesFrom(b, c).length === BURST)
  for (const from of [a, c]) framesFrom(b, from).forEach((frame, i) => assert.equal(String(frame), `${from.self.node}${i}`))
}

async function bufferReuse(start: Start): Promise<void> {
  const [a, b] = await trio(start)
  for (const size of [10, 100_000]) {
    const buffer = Buffer.alloc(size, 1)
    a.transport.send(b.self.incarnation, buffer)
    buffer.fill(2)
  }
  await until('both arrived', () => framesFrom(b, a).length === 2)
  for (const frame of framesFrom(b, a)) assert.ok(frame.every((byte) => byte === 1))
}

async function leaving(start: Start): Promise<void> {
  const [a, b, c] = await trio(start)
  await c.transport.close()
  await until('the peer is down', () => countOf(a, 'down', c) === 1 && countOf(b, 'down', c) === 1)
  assert.equal(a.transport.send(c.self.incarnation, Buffer.from('too late')), false)
  assert.equal(c.transport.send(a.self.incarnation, Buffer.from('too late')), false)
  assert.ok(!sees(a, c))
  assert.equal(c.transport.peers().length, 0)
  sendText(a, b, 'the others go on')
  await until('the frame arrived', () => framesFrom(b, a).length === 1)
  assertOrderOfEvents(a)
}

async function comingBack(start: Start): Promise<void> {
  const [a, b, c] = await trio(start)
  await c.transport.close()
  await until('the peer is down', () => !sees(a, c) && !sees(b, c))
  const again = await start('c')
  await linked(a, b, again)
  sendText(a, again, 'welcome back')
  sendText(again, b, 'here I am')
  await until('both arrived', () => framesFrom(again, a).length === 1 && framesFrom(b, again).length === 1)
  assert.equal(countOf(a, 'up', again), 1)
}

async function takingPlace(start: Start): Promise<void> {
  const [a, b, old] = await trio(start)
  const fresh = await start('c')
  await linked(a, b, fresh)
  await until('the old run is down', () => countOf(a, 'down', old) === 1 && countOf(b, 'down', old) === 1)
  await old.transport.close()
  assert.ok(sees(a, fresh) && sees(b, fresh))
  assertOrderOfEvents(a)
}

async function refusing(start: Start): Promise<void> {
  const [a, b] = await trio(start)
  a.transport.refuse(b.self.incarnation, 'a message could not be read')
  assert.equal(a.transport.send(b.self.incarnation, Buffer.from('no more')), false)
  await until('both sides are down', () => countOf(a, 'down', b) >= 1 && countOf(b, 'down', a) >= 1)
  assertOrderOfEvents(a)
}

async function unknownPeer(start: Start): Promise<void> {
  const [a] = await trio(start)
  assert.equal(a.transport.send('nobody', Buffer.from('x')), false)
  a.transport.refuse('nobody', 'not there')
}

async function startTwice(start: Start): Promise<void> {
  const a = await start('a')
  await assert.rejects(a.transport.start(a.handlers), (error) => SessionError.is(error) && error.code === 'CONFIG_INVALID')
  await a.transport.close()
  await assert.rejects(a.transport.start(a.handlers), (error) => SessionError.is(error) && error.code === 'SESSIONS_CLOSED')
}

async function closeTwice(start: Start): Promise<void> {
  const [a] = await trio(start)
  await Promise.all([a.transport.close(), a.transport.close()])
  await a.transport.close()
}

async function counting(start: Start): Promise<void> {
  const [a, b] = await trio(start)
  const [sentBefore, receivedBefore] = [a.transport.traffic().sentBytes, b.transport.traffic().receivedBytes]
  a.transport.send(b.self.incarnation, randomBytes(100_000))
  await until('the frame arrived', () => framesFrom(b, a).length === 1)
  for (const bytes of [a.transport.traffic().sentBytes - sentBefore, b.transport.traffic().receivedBytes - receivedBefore]) {
    assert.ok(bytes >= 100_000 && bytes < 120_000, `${bytes} bytes counted`)
  }
}
