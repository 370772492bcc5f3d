import { describe, expect, test } from 'vitest'
import { nginxRing } from '../../src/balancers/rings.ts'
import { nameRoute, slotRoute } from '../../src/balancers/routes.ts'
import { slotOf } from '../../src/core/slot-order.ts'
import { affinity, type AffinityOptions } from '../../src/strategies/affinity.ts'
import { type TestCluster, testCluster, type Visitor } from './table-harness.ts'

const nodes = ['a', 'b', 'c', 'd']
const ADDRESSES = Object.fromEntries(nodes.map((node, index) => [node, `10.0.0.${index + 1}:3000`]))

const clusterWith = (options: Omit<AffinityOptions, 'transport'>): Promise<TestCluster> =>
  testCluster({ strategy: (transport) => affinity({ transport, ...options }), nodes })

async function many(cluster: TestCluster, node: string, count: number): Promise<Visitor[]> {
  const visitors = Array.from({ length: count }, () => cluster.visitor())
  for (const [index, visitor] of visitors.entries()) await visitor.create(node, { index })
  return visitors
}

const ownerIn = (visitor: Visitor): string => visitor.route?.split('.')[0] as string
const holds = async (cluster: TestCluster, node: string): Promise<number> => (await cluster.server(node).strategy.status()).sessions ?? 0

describe('affinity tells the balancer in front where a session lives', () => {
  test('by the names of the owner and its backup', async () => {
    const cluster = await clusterWith({ route: nameRoute })
    for (const visitor of await many(cluster, 'a', 20)) expect(visitor.route).toMatch(/^a\.[bcd]$/)
  })

  test('by the number that the balancer hashes, with the backup where its ring fails over to', async () => {
    const order = nginxRing(ADDRESSES)
    const cluster = await clusterWith({ route: slotRoute, placement: order })
    const visitors = await many(cluster, 'a', 60)
    const expected = new Map(nodes.map((node) => [node, node === 'a' ? 60 : 0]))
    for (const { key, route } of visitors) {
      expect(route).toBe(String(slotOf(key)))
      const backup = order.order(Number(route), nodes).find((node) => node !== 'a') as string
      expected.set(backup, (expected.get(backup) ?? 0) + 1)
    }
    for (const node of nodes) expect(await holds(cluster, node), node).toBe(expected.get(node))
  })

  test('after a death a visitor who only reads is bound to the server that took its place', async () => {
    const cluster = await clusterWith({ route: nameRoute })
    const visitors = await many(cluster, 'a', 30)
    await cluster.kill('a')
    await cluster.world.advance(1_000)
    for (const [index, visitor] of visitors.entries()) {
      const backup = visitor.route?.split('.')[1] as string
      expect(await visitor.read(backup, 'index')).toBe(index)
      expect(ownerIn(visitor)).toBe(backup)
    }
  })

  test('a server that returns with empty memory finds the session, serves no old copy, and sends the visitor where it lives', async () => {
    const cluster = await clusterWith({ route: nameRoute })
    const visitors = await many(cluster, 'a', 30)
    const [moved, quiet] = [visitors.slice(0, 15), visitors.slice(15)]
    await cluster.kill('a')
    await cluster.world.advance(1_000)
    for (const [index, visitor] of moved.entries()) await visitor.write(visitor.route?.split('.')[1] as string, { index: index + 100 })
    await cluster.add('a')
    // They still carry the route to `a`: nothing has told them otherwise.
    for (const [index, visitor] of quiet.entries()) {
      expect(ownerIn(visitor)).toBe('a')
      expect(await visitor.read('a', 'index')).toBe(index + 15)
      expect(ownerIn(visitor)).not.toBe('a')
    }
    for (const [index, visitor] of moved.entries()) {
      expect(ownerIn(visitor)).not.toBe('a')
      expect(await visitor.read('a', 'index')).toBe(index + 100)
    }
  })

  test('a server that drains sends visitors where their sessions went, and the next write is stored there', async () => {
    const cluster = await clusterWith({ route: nameRoute, backups: 0 })
    const visitors = await many(cluster, 'a', 20)
    await cluster.run(cluster.server('a').strategy.drain())
    for (const [index, visitor] of visitors.entries()) {
      if (index % 2 === 0) expect(await visitor.read('a', 'index')).toBe(index)
      else await visitor.write('a', { index })
      expect(ownerIn(visitor)).toMatch(/^[bcd]$/)
    }
    await cluster.run(cluster.server('a').strategy.close())
    await cluster.kill('a')
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read(ownerIn(visitor), 'index')).toBe(index)
  })

  test('a server more moves nobody who is bound', async () => {
    const cluster = await clusterWith({ route: nameRoute })
    const visitors = await many(cluster, 'b', 30)
    await cluster.add('e')
    await cluster.world.advance(500)
    for (const [index, visitor] of visitors.entries()) {
      expect(await visitor.read('b', 'index')).toBe(index)
      await visitor.write('b', { more: index })
      expect(ownerIn(visitor)).toBe('b')
    }
  })

  test('a lost route cookie comes back with the next write', async () => {
    const cluster = await clusterWith({ route: nameRoute })
    const [visitor] = (await many(cluster, 'c', 1)) as [Visitor]
    visitor.route = undefined
    await visitor.write('c', { n: 1 })
    expect(ownerIn(visitor)).toBe('c')
  })

  test('a format of the application that fails sets no cookie, warns once and fails no request', async () => {
    const broken = (): string => {
      throw new TypeError('a secret text')
    }
    for (const route of [broken, () => 'two words; Path=/', () => 'x'.repeat(2_000)]) {
      const cluster = await clusterWith({ route })
      const visitors = await many(cluster, 'a', 3)
      expect(visitors.map((visitor) => visitor.route)).toEqual([undefined, undefined, undefined])
      expect(cluster.server('a').warnings).toHaveLength(1)
      expect(cluster.server('a').warnings[0]).not.toContain('secret')
    }
  })

  test('none, where the application asks for none', async () => {
    const cluster = await clusterWith({ route: () => undefined })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    expect(visitor.route).toBeUndefined()
    expect(cluster.server('a').warnings).toEqual([])
  })

  test('options of another kind are refused', () => {
    expect(() => affinity({ placement: 'nginxRing' as never })).toThrow('rendezvous()')
    expect(() => affinity({ route: 'names' as never })).toThrow('nameRoute')
  })
})
