import { describe, expect, test } from 'vitest'
import type { Written } from '../../src/seam.ts'
import { cookieBased, type CookieBasedOptions } from '../../src/strategies/cookie-based.ts'
import { change, codeOf, draft, testCluster, type TestCluster, type Visitor } from './table-harness.ts'

const NODES = ['a', 'b', 'c'] as const
const LONGEST_MS = 20_000
/** Servers remember a little longer than any root lives. */
const GRACE_MS = 600_000

function start(options: Omit<CookieBasedOptions, 'revocations'> = {}, nodes?: readonly string[]): Promise<TestCluster> {
  return testCluster({
    strategy: (revocations) => cookieBased({ ...options, revocations }),
    latencyMs: 2,
    ...(nodes !== undefined && { nodes }),
  })
}

async function loggedIn(cluster: TestCluster, node: string, userId = 'ada'): Promise<Visitor> {
  const visitor = cluster.visitor()
  await visitor.create(node, { cart: 1 }, { userId })
  return visitor
}

async function outcomes(visitor: Visitor, nodes: readonly string[] = NODES): Promise<string[]> {
  const found: string[] = []
  for (const node of nodes) found.push((await visitor.open(node)).outcome)
  return found
}

const ALIVE = ['found', 'found', 'found']
const ENDED = ['gone', 'gone', 'gone']

/** A new id for the same visitor, for this user. */
async function moved(cluster: TestCluster, visitor: Visitor, node: string, userId: string | undefined): Promise<Visitor> {
  const opened = await visitor.found(node)
  const next = cluster.visitor()
  const id = next.newId()
  const server = cluster.server(node)
  const written: Written = await cluster.run(
    server.strategy.replace(opened, id, () => draft(server, id, { cart: 1 }, userId === undefined ? {} : { userId })),
  )
  next.id = id
  next.take(written.jar)
  return next
}

/** Virtual milliseconds that the work took. */
async function timed(cluster: TestCluster, work: () => Promise<unknown>): Promise<number> {
  const from = cluster.world.elapsed()
  await cluster.run(work())
  return cluster.world.elapsed() - from
}

/** Stopped: nothing goes in or out, and what was sent waits in its sockets. */
function pause(cluster: TestCluster, node: string): void {
  for (const other of cluster.servers.keys()) {
    if (other === node) continue
    cluster.network.hold(node, other)
    cluster.network.hold(other, node)
  }
  cluster.server(node).runtime.pause()
}

describe('cookieBased revocations over a transport', () => {
  test('a logout holds on every server, and a request that was under way stores nothing', async () => {
    const cluster = await start()
    const visitor = await loggedIn(cluster, 'a')
    const slow = await visitor.found('b')
    expect(await outcomes(visitor)).toEqual(ALIVE)
    await cluster.run(cluster.server('a').strategy.destroy(await visitor.found('a')))
    expect(await outcomes(visitor)).toEqual(ENDED)
    const late = cluster.server('b').strategy
    expect(await codeOf((async () => late.write(slow, change(cluster.server('b'), { cart: 2 })))())).toBe('SESSION_GONE')
    expect(cluster.server('c').ended).toContainEqual([visitor.key, 'destroyed'])
  })

  test('a login ends the old id on every server', async () => {
    const cluster = await start()
    const before = cluster.visitor()
    await before.create('a', { cart: 1 })
    const slow = await before.found('c')
    const after = await moved(cluster, before, 'b', 'ada')
    expect(await outcomes(after)).toEqual(ALIVE)
    for (const node of NODES) expect(await before.open(node)).toMatchObject({ outcome: 'gone', reason: 'replaced' })
    const late = cluster.server('c').strategy
    expect(await codeOf((async () => late.write(slow, change(cluster.server('c'), { cart: 2 })))())).toBe('SESSION_REPLACED')
  })

  test('revoke ends one session, and only where it is the given user’s', async () => {
    const cluster = await start()
    const [one, two] = [await loggedIn(cluster, 'a'), await loggedIn(cluster, 'b')]
    const { strategy } = cluster.server('c')
    await cluster.run(strategy.revoke(one.key, { userId: 'bob' }))
    expect(await outcomes(one)).toEqual(ALIVE)
    expect(await cluster.run(strategy.revoke(one.key, { userId: 'ada' }))).toBe(true)
    expect(await cluster.run(cluster.server('a').strategy.revoke(one.key, { userId: 'ada' }))).toBe(false)
    expect(await timed(cluster, () => strategy.revoke(two.key, {}))).toBeLessThanOrEqual(10)
    expect([await outcomes(one), await outcomes(two)]).toEqual([ENDED, ENDED])
  })

  test('a log-out everywhere ends sessions of all servers, spares the one named, and others of that user begin anew', async () => {
    const cluster = await start()
    const sessions = await Promise.all(NODES.map((node) => loggedIn(cluster, node)))
    const kept = await loggedIn(cluster, 'b')
    const bob = await loggedIn(cluster, 'a', 'bob')
    expect(await timed(cluster, () => cluster.server('a').strategy.revokeUser('ada', { except: kept.key }))).toBeLessThanOrEqual(10)
    for (const session of sessions) expect(await outcomes(session)).toEqual(ENDED)
    for (const session of [kept, bob, await loggedIn(cluster, 'c')]) expect(await outcomes(session)).toEqual(ALIVE)
    // The spared session's new id is as good as the old one.
    const next = await moved(cluster, kept, 'c', 'ada')
    expect(await outcomes(next)).toEqual(ALIVE)
    await cluster.run(cluster.server('b').strategy.revokeUser('ada', {}))
    expect(await outcomes(next)).toEqual(ENDED)
  })

  test('a regenerate that was under way does not carry a session past a log-out everywhere', async () => {
    const cluster = await start()
    const visitor = await loggedIn(cluster, 'a')
    const opened = await visitor.found('b')
    await cluster.run(cluster.server('a').strategy.revokeUser('ada', {}))
    const server = cluster.server('b')
    const id = visitor.newId()
    expect(await codeOf((async () => server.strategy.replace(opened, id, () => draft(server, id, {}, { userId: 'ada' })))())).toBe(
      'SESSION_GONE',
    )
  })

  test('a session written to, folded and compressed many times still knows which log-outs it came after', async () => {
    const cluster = await start({ compress: true })
    await cluster.run(cluster.server('a').strategy.revokeUser('ada', {}))
    const visitor = await loggedIn(cluster, 'b')
    for (let n = 0; n < 30; n++) await visitor.write(NODES[n % 3] as string, { cart: n })
    expect(await outcomes(visitor)).toEqual(ALIVE)
    await cluster.run(cluster.server('c').strategy.revokeUser('ada', {}))
    expect(await outcomes(visitor)).toEqual(ENDED)
  })

  test('many log-outs everywhere of one user: each ends what came before it, and cookies stay small', async () => {
    const cluster = await start()
    let before: Visitor | undefined
    for (let n = 0; n < 40; n++) {
      await cluster.run(cluster.server(NODES[n % 3] as string).strategy.revokeUser('ada', {}))
      if (before !== undefined) expect(await outcomes(before)).toEqual(ENDED)
      before = await loggedIn(cluster, NODES[(n + 1) % 3] as string)
      expect(await outcomes(before)).toEqual(ALIVE)
    }
    const [value] = (before as Visitor).notes.values()
    expect((value as string).length).toBeLessThan(400)
  })

  test('what was revoked is known for as long as a session may live, and sessions that would live longer are refused', async () => {
    const cluster = await start({ longestMs: LONGEST_MS })
    const visitor = cluster.visitor()
    const server = cluster.server('a')
    const long = visitor.newId(2 * LONGEST_MS)
    expect(await codeOf((async () => server.strategy.create(long, draft(server, long, {}, { userId: 'ada' })))())).toBe('CONFIG_INVALID')
    const id = visitor.newId(LONGEST_MS)
    const written = await cluster.run(server.strategy.create(id, draft(server, id, {}, { userId: 'ada', idleMs: LONGEST_MS })))
    visitor.id = id
    visitor.take(written.jar)
    await cluster.run(cluster.server('b').strategy.revokeUser('ada', {}))
    await cluster.world.advance(LONGEST_MS - 1_000)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
    await cluster.world.advance(GRACE_MS + 2_000)
    expect(await cluster.server('c').strategy.status()).toMatchObject({ details: { tombstones: 0 } })
  })

  test('a paused server refuses when it returns, and the log-out does not wait for it for longer than a second', async () => {
    const cluster = await start()
    const visitor = await loggedIn(cluster, 'c')
    pause(cluster, 'c')
    expect(await timed(cluster, () => cluster.server('a').strategy.revokeUser('ada', {}))).toBeLessThanOrEqual(1_000)
    await cluster.world.advance(2_000)
    cluster.server('c').runtime.resume()
    // The request is handled before anything that waits in the sockets.
    const opening = Promise.resolve(cluster.server('c').strategy.open(visitor.jar()))
    cluster.network.release()
    expect(await cluster.run(opening)).toMatchObject({ outcome: 'gone' })
  })

  test('a server that was paused and lost its links gives no answer before they are back', async () => {
    const cluster = await start()
    const visitor = await loggedIn(cluster, 'c')
    cluster.network.partition(['a', 'b'], ['c'])
    cluster.server('c').runtime.pause()
    await cluster.run(cluster.server('a').strategy.revokeUser('ada', {}))
    await cluster.world.advance(5_000)
    cluster.server('c').runtime.resume()
    const opening = Promise.resolve(cluster.server('c').strategy.open(visitor.jar()))
    await cluster.world.advance(1_000)
    cluster.network.heal()
    expect(await cluster.run(opening)).toMatchObject({ outcome: 'gone' })
  })

  test('a server that starts anew refuses, and gives no answer before it knows', async () => {
    const cluster = await start()
    const visitor = await loggedIn(cluster, 'a')
    await cluster.kill('c')
    await cluster.run(cluster.server('a').strategy.revokeUser('ada', {}))
    const opening = Promise.resolve(cluster.start('c').strategy.open(visitor.jar()))
    expect(await cluster.run(opening)).toMatchObject({ outcome: 'gone' })
  })

  test.each(['continue', 'fail'] as const)('cut off from all: %s', async (whenCutOff) => {
    const cluster = await start({ whenCutOff })
    const visitor = await loggedIn(cluster, 'c')
    cluster.network.partition(['a', 'b'], ['c'])
    await cluster.world.advance(100)
    expect(await timed(cluster, () => cluster.server('a').strategy.revokeUser('ada', {}))).toBeLessThanOrEqual(1_000)
    const seen = await codeOf(visitor.open('c').then(({ outcome }) => Promise.reject(new Error(outcome))))
    expect(seen).toBe(whenCutOff === 'fail' ? 'SESSION_UNAVAILABLE' : 'not ours: Error: found')
    expect(await cluster.server('c').strategy.status()).toMatchObject({ details: { inContact: false } })
    cluster.network.heal()
    await cluster.world.advance(1_000)
    expect(await outcomes(visitor)).toEqual(ENDED)
  })

  test('a death keeps nobody from being served', async () => {
    const cluster = await start({}, ['a', 'b'])
    const visitor = await loggedIn(cluster, 'a')
    await cluster.kill('b')
    for (let n = 0; n < 5; n++) {
      const from = cluster.world.elapsed()
      expect((await visitor.open('a')).outcome).toBe('found')
      expect(cluster.world.elapsed() - from).toBeLessThanOrEqual(500)
      await cluster.world.advance(300)
    }
  })

  test('status tells what is not protected, and of whom it has heard', async () => {
    const cluster = await start()
    await cluster.run(cluster.server('a').strategy.revokeUser('ada', {}))
    const status = await cluster.server('b').strategy.status()
    expect(status.notProtected.join()).toMatch(/restart of all servers/)
    expect(status.notProtected.join()).not.toMatch(/no revocation table/)
    expect(status).toMatchObject({ details: { revokedUsers: 1, inContact: true }, peers: [{ node: 'a' }, { node: 'c' }] })
    const alone = await testCluster({ strategy: () => cookieBased(), nodes: ['a'] })
    expect((await alone.server('a').strategy.status()).notProtected.join()).toMatch(/no revocation table/)
    expect(await codeOf(alone.server('a').strategy.revokeUser('ada', {}))).toBe('STRATEGY_UNSUPPORTED')
    expect(await codeOf(alone.server('a').strategy.revoke('key', {}))).toBe('STRATEGY_UNSUPPORTED')
  })
})
