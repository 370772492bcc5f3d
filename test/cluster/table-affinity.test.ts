import { describe, expect, test } from 'vitest'
import { affinity } from '../../src/strategies/affinity.ts'
import { change, codeOf, testCluster, valueOf, type TestCluster, type Visitor } from './table-harness.ts'

const strategy = (transport: never) => affinity({ transport })
const nodes = ['a', 'b', 'c', 'd']

async function holders(cluster: TestCluster): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const [node, server] of cluster.servers) counts[node] = (await server.strategy.status()).sessions ?? 0
  return counts
}

async function many(cluster: TestCluster, node: string, count: number): Promise<Visitor[]> {
  const visitors = Array.from({ length: count }, () => cluster.visitor())
  for (const [index, visitor] of visitors.entries()) await visitor.create(node, { index })
  return visitors
}

describe('affinity', () => {
  test('a session lives at its owner and one backup, and the route names both', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const visitors = await many(cluster, 'a', 40)
    const counts = await holders(cluster)
    expect(counts.a).toBe(40)
    expect((counts.b ?? 0) + (counts.c ?? 0) + (counts.d ?? 0)).toBe(40)
    const labels = new Map<string, string>()
    for (const [node, server] of cluster.servers) labels.set(node, String((await server.strategy.status()).details?.route))
    for (const visitor of visitors) {
      const [owner, backup] = (visitor.route as string).split('.')
      expect(owner).toBe(labels.get('a'))
      expect([labels.get('b'), labels.get('c'), labels.get('d')]).toContain(backup)
    }
  })

  test('the owner answers without a promise, any other server fetches from it', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const [visitor] = (await many(cluster, 'b', 1)) as [Visitor]
    expect(cluster.server('b').strategy.open(visitor.jar())).not.toBeInstanceOf(Promise)
    for (const node of nodes) expect(await visitor.read(node, 'index')).toBe(0)
  })

  test('after the death of the owner every server finds the backup, and a second death loses nothing', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const visitors = await many(cluster, 'a', 60)
    for (const [index, visitor] of visitors.entries()) await visitor.write('a', { more: index })
    await cluster.kill('a')
    for (const [index, visitor] of visitors.entries()) {
      for (const node of ['b', 'c', 'd']) expect(await visitor.read(node, 'more')).toBe(index)
    }
    await cluster.world.advance(3_000)
    await cluster.kill('b')
    for (const [index, visitor] of visitors.entries()) for (const node of ['c', 'd']) expect(await visitor.read(node, 'more')).toBe(index)
    await cluster.world.advance(3_000)
    await cluster.kill('c')
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read('d', 'more')).toBe(index)
  })

  test('after the death of the owner a backup takes its place and finds a backup of its own, though nobody asks', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const visitors = await many(cluster, 'a', 40)
    await cluster.kill('a')
    await cluster.world.advance(1_000)
    const counts = await holders(cluster)
    expect((counts.b ?? 0) + (counts.c ?? 0) + (counts.d ?? 0)).toBe(80)
    await cluster.kill('b')
    await cluster.world.advance(1_000)
    await cluster.kill('c')
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read('d', 'index')).toBe(index)
  })

  test('two servers that claim a session at once do not both drop it for the other', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const cluster = await testCluster({ strategy: (transport) => affinity({ transport, backups: 0 }), nodes, seed, latencyMs: [1, 3] })
      const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
      const answers = await cluster.run(
        Promise.all(
          ['b', 'c'].map(async (node) => {
            const server = cluster.server(node)
            const opening = await server.strategy.open(visitor.jar())
            if (opening.outcome !== 'found') throw new Error(opening.outcome)
            return await server.strategy.write(opening.opened, change(server, { [node]: 1 }))
          }),
        ),
      )
      for (const answer of answers) visitor.take(answer.jar)
      for (const node of ['b', 'c', 'b', 'd']) {
        await visitor.read(node, 'b')
        await visitor.write(node, { turn: node })
        await cluster.world.advance(cluster.world.random.between(0, 4))
      }
      await cluster.world.advance(100)
      const opened = await visitor.found('a')
      expect([valueOf(opened, 'b'), valueOf(opened, 'c'), valueOf(opened, 'turn')], `seed ${seed}`).toEqual([1, 1, 'd'])
    }
  })

  test('after the death of backups the owner sends its sessions to new ones', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const visitors = await many(cluster, 'a', 30)
    await cluster.kill('b')
    await cluster.world.advance(500)
    await cluster.kill('c')
    await cluster.world.advance(500)
    expect((await holders(cluster)).d).toBe(30)
    await cluster.kill('a')
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read('d', 'index')).toBe(index)
  })

  test('the first write elsewhere makes that server the owner, and the former owner drops its copy', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const visitors = await many(cluster, 'a', 30)
    for (const [index, visitor] of visitors.entries()) {
      await visitor.write('c', { index: index + 100 })
      const label = String((await cluster.server('c').strategy.status()).details?.route)
      expect(visitor.route?.split('.')[0]).toBe(label)
    }
    await cluster.world.advance(200)
    const counts = await holders(cluster)
    expect(counts.c).toBe(30)
    expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(60)
    await cluster.kill('c')
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read('d', 'index')).toBe(index + 100)
  })

  test('two servers that write at once both accept, and nothing is lost', async () => {
    const cluster = await testCluster({ strategy, nodes, latencyMs: [1, 20] })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    for (let round = 0; round < 20; round++) {
      const answers = await cluster.run(
        Promise.all(
          nodes.map(async (node) => {
            const server = cluster.server(node)
            const opening = await server.strategy.open(visitor.jar())
            if (opening.outcome !== 'found') throw new Error(opening.outcome)
            return await server.strategy.write(opening.opened, change(server, { [`${node}${round}`]: round }, { count: 1 }))
          }),
        ),
      )
      for (const answer of answers) visitor.take(answer.jar)
    }
    const opened = await visitor.found('b')
    for (let round = 0; round < 20; round++) for (const node of nodes) expect(valueOf(opened, `${node}${round}`)).toBe(round)
    expect(valueOf(opened, 'count')).toBe(80)
  })

  test('drain hands every session over, even with no backups', async () => {
    const cluster = await testCluster({ strategy: (transport) => affinity({ transport, backups: 0 }), nodes })
    const visitors = await many(cluster, 'a', 50)
    expect((await holders(cluster)).b).toBe(0)
    await cluster.run(cluster.server('a').strategy.drain())
    // A request that still reaches the leaving server is kept, too.
    const last = visitors[0] as Visitor
    await last.write('a', { late: true })
    await cluster.run(cluster.server('a').strategy.close())
    await cluster.kill('a')
    for (const [index, visitor] of visitors.entries())
      for (const node of ['b', 'c', 'd']) expect(await visitor.read(node, 'index')).toBe(index)
    expect(await last.read('c', 'late')).toBe(true)
  })

  test('a rolling restart of all servers loses no session and no write, with no backups', async () => {
    const cluster = await testCluster({ strategy: (transport) => affinity({ transport, backups: 0 }), nodes: ['a', 'b', 'c'] })
    const visitors = [...(await many(cluster, 'a', 15)), ...(await many(cluster, 'b', 15)), ...(await many(cluster, 'c', 15))]
    for (const node of ['a', 'b', 'c']) {
      await cluster.run(cluster.server(node).strategy.drain())
      await cluster.run(cluster.server(node).strategy.close())
      await cluster.kill(node)
      await cluster.add(node)
    }
    for (const [index, visitor] of visitors.entries()) expect(await visitor.read('b', 'index')).toBe(index % 15)
  })

  test('without backups the death of the owner is reported as a loss, not as a stranger', async () => {
    const cluster = await testCluster({ strategy: (transport) => affinity({ transport, backups: 0 }), nodes })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    await cluster.kill('a')
    await cluster.world.advance(2_500)
    expect(await visitor.open('b')).toEqual({ outcome: 'regressed', policy: 'byUser' })
  })

  test('updates at several servers at once all count', async () => {
    const cluster = await testCluster({ strategy, nodes, latencyMs: [1, 5] })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    await visitor.write('a', { list: [] })
    const answers = await cluster.run(
      Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const server = cluster.server(nodes[index % 4] as string)
          const opening = await server.strategy.open(visitor.jar())
          if (opening.outcome !== 'found') throw new Error(opening.outcome)
          return await server.strategy.update(opening.opened, (record) =>
            change(server, { list: [...(JSON.parse(record.get('list') as string) as number[]), index] }),
          )
        }),
      ),
    )
    for (const answer of answers) visitor.take(answer.jar)
    const list = (await visitor.read('b', 'list')) as number[]
    expect(list.toSorted((x, y) => x - y)).toEqual(Array.from({ length: 12 }, (_, index) => index))
  })

  test('a server ends a session it does not hold, and a server that joins later refuses it too', async () => {
    const cluster = await testCluster({ strategy, nodes })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    expect(await cluster.run(cluster.server('d').strategy.revoke(visitor.key, {}))).toBe(true)
    await cluster.add('e')
    for (const node of [...nodes, 'e']) expect(await visitor.open(node)).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
  })

  test('without a transport a server works alone', async () => {
    const cluster = await testCluster({ strategy: () => affinity(), nodes: ['a'] })
    const [visitor] = (await many(cluster, 'a', 1)) as [Visitor]
    await visitor.write('a', { n: 1 })
    expect(await visitor.read('a', 'n')).toBe(1)
    expect(await codeOf(cluster.run(cluster.server('a').strategy.drain()))).toBe('resolved')
  })

  test('options that contradict each other are refused', () => {
    expect(() => affinity({ backups: 1 })).toThrow(/transport/)
    expect(() => affinity({ transport: { start: () => undefined } as never, backups: 1, acks: 2 })).toThrow(/acks/)
  })
})
