import { describe, expect, test } from 'vitest'
import type { SessionStrategy, Transport, Written } from '../../src/seam.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { change, codeOf, draft, testCluster, type TestCluster, type Visitor } from './table-harness.ts'

const NODES = ['a', 'b', 'c'] as const
const MINUTE = 60_000
const guarded = ['coupon'] as const

const TABLES: Record<string, () => (transport: Transport) => SessionStrategy> = {
  transport: () => (revocations) => cookieBased({ revocations, guarded }),
  store() {
    const revocations = memoryStore()
    return () => cookieBased({ revocations, guarded })
  },
}

/** The jar as somebody kept it. */
function copyOf(visitor: Visitor): Visitor {
  const copy = visitor.cluster.visitor()
  copy.id = visitor.id
  copy.notes = new Map(visitor.notes)
  return copy
}

describe.each(Object.entries(TABLES))('cookieBased guarded fields, remembered in a %s', (_, table) => {
  const start = (): Promise<TestCluster> => testCluster({ strategy: table(), latencyMs: 2 })

  async function shopper(cluster: TestCluster): Promise<Visitor> {
    const visitor = cluster.visitor()
    await visitor.create('a', { coupon: 'unused', cart: 1 }, { userId: 'ada' })
    return visitor
  }

  test('an older jar does not bring a used coupon back, on no server', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    const before = copyOf(visitor)
    await visitor.write('a', { coupon: 'used' })
    for (const node of NODES) {
      expect(await visitor.read(node, 'coupon')).toBe('used')
      // It may have crossed the answer on its way: the cookies stay.
      expect(await codeOf(before.open(node))).toBe('SESSION_REGRESSED')
    }
    expect(cluster.server('c').events).toMatchObject([{ type: 'regressed', key: visitor.key, userId: 'ada' }])
    await cluster.world.advance(2 * MINUTE)
    for (const node of NODES) expect(await before.open(node)).toMatchObject({ outcome: 'regressed', policy: 'fail' })
    for (const node of NODES) expect(await visitor.read(node, 'coupon')).toBe('used')
  })

  test('an older jar of the fields that are not guarded is what it was', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    const before = copyOf(visitor)
    await visitor.write('b', { cart: 2 })
    expect(await before.read('c', 'cart')).toBe(1)
    expect(await visitor.read('c', 'cart')).toBe(2)
  })

  test('dropping the cookie that holds the guarded write is no way around it, also after folds', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    for (let n = 0; n < 3; n++) await visitor.write(NODES[n] as string, { cart: n })
    const before = copyOf(visitor)
    const [set] = (await visitor.write('a', { coupon: 'used' })).jar.set
    const dropped = copyOf(visitor)
    dropped.notes.delete(set?.name as string)
    expect(await codeOf(dropped.open('b').then(({ outcome }) => Promise.reject(new Error(outcome))))).toMatch(/REGRESSED|regressed/)
    for (let n = 0; n < 30; n++) await visitor.write(NODES[n % 3] as string, { cart: n })
    expect(await visitor.read('b', 'coupon')).toBe('used')
    expect(await codeOf(before.open('c'))).toBe('SESSION_REGRESSED')
  })

  test('many folds later the newest jar is still taken, and each guarded write replaces the last', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    const copies: Visitor[] = []
    for (let n = 0; n < 8; n++) {
      copies.push(copyOf(visitor))
      await visitor.write(NODES[n % 3] as string, { coupon: n })
      for (let more = 0; more < 8; more++) await visitor.write(NODES[more % 3] as string, { cart: more })
      await cluster.world.advance(1.5 * MINUTE)
      if (visitor.notes.size > 20) throw new Error('the jar is not folded')
    }
    expect(await visitor.read('a', 'coupon')).toBe(7)
    for (const copy of copies) expect((await copy.open('b')).outcome).toBe('regressed')
  })

  test('of two parallel uses of one coupon the later one is refused, and nothing is stored', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    const [one, two] = [await visitor.found('a'), await visitor.found('b')]
    const use = (node: string): ReturnType<typeof change> => change(cluster.server(node), { coupon: `used at ${node}`, cart: 9 })
    visitor.take((await cluster.run(cluster.server('a').strategy.write(one, use('a')))).jar)
    expect(await codeOf((async () => cluster.server('b').strategy.write(two, use('b')))())).toBe('SESSION_REGRESSED')
    expect(await visitor.read('c', 'coupon')).toBe('used at a')
  })

  test('one request may write a guarded field several times, and parallel writes of other fields lose nothing', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    const server = cluster.server('a')
    const parallel = await visitor.found('b')
    let opened = await visitor.found('a')
    for (let n = 0; n < 3; n++) {
      const written = await cluster.run(server.strategy.write(opened, change(server, n === 1 ? { cart: 7 } : { coupon: n })))
      visitor.take(written.jar)
      opened = written.opened
    }
    visitor.take((await cluster.run(cluster.server('b').strategy.write(parallel, change(cluster.server('b'), { note: 'kept' })))).jar)
    expect([await visitor.read('c', 'coupon'), await visitor.read('c', 'cart'), await visitor.read('c', 'note')]).toEqual([2, 7, 'kept'])
  })

  test('a login carries guarded fields along, and the jar before it has ended', async () => {
    const cluster = await start()
    const visitor = await shopper(cluster)
    await visitor.write('a', { coupon: 'used' })
    const before = copyOf(visitor)
    const server = cluster.server('b')
    const id = visitor.newId()
    const opened = await visitor.found('b')
    const next = await cluster.run(server.strategy.replace(opened, id, () => draft(server, id, { coupon: 'used' }, { userId: 'bob' })))
    visitor.id = id
    visitor.take(next.jar)
    expect(await visitor.read('c', 'coupon')).toBe('used')
    expect(await before.open('c')).toMatchObject({ outcome: 'gone', reason: 'replaced' })
  })
})

test('cookieBased guarded fields - writes that cross between servers of one transport are both required from then on', async () => {
  const cluster = await testCluster({ strategy: (revocations) => cookieBased({ revocations, guarded }), latencyMs: 2 })
  const visitor = cluster.visitor()
  await visitor.create('a', { coupon: 'unused' }, { userId: 'ada' })
  const [one, two] = [await visitor.found('a'), await visitor.found('b')]
  const write = (node: string, opened: typeof one): Promise<Written> =>
    Promise.resolve(cluster.server(node).strategy.write(opened, change(cluster.server(node), { coupon: node })))
  const both = Promise.all([write('a', one), write('b', two)])
  const written = await cluster.run(both)
  const halves = written.map(({ jar }) => {
    const half = copyOf(visitor)
    half.take(jar)
    return half
  })
  for (const { jar } of written) visitor.take(jar)
  for (const node of NODES) {
    expect((await visitor.open(node)).outcome).toBe('found')
    for (const half of halves) expect(await codeOf(half.open(node))).toBe('SESSION_REGRESSED')
  }
})
