/** Defects that the simulation found, each by the shortest way to it. */
import { describe, expect, test } from 'vitest'
import type { Opened, Transport, Written } from '../../src/seam.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { change, codeOf, testCluster, type TestCluster, valueOf, type Visitor } from './table-harness.ts'

const everywhere = (transport: Transport) => replication({ transport })
const strict = (transport: Transport) => replication({ transport, whenCutOff: 'fail' })
const owned = (transport: Transport) => affinity({ transport })

async function inContact(cluster: TestCluster, node: string): Promise<unknown> {
  return (await cluster.server(node).strategy.status()).details?.inContact
}

async function many(cluster: TestCluster, count: number, node: string, meta: Parameters<Visitor['create']>[2] = {}): Promise<Visitor[]> {
  const visitors = Array.from({ length: count }, () => cluster.visitor())
  for (const visitor of visitors) await visitor.create(node, { n: 0 }, meta)
  return visitors
}

/** Adds one to `n` by `session.update`. */
function addOne(cluster: TestCluster, node: string, opened: Opened): Promise<Written> {
  const server = cluster.server(node)
  return Promise.resolve(server.strategy.update(opened, (record) => change(server, { n: Number(record.get('n') ?? '0') + 1 })))
}

describe('membership', () => {
  test('a server whose word about itself was lost is known after the next round of repair', async () => {
    const cluster = await testCluster({ strategy: strict, nodes: ['a', 'b'], latencyMs: 1 })
    cluster.network.faults('a', '*', { drop: 1 })
    cluster.network.faults('b', '*', { drop: 1 })
    cluster.start('c')
    await cluster.world.advance(500)
    cluster.network.faults('a', '*', { drop: 0 })
    cluster.network.faults('b', '*', { drop: 0 })
    await cluster.world.advance(7_000)
    expect(await inContact(cluster, 'c')).toBe(true)
  })

  test('a server that starts while servers are apart counts those that its peer has lost', async () => {
    const cluster = await testCluster({ strategy: everywhere, nodes: ['a', 'b', 'c', 'd', 'e'] })
    cluster.network.partition(['a', 'b'], ['c', 'd', 'e'])
    await cluster.world.advance(1_000)
    await cluster.kill('b')
    await cluster.add('b')
    await cluster.world.advance(1_000)
    for (const node of ['a', 'b']) expect(await inContact(cluster, node)).toBe(false)
    for (const node of ['c', 'd', 'e']) expect(await inContact(cluster, node)).toBe(true)
    cluster.network.heal()
    await cluster.world.advance(1_000)
    for (const node of ['a', 'b', 'c']) expect(await inContact(cluster, node)).toBe(true)
  })

  test('what a writer had on the way to a slow server when it died, the others tell within a second', async () => {
    const cluster = await testCluster({ strategy: everywhere, latencyMs: 1 })
    const [visitor] = (await many(cluster, 1, 'a')) as [Visitor]
    cluster.network.hold('a', 'c')
    await visitor.write('a', { n: 1 })
    await cluster.kill('a')
    await cluster.world.advance(1_000)
    const held = await cluster.run(Promise.resolve(cluster.server('c').strategy.get(visitor.key)))
    expect(held?.get('n')).toBe('1')
  })
})

describe("whenCutOff: 'fail'", () => {
  test('a request opened before its server was cut off does not write to a session that ended meanwhile', async () => {
    const cluster = await testCluster({ strategy: strict, latencyMs: 1 })
    const [visitor] = (await many(cluster, 1, 'a')) as [Visitor]
    const opened = await visitor.found('a')
    const other = await visitor.found('a')
    cluster.network.partition(['a'], ['b', 'c'])
    await cluster.run(cluster.server('b').strategy.revoke(visitor.key, {}))
    const { strategy } = cluster.server('a')
    const id = visitor.newId()
    expect(await codeOf(cluster.run(strategy.write(opened, change(cluster.server('a'), { n: 1 }))))).toBe('SESSION_UNAVAILABLE')
    expect(await codeOf(cluster.run(strategy.replace(other, id, () => ({ meta: opened.record.meta, fields: new Map() }))))).toBe(
      'SESSION_UNAVAILABLE',
    )
    expect(await codeOf(cluster.run(addOne(cluster, 'a', other)))).toBe('SESSION_UNAVAILABLE')
  })
})

describe('update', () => {
  test.each([
    ['replication', everywhere],
    ['affinity', owned],
  ] as const)('%s: a question that arrives twice is applied once', async (_, strategy) => {
    const cluster = await testCluster({ strategy, latencyMs: [1, 4], duplicate: 0 } as never)
    cluster.network.faults('*', '*', { duplicate: 1 })
    for (const visitor of await many(cluster, 5, 'a')) {
      for (const node of ['b', 'c', 'a']) {
        await cluster.world.advance(200)
        await cluster.run(addOne(cluster, node, await visitor.found(node)))
      }
      await cluster.world.advance(200)
      expect(valueOf(await visitor.found('a'), 'n')).toBe(3)
    }
  })

  test('affinity: an update that is tried again finds its session though the copy has moved away meanwhile', async () => {
    // Who holds the backup, and so drops its copy, differs from session to session.
    for (let seed = 1; seed <= 30; seed++) {
      const cluster = await testCluster({ strategy: owned, seed, latencyMs: 1 })
      const [visitor] = (await many(cluster, 1, 'a')) as [Visitor]
      const [a, c] = [cluster.server('a'), cluster.server('c')]
      const [atA, atB] = [await visitor.found('a'), await visitor.found('b')]
      const updating = addOne(cluster, 'b', atB)
      // Twice the owner has a newer copy when the question comes; then another server takes the session over.
      await cluster.world.advance(0.5)
      const first = a.strategy.write(atA, change(a, { at: 1 }))
      await cluster.world.advance(2)
      const second = a.strategy.write(atA, change(a, { at: 2 }))
      const opening = Promise.resolve(c.strategy.open(visitor.jar()))
      await cluster.world.advance(2)
      const atC = (await cluster.run(opening)) as { opened: Opened }
      const third = c.strategy.write(atC.opened, change(c, { c: 1 }))
      visitor.take((await cluster.run(updating)).jar)
      await cluster.run(Promise.all([first, second, third]))
      await cluster.world.advance(100)
      expect(valueOf(await visitor.found('c'), 'n')).toBe(1)
    }
  })

  test.each([
    ['replication', everywhere],
    ['affinity', owned],
  ] as const)('%s: two that were committed apart merge by field, and a conflict is told', async (_, strategy) => {
    const cluster = await testCluster({ strategy })
    const [visitor, calm] = (await many(cluster, 2, 'a')) as [Visitor, Visitor]
    await cluster.run(addOne(cluster, 'a', await calm.found('a')))
    const copies = { a: await visitor.found('a'), c: await visitor.found('c') }
    cluster.network.partition(['a'], ['b', 'c'])
    await cluster.world.advance(1_000)
    for (const node of ['a', 'c'] as const) {
      const server = cluster.server(node)
      await cluster.run(Promise.resolve(server.strategy.update(copies[node], () => change(server, { n: node, [node]: 1 }))))
    }
    cluster.network.heal()
    await cluster.world.advance(16_000)
    const told = [...cluster.servers.values()].flatMap(({ events }) => events.filter(({ type }) => type === 'conflict'))
    expect(new Set(told.map(({ key }) => key))).toEqual(new Set([visitor.key]))
    // Affinity: a near copy may be old, the copies of the owner and of its backup are not.
    const seen = await Promise.all(
      ['a', 'b', 'c'].map(async (node) => visitor.found(node).then((opened) => ['a', 'c'].map((field) => valueOf(opened, field)).join())),
    )
    expect(seen.filter((fields) => fields === '1,1').length).toBeGreaterThanOrEqual(2)
  })

  test('updates one after the other, at any server, are no conflict', async () => {
    const cluster = await testCluster({ strategy: everywhere, latencyMs: [0, 5] })
    const [visitor] = (await many(cluster, 1, 'a')) as [Visitor]
    for (const node of ['a', 'b', 'c', 'b', 'a']) {
      await cluster.run(addOne(cluster, node, await visitor.found(node)))
      await visitor.write('c', { other: node })
    }
    expect([...cluster.servers.values()].flatMap(({ events }) => events)).toEqual([])
  })
})

describe('affinity', () => {
  const SHORT = { idleMs: 2_000, touchEveryMs: 100 }

  test('of servers that claim a session at once one owns it in the end: it expires once', async () => {
    const cluster = await testCluster({ strategy: owned, nodes: ['a', 'b', 'c', 'd'], latencyMs: [0, 8] })
    const visitors = await many(cluster, 24, 'a', SHORT)
    const opened = new Map<Visitor, Map<string, Opened>>()
    for (const visitor of visitors) {
      const at = new Map<string, Opened>()
      for (const node of ['a', 'b', 'c']) at.set(node, await visitor.found(node))
      opened.set(visitor, at)
    }
    const writes = [...opened.values()].flatMap((at) =>
      [...at].map(async ([node, copy]) => cluster.server(node).strategy.write(copy, change(cluster.server(node), { [node]: 1 }))),
    )
    await cluster.run(Promise.all(writes))
    await cluster.world.advance(8_000)
    const expired = [...cluster.servers.values()].flatMap(({ events }) =>
      events.filter(({ type }) => type === 'expired').map(({ key }) => key),
    )
    expect(expired.toSorted()).toEqual(visitors.map(({ key }) => key).toSorted())
  })

  test('a write that the former owner made while its session moved survives the death of the new owner', async () => {
    // Who holds the backups differs from session to session.
    for (let seed = 1; seed <= 24; seed++) {
      const cluster = await testCluster({ strategy: owned, nodes: ['a', 'b', 'c', 'd'], seed, latencyMs: 1 })
      const [visitor] = (await many(cluster, 1, 'a')) as [Visitor]
      const late = { ...visitor.jar() }
      const atB = await visitor.found('b')
      // The writes at b are on their way to be confirmed; the one at a is confirmed at once, and b hears of it.
      for (const node of ['c', 'd']) cluster.network.hold(node, 'b')
      const b = cluster.server('b')
      const first = Promise.resolve(b.strategy.write(atB, change(b, { n: 1 })))
      const moving = [first, Promise.resolve(b.strategy.write(atB, change(b, { n: 2 })))]
      await visitor.write('a', { late: 1 })
      await cluster.world.advance(10)
      const reading = Promise.resolve(cluster.server('b').strategy.open({ ...late, notes: visitor.jar().notes }))
      await cluster.world.advance(400)
      cluster.network.release()
      await cluster.run(Promise.all([...moving, reading]))
      await cluster.world.advance(1_000)
      await cluster.kill('b')
      await cluster.world.advance(3_000)
      expect(await visitor.read('c', 'late')).toBe(1)
    }
  })

  test('an answer that was long on its way does not make a session look expired that others know to live', async () => {
    const cluster = await testCluster({ strategy: owned, latencyMs: 1 })
    const [visitor] = (await many(cluster, 1, 'a', SHORT)) as [Visitor]
    const { strategy: a } = cluster.server('a')
    await cluster.world.advance(1_800)
    const other = cluster.servers.get('b') as NonNullable<ReturnType<typeof cluster.servers.get>>
    const holds = async (node: string): Promise<number> => (await cluster.server(node).strategy.status()).sessions ?? 0
    const stranger = (await holds('b')) === 0 ? 'b' : 'c'
    cluster.network.hold('a', stranger)
    const opening = Promise.resolve(cluster.server(stranger).strategy.open(visitor.jar()))
    await cluster.world.advance(20)
    await cluster.run(a.write(await visitor.found('a'), change(cluster.server('a'), {})))
    await cluster.world.advance(230)
    cluster.network.release()
    expect(await cluster.run(opening)).toMatchObject({ outcome: 'found' })
    expect(other.events).toEqual([])
  })
})

describe('a new id', () => {
  test.each([
    ['replication', everywhere],
    ['affinity', owned],
  ] as const)('%s: what parallel requests had been told is stored goes along, wherever they wrote it', async (_, strategy) => {
    const cluster = await testCluster({ strategy, latencyMs: 3 })
    // Whoever writes at b is answered, by c, before a and b hear of each other.
    cluster.network.faults('a', 'b', { latencyMs: 25 })
    cluster.network.faults('b', 'a', { latencyMs: 25 })
    for (const visitor of await many(cluster, 6, 'a')) {
      const [atA, atB, atC] = [await visitor.found('a'), await visitor.found('b'), await visitor.found('c')]
      const wrote: string[] = []
      const write = (node: string, opened: Opened): Promise<unknown> =>
        codeOf(Promise.resolve(cluster.server(node).strategy.write(opened, change(cluster.server(node), { [node]: 1 })))).then(
          (code) => code === 'resolved' && wrote.push(node),
        )
      const siblings = [write('b', atB), write('c', atC)]
      await cluster.world.advance(2)
      const id = visitor.newId()
      const fieldsOf = (record: Opened['record']): Map<string, string> =>
        new Map([...record.fields()].map((field) => [field, record.get(field) as string]))
      const moved = cluster.server('a').strategy.replace(atA, id, (newest) => ({ meta: atA.record.meta, fields: fieldsOf(newest) }))
      const done = await cluster.run(Promise.resolve(moved))
      await cluster.run(Promise.all(siblings))
      expect(wrote.filter((node) => done.opened.record.get(node) === undefined)).toEqual([])
      expect(done.opened.record.get('n')).toBe('0')
    }
  })
})
