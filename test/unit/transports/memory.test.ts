import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Peer, Transport } from '../../../src/seam.ts'
import { memoryNetwork, memoryTransport, type MemoryNetwork } from '../../../src/transports/memory.ts'
import { createVirtualWorld, type VirtualWorld } from '../../setup/virtual-runtime.ts'

interface Server {
  self: Peer
  transport: Transport
  log: string[]
  send(to: Server, text: string): boolean
}

let runs = 0

async function join(network: MemoryNetwork, world: VirtualWorld, node: string, log: string[] = []): Promise<Server> {
  const self: Peer = { node, incarnation: `${node}#${++runs}` }
  const transport = network.join()
  await transport.start({
    self,
    runtime: world.runtime(),
    logger: { warn: () => {}, error: () => {} },
    frame: (peer, frame) => void log.push(`${world.elapsed()} ${peer.node}>${node} ${frame.toString()}`),
    up: (peer) => void log.push(`${world.elapsed()} ${node} up ${peer.node}`),
    down: (peer, why) => void log.push(`${world.elapsed()} ${node} down ${peer.node}: ${why}`),
  })
  return { self, transport, log, send: (to, text) => transport.send(to.self.incarnation, Buffer.from(text)) }
}

interface Setup {
  world: VirtualWorld
  network: MemoryNetwork
  log: string[]
  a: Server
  b: Server
  c: Server
}

async function trio(options: Parameters<typeof memoryNetwork>[0] = {}): Promise<Setup> {
  const world = createVirtualWorld({ seed: 1 })
  const network = memoryNetwork({ runtime: world.runtime(), ...options })
  const log: string[] = []
  const [a, b, c] = [await join(network, world, 'a', log), await join(network, world, 'b', log), await join(network, world, 'c', log)]
  log.length = 0
  return { world, network, log, a, b, c }
}

describe('memory network', () => {
  test('alone, a memory transport is a cluster of one', async () => {
    const world = createVirtualWorld()
    const transport = memoryTransport()
    const handlers = { frame: () => {}, up: () => {}, down: () => {} }
    await transport.start({ self: { node: 'a', incarnation: 'a1' }, runtime: world.runtime(), logger: console, ...handlers })
    expect(transport.peers()).toEqual([])
    await transport.close()
  })

  test('latency delays each frame by virtual time', async () => {
    const { world, log, a, b } = await trio({ latencyMs: 7 })
    a.send(b, 'x')
    await world.advance(6)
    expect(log).toEqual([])
    await world.advance(1)
    expect(log).toEqual(['7 a>b x'])
  })

  test('a held path delivers late and in order, the other direction flows', async () => {
    const { world, network, log, a, b } = await trio()
    network.hold('a', 'b')
    a.send(b, '1')
    a.send(b, '2')
    b.send(a, 'back')
    await world.advance(50)
    expect(log).toEqual(['0 b>a back'])
    network.release('a', 'b')
    await world.settle()
    expect(log.slice(1)).toEqual(['50 a>b 1', '50 a>b 2'])
  })

  test('dropped frames are sent and never arrive, duplicated ones arrive twice', async () => {
    const { world, network, log, a, b, c } = await trio()
    network.faults('a', 'b', { drop: 1 })
    network.faults('a', 'c', { duplicate: 1 })
    expect(a.send(b, 'lost')).toBe(true)
    a.send(c, 'twice')
    await world.settle()
    expect(log).toEqual(['0 a>c twice', '0 a>c twice'])
  })

  test('a partition is a down on both sides, frames under way are lost, a heal is an up', async () => {
    const { world, network, log, a, b, c } = await trio({ latencyMs: 10 })
    a.send(c, 'under way')
    network.partition(['a', 'b'], ['c'])
    expect(a.send(c, 'refused')).toBe(false)
    a.send(b, 'inside')
    await world.advance(20)
    expect(log.toSorted()).toEqual([
      '0 a down c: partitioned',
      '0 b down c: partitioned',
      '0 c down a: partitioned',
      '0 c down b: partitioned',
      '10 a>b inside',
    ])
    log.length = 0
    network.heal()
    expect(log.toSorted()).toEqual(['20 a up c', '20 b up c', '20 c up a', '20 c up b'])
    c.send(a, 'healed')
    await world.advance(10)
    expect(log.at(-1)).toBe('30 c>a healed')
  })

  test('a partition healed before it was noticed is only a delay', async () => {
    const { world, network, log, a, c } = await trio({ downAfterMs: 5000 })
    network.partition(['a', 'b'], ['c'])
    a.send(c, 'late')
    await world.advance(4000)
    expect(log).toEqual([])
    network.heal()
    await world.advance(4000)
    expect(log).toEqual(['4000 a>c late'])
  })

  test('a server that joins during a partition sees its own side only', async () => {
    const { world, network, log } = await trio()
    network.partition(['a', 'd'], ['b', 'c'])
    await world.settle()
    log.length = 0
    const d = await join(network, world, 'd', log)
    expect(d.transport.peers().map((peer) => peer.node)).toEqual(['a'])
    network.heal()
    expect(
      d.transport
        .peers()
        .map((peer) => peer.node)
        .toSorted(),
    ).toEqual(['a', 'b', 'c'])
  })

  test('a crashed server falls silent: nothing of it arrives any more, it is told nothing', async () => {
    const { world, network, log, a, b } = await trio({ latencyMs: 5 })
    b.send(a, 'lost with its sender')
    a.send(b, 'lost with its receiver')
    network.crash('b')
    expect(b.send(a, 'dead')).toBe(false)
    await world.advance(100)
    expect(log.toSorted()).toEqual(['0 a down b: connection closed', '0 c down b: connection closed'])
    expect(network.nodes()).toEqual(['a', 'c'])
    await join(network, world, 'b', log)
    expect(log.filter((line) => line.includes('up')).toSorted()).toEqual(['100 a up b', '100 b up a', '100 b up c', '100 c up b'])
  })

  test('a refused peer is down after the call, and linked again later', async () => {
    const { world, log, a, b } = await trio()
    a.transport.refuse(b.self.incarnation, 'odd')
    expect(log).toEqual([])
    await world.advance(50)
    expect(log.toSorted()).toEqual(['0 a down b: refused: odd', '0 b down a: refused: odd'])
    await world.advance(100)
    expect(log.slice(2).toSorted()).toEqual(['100 a up b', '100 b up a'])
  })

  test('a full queue answers false', async () => {
    const { network, a, b } = await trio()
    network.hold('a', 'b')
    const frame = Buffer.alloc(1_048_576)
    for (let i = 0; i < 16; i++) expect(a.transport.send(b.self.incarnation, frame)).toBe(true)
    expect(a.transport.send(b.self.incarnation, frame)).toBe(false)
  })

  type Step = readonly [kind: 'send' | 'advance' | 'hold' | 'release' | 'partition' | 'heal' | 'crash', x: number, y: number]
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('send', 'send', 'send', 'advance', 'hold', 'release', 'partition', 'heal', 'crash'),
    fc.nat(2),
    fc.nat(2),
  )

  async function play(steps: readonly Step[], seed: number): Promise<string[]> {
    const { world, network, log, ...servers } = await trio({ latencyMs: [0, 20], seed, downAfterMs: 15 })
    network.faults('b', 'a', { duplicate: 0.3, drop: 0.2 })
    const nodes = ['a', 'b', 'c'] as const
    let count = 0
    for (const [kind, x, y] of steps) {
      const [from, to] = [nodes[x] as 'a' | 'b' | 'c', nodes[y] as 'a' | 'b' | 'c']
      if (kind === 'send') servers[from].send(servers[to], String(++count))
      else if (kind === 'advance') await world.advance(x * 10 + y)
      else if (kind === 'hold' || kind === 'release') network[kind](from, to)
      else if (kind === 'partition') network.partition([from])
      else if (kind === 'heal') network.heal()
      else {
        network.crash(from)
        log.push(`crash ${from}`)
        servers[from] = await join(network, world, from, log)
      }
    }
    network.heal()
    network.release()
    await world.advance(1000)
    return log
  }

  /** Each server's view of each other one: up, down, up … and everyone was up when the log began. */
  function expectPairedEvents(log: readonly string[]): void {
    const down = new Set<string>()
    for (const line of log) {
      const crashed = /^crash (\w)$/.exec(line)?.[1]
      if (crashed !== undefined) for (const other of ['a', 'b', 'c']) down.add(crashed + other)
      const event = / (\w) (up|down) (\w)/.exec(line)
      if (event === null) continue
      const pair = `${event[1]}${event[3]}`
      expect(`${line}: ${down.has(pair)}`).toBe(`${line}: ${event[2] === 'up'}`)
      if (event[2] === 'up') down.delete(pair)
      else down.add(pair)
    }
  }

  test('whatever happens, the same seed replays exactly, and frames come in order between up and down', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(), async (steps, seed) => {
        const log = await play(steps, seed)
        expect(await play(steps, seed)).toEqual(log)
        const last = new Map<string, number>()
        for (const line of log) {
          const frame = /(\w)>(\w) (\d+)$/.exec(line)
          if (frame === null) continue
          const pair = `${frame[1]}>${frame[2]}`
          expect(Number(frame[3])).toBeGreaterThanOrEqual(last.get(pair) ?? 0)
          last.set(pair, Number(frame[3]))
        }
        expectPairedEvents(log)
      }),
      { numRuns: 200 },
    )
  })
})
