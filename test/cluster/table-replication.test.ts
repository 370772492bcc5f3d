import { describe, expect, test } from 'vitest'
import { replication } from '../../src/strategies/replication.ts'
import { change, codeOf, draft, testCluster, valueOf } from './table-harness.ts'

const strategy = (transport: never) => replication({ transport })

describe('replication', () => {
  test('a write at one server is read at every other', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { color: 'red' })
    await visitor.write('b', { color: 'green', size: 1 })
    for (const node of ['a', 'b', 'c']) {
      expect(await visitor.read(node, 'color')).toBe('green')
      expect(await visitor.read(node, 'size')).toBe(1)
    }
  })

  test('the jar holds one note, and a plain read sets none', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    for (const node of ['a', 'b', 'c', 'a']) {
      await visitor.write(node, { n: node })
      expect(visitor.notes.size).toBe(1)
      expect([...visitor.notes.values()][0]?.length).toBeLessThan(100)
    }
    await cluster.world.advance(50)
    const opened = await visitor.found('b')
    expect(cluster.server('b').strategy.settle(opened, true)).toBeUndefined()
  })

  test('a covered read answers without a promise', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await cluster.world.advance(50)
    expect(cluster.server('c').strategy.open(visitor.jar())).not.toBeInstanceOf(Promise)
  })

  // The example of design.md: a scalar floor would call C's copy new enough, and `a` would be missing.
  test('three servers - a copy that has the newest write but not the one before it is not served', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { a: 0, b: 0 })
    await cluster.world.advance(50)
    cluster.network.hold('a', 'c')
    await visitor.write('a', { a: 1 })
    await visitor.write('b', { b: 1 })
    await cluster.world.advance(5)
    // C has B's delta in hand by now, and nothing of A's.
    const reading = visitor.found('c')
    const opened = await reading
    expect([valueOf(opened, 'a'), valueOf(opened, 'b')]).toEqual([1, 1])
    cluster.network.release()
    await cluster.world.advance(50)
    expect(await visitor.read('c', 'a')).toBe(1)
  })

  test('parallel requests that write different fields lose none', async () => {
    const cluster = await testCluster({ strategy, latencyMs: [1, 10] })
    const visitor = cluster.visitor()
    await visitor.create('a')
    const nodes = ['a', 'b', 'c']
    const answers = await cluster.run(
      Promise.all(
        Array.from({ length: 24 }, async (_, index) => {
          const server = cluster.server(nodes[index % 3] as string)
          const opening = await server.strategy.open(visitor.jar())
          if (opening.outcome !== 'found') throw new Error(opening.outcome)
          return await server.strategy.write(opening.opened, change(server, { [`f${index}`]: index }, { count: 1 }))
        }),
      ),
    )
    for (const answer of answers) visitor.take(answer.jar)
    for (const node of nodes) {
      const opened = await visitor.found(node)
      expect(Array.from({ length: 24 }, (_, index) => valueOf(opened, `f${index}`))).toEqual(
        Array.from({ length: 24 }, (_, index) => index),
      )
      expect(valueOf(opened, 'count')).toBe(24)
    }
    expect(visitor.notes.size).toBeGreaterThan(1)
    await visitor.write('b', { done: true })
    expect(visitor.notes.size).toBe(1)
  })

  test('several notes are joined by an answer that only read', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a')
    const answers = await cluster.run(
      Promise.all(
        ['a', 'b'].map(async (node) => {
          const server = cluster.server(node)
          const opening = await server.strategy.open(visitor.jar())
          if (opening.outcome !== 'found') throw new Error(opening.outcome)
          return await server.strategy.write(opening.opened, change(server, { [node]: 1 }))
        }),
      ),
    )
    for (const answer of answers) visitor.take(answer.jar)
    expect(visitor.notes.size).toBe(2)
    await visitor.read('c', 'a')
    expect(visitor.notes.size).toBe(1)
    expect(await visitor.read('c', 'b')).toBe(1)
  })

  test('a request keeps the snapshot it opened', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    const opened = await visitor.found('a')
    await visitor.write('b', { n: 2 })
    await cluster.world.advance(50)
    expect(valueOf(opened, 'n')).toBe(1)
  })

  test('an acknowledged write survives the death of its writer at once', async () => {
    const cluster = await testCluster({ strategy, latencyMs: [1, 30] })
    for (let round = 0; round < 20; round++) {
      const node = `w${round}`
      await cluster.add(node)
      const visitor = cluster.visitor()
      await visitor.create(node, { n: 0 })
      await visitor.write(node, { n: 1 })
      await cluster.kill(node)
      for (const other of ['a', 'b', 'c']) expect(await visitor.read(other, 'n')).toBe(1)
    }
  })

  test('a write is not acknowledged before another server has applied it', async () => {
    const cluster = await testCluster({ strategy, nodes: ['a', 'b'] })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 0 })
    cluster.network.hold('a', 'b')
    const opened = await visitor.found('a')
    let done = false
    const writing = Promise.resolve(cluster.server('a').strategy.write(opened, change(cluster.server('a'), { n: 1 }))).then(() => {
      done = true
    })
    await cluster.world.advance(500)
    expect(done).toBe(false)
    cluster.network.release()
    await cluster.run(writing)
    const other = await visitor.found('b')
    expect(valueOf(other, 'n')).toBe(1)
  })

  test('too few servers - continue answers and reports it once, fail refuses before anything is stored', async () => {
    const lone = await testCluster({ strategy, nodes: ['a'] })
    const visitor = lone.visitor()
    await visitor.create('a', { n: 0 })
    await visitor.write('a', { n: 1 })
    expect(lone.server('a').events.filter((event) => event.type === 'degraded')).toHaveLength(1)
    await lone.add('b')
    expect(lone.server('a').events.filter((event) => event.type === 'recovered')).toHaveLength(1)

    const strict = await testCluster({ strategy: (transport) => replication({ transport, onDegraded: 'fail' }), nodes: ['a', 'b'] })
    const other = strict.visitor()
    await other.create('a', { n: 0 })
    await strict.kill('b')
    expect(await codeOf(other.write('a', { n: 1 }))).toBe('SESSION_UNAVAILABLE')
    expect(await other.read('a', 'n')).toBe(0)
  })

  test('a server that joins is ready only when it has everything, the ended sessions included', async () => {
    const cluster = await testCluster({ strategy, latencyMs: 2 })
    const visitors = Array.from({ length: 300 }, () => cluster.visitor())
    for (const [index, visitor] of visitors.entries()) await visitor.create('a', { index, pad: 'x'.repeat(1000) })
    const gone = visitors.pop()
    await cluster.run(cluster.server('b').strategy.destroy(await gone!.found('b')))
    const joiner = cluster.start('d')
    await cluster.world.advance(1)
    const late = cluster.visitor()
    await late.create('b', { index: -1 })
    await cluster.run(joiner.strategy.ready())
    expect((await joiner.strategy.status()).sessions).toBeGreaterThanOrEqual(visitors.length)
    for (const visitor of [...visitors, late]) {
      const opening = joiner.strategy.open(visitor.jar())
      expect(opening).toMatchObject({ outcome: 'found' })
    }
    expect(joiner.strategy.open(gone!.jar())).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
  })

  test('a joiner takes over from the next server when its source dies on the way', async () => {
    const cluster = await testCluster({ strategy, latencyMs: 5 })
    const visitors = Array.from({ length: 300 }, () => cluster.visitor())
    for (const visitor of visitors) await visitor.create('a', { pad: 'x'.repeat(2000) })
    const joiner = cluster.start('d')
    await cluster.world.advance(18)
    await cluster.kill('b')
    await cluster.run(joiner.strategy.ready())
    for (const visitor of visitors) expect(joiner.strategy.open(visitor.jar())).toMatchObject({ outcome: 'found' })
  })

  test('with copies 2 of 4 servers, two hold a session and all can answer', async () => {
    const nodes = ['a', 'b', 'c', 'd']
    const cluster = await testCluster({ strategy: (transport) => replication({ transport, copies: 2 }), nodes })
    const visitors = Array.from({ length: 40 }, () => cluster.visitor())
    for (const [index, visitor] of visitors.entries()) await visitor.create(nodes[index % 4] as string, { index })
    for (const [index, visitor] of visitors.entries()) {
      await visitor.write(nodes[(index + 1) % 4] as string, { more: index })
      for (const node of nodes) expect(await visitor.read(node, 'more')).toBe(index)
    }
    await cluster.kill('b')
    await cluster.world.advance(3_000)
    await cluster.kill('c')
    for (const [index, visitor] of visitors.entries()) for (const node of ['a', 'd']) expect(await visitor.read(node, 'more')).toBe(index)
  })

  test('options that contradict each other are refused together', () => {
    const transport = {} as never
    expect(() => replication({ transport, copies: 2, acks: 2 })).toThrow(/transport.*less than/)
    expect(() => replication({ transport, copies: 0 })).toThrow(/copies/)
  })

  test('a create that another server has not heard of yet is found through the hint', async () => {
    const cluster = await testCluster({ strategy, latencyMs: 20 })
    const server = cluster.server('a')
    const visitor = cluster.visitor()
    visitor.id = visitor.newId()
    const creating = server.strategy.create(visitor.id, draft(server, visitor.id, { n: 1 }))
    const done = await cluster.run(creating)
    visitor.take(done.jar)
    expect(await visitor.read('c', 'n')).toBe(1)
  })
})
