import { describe, expect, test } from 'vitest'
import { type Clock, createClock } from '../../../src/cluster/clock.ts'
import { createVirtualWorld, type VirtualRuntime, VIRTUAL_EPOCH, type VirtualWorld } from '../../setup/virtual-runtime.ts'

const HOUR = 3_600_000

interface Server {
  readonly name: string
  readonly runtime: VirtualRuntime
  readonly clock: Clock
  holds: boolean
}

function serverOf(world: VirtualWorld, name: string, skewMs: number, holds = false): Server {
  const runtime = world.runtime({ skewMs })
  const server: Server = { name, runtime, holds, clock: createClock(runtime, () => server.holds) }
  return server
}

function link(servers: readonly Server[]): void {
  for (const server of servers) for (const other of servers) if (other !== server) server.clock.up(other.name)
}

/** Everybody asks everybody, over and over. */
async function talk(world: VirtualWorld, servers: readonly Server[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) {
      const askedAt = server.runtime.monotonic()
      await world.advance(2)
      for (const other of servers) if (other !== server) server.clock.heard(other.name, askedAt, other.clock.reading())
    }
    await world.advance(125)
  }
}

const off = (world: VirtualWorld, { clock }: Server): number => clock.now() - VIRTUAL_EPOCH - world.elapsed()

describe('clock', () => {
  test('without others it is the wall clock, jumps included', async () => {
    const world = createVirtualWorld()
    const a = serverOf(world, 'a', 5_000)
    a.runtime.setSkew(HOUR)
    await world.advance(1_000)
    expect(off(world, a)).toBe(HOUR)
  })

  test('servers that start together agree on the median', async () => {
    const world = createVirtualWorld()
    const servers = [serverOf(world, 'a', -2 * HOUR), serverOf(world, 'b', 7 * HOUR), serverOf(world, 'c', 1_000)]
    link(servers)
    await talk(world, servers, 3)
    for (const server of servers) expect(Math.abs(off(world, server) - 1_000)).toBeLessThan(10)
  })

  test('once sessions are held it does not jump, but slews by at most a hundredth', async () => {
    const world = createVirtualWorld()
    const servers = [serverOf(world, 'a', 0), serverOf(world, 'b', 0), serverOf(world, 'c', 0)]
    link(servers)
    await talk(world, servers, 2)
    for (const server of servers) server.holds = true
    await talk(world, servers, 2)
    for (const server of servers.slice(1)) server.runtime.setSkew(HOUR)
    const from = world.elapsed()
    await talk(world, servers, 50)
    const passed = world.elapsed() - from
    for (const server of servers) {
      expect(off(world, server)).toBeGreaterThan(passed * 0.005)
      expect(off(world, server)).toBeLessThanOrEqual(passed * 0.011)
    }
  })

  test('who holds sessions stays when a stranger comes, and the stranger follows at once', async () => {
    const world = createVirtualWorld()
    const a = serverOf(world, 'a', 0, true)
    const b = serverOf(world, 'b', 8 * HOUR)
    link([a, b])
    await talk(world, [a, b], 3)
    expect(Math.abs(off(world, a))).toBeLessThan(50)
    expect(Math.abs(off(world, b))).toBeLessThan(50)
  })

  test('a server that was asleep follows the others at once', async () => {
    const world = createVirtualWorld()
    const servers = [serverOf(world, 'a', 0), serverOf(world, 'b', 0)]
    link(servers)
    await talk(world, servers, 2)
    for (const server of servers) server.holds = true
    await talk(world, servers, 2)
    // Its monotonic clock stood still for an hour.
    let slept = 0
    const runtime = world.runtime()
    const c: Server = {
      name: 'c',
      runtime,
      holds: true,
      clock: createClock({ ...runtime, monotonic: () => runtime.monotonic() - slept }, () => c.holds),
    }
    const all = [...servers, c]
    c.holds = false
    for (const server of servers) {
      server.clock.up('c')
      c.clock.up(server.name)
    }
    await talk(world, all, 2)
    c.holds = true
    await talk(world, all, 2)
    slept = HOUR
    expect(off(world, c)).toBeLessThan(-HOUR / 2)
    const askedAt = runtime.monotonic() - slept
    for (let round = 0; round < 2; round++) for (const server of servers) c.clock.heard(server.name, askedAt, server.clock.reading())
    expect(Math.abs(off(world, c))).toBeLessThan(1_000)
  })

  test('what a server that is gone said does not count any more, nor what one says that is not linked', async () => {
    const world = createVirtualWorld()
    const a = serverOf(world, 'a', 0)
    const b = serverOf(world, 'b', 4 * HOUR)
    link([a, b])
    await talk(world, [a, b], 2)
    expect(Math.abs(off(world, a) - 2 * HOUR)).toBeLessThan(10)
    a.clock.down('b')
    a.clock.heard('b', a.runtime.monotonic(), { wall: 0, agreed: 0, isSettled: true })
    a.clock.up('c')
    a.clock.heard('c', a.runtime.monotonic(), { wall: a.runtime.now(), agreed: a.runtime.now(), isSettled: false })
    expect(Math.abs(off(world, a))).toBeLessThan(10)
  })
})
