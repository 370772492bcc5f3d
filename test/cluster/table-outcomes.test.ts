import { describe, expect, test } from 'vitest'
import { decodeFrame, encodeMessage, PROTOCOL_VERSION } from '../../src/cluster/messages.ts'
import { replication } from '../../src/strategies/replication.ts'
import type { Opened, Transport } from '../../src/seam.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { change, codeOf, draft, HOUR, type TestCluster, testCluster, valueOf, type Visitor } from './table-harness.ts'

const strategy = (transport: never) => replication({ transport, acks: 0 })

/** A visitor whose last write, seen by it, died with its server. */
async function withLostWrite(cluster: TestCluster, meta = {}): Promise<Visitor> {
  const visitor = cluster.visitor()
  await visitor.create('a', { n: 1 }, meta)
  await cluster.world.advance(50)
  for (const other of ['b', 'c']) cluster.network.hold('a', other)
  await visitor.write('a', { n: 2 })
  await cluster.kill('a')
  cluster.network.release()
  return visitor
}

describe('catching up', () => {
  test('a write lost with its server is undecided while the server may only be cut off, then regressed with the best copy', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = await withLostWrite(cluster)
    expect(await codeOf(visitor.open('b'))).toBe('SESSION_UNAVAILABLE')
    await cluster.world.advance(2_500)
    const opening = await visitor.open('b')
    expect(opening).toMatchObject({ outcome: 'regressed', policy: 'byUser' })
    const opened = (opening as { opened: Opened }).opened
    expect(valueOf(opened, 'n')).toBe(1)
    // Once told, the visitor's jar is put right: the next request is served as any other.
    visitor.take(cluster.server('b').strategy.settle(opened, true))
    expect(await visitor.read('c', 'n')).toBe(1)
  })

  test('a session of which no copy is left is regressed without one', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    for (const other of ['b', 'c']) cluster.network.hold('a', other)
    await visitor.create('a', { n: 1 })
    await cluster.kill('a')
    cluster.network.release()
    await cluster.world.advance(2_500)
    expect(await visitor.open('b')).toEqual({ outcome: 'regressed', policy: 'byUser' })
  })

  test('onRegression decides the policy', async () => {
    for (const onRegression of ['serve', 'fail'] as const) {
      const cluster = await testCluster({ strategy: (transport) => replication({ transport, acks: 0, onRegression }) })
      const visitor = await withLostWrite(cluster)
      await cluster.world.advance(2_500)
      expect(await visitor.open('b')).toMatchObject({ outcome: 'regressed', policy: onRegression })
    }
  })

  test('a server that keeps silent leaves it undecided: 503 with Retry-After, within the deadline', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await cluster.world.advance(50)
    cluster.network.hold('a', 'b')
    cluster.network.hold('a', 'c')
    await visitor.write('a', { n: 2 })
    const before = cluster.world.elapsed()
    const error = await visitor.open('b').catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'SESSION_UNAVAILABLE', status: 503, headers: { 'Retry-After': '1' } })
    expect(cluster.world.elapsed() - before).toBeLessThanOrEqual(2_100)
  })

  test('an ended session is gone with its reason wherever it is asked for', async () => {
    const cluster = await testCluster({ strategy })
    for (const [reason, end] of [
      ['destroyed', (_: Visitor, opened: Opened) => cluster.server('a').strategy.destroy(opened)],
      ['destroyed', (visitor: Visitor) => cluster.server('b').strategy.revoke(visitor.key, {})],
      [
        'replaced',
        (visitor: Visitor, opened: Opened) =>
          cluster.server('a').strategy.replace(opened, visitor.newId(), () => draft(cluster.server('a'), visitor.newId(), {})),
      ],
    ] as const) {
      const visitor = cluster.visitor()
      await visitor.create('a', { n: 1 })
      await cluster.run(end(visitor, await visitor.found('a')) as Promise<unknown>)
      for (const node of ['a', 'b', 'c'])
        expect(await visitor.open(node)).toMatchObject({ outcome: 'gone', reason, endedAt: expect.any(Number) })
    }
  })

  test('a session nobody knows, without a note, is unknown', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    visitor.id = visitor.newId()
    expect(await visitor.open('a')).toEqual({ outcome: 'gone', reason: 'unknown' })
  })

  test('a session that lost its note is found at another server', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    for (const other of ['b', 'c']) cluster.network.hold('a', other)
    await visitor.create('a', { n: 1 })
    visitor.notes.clear()
    const opening = visitor.open('b')
    await cluster.world.advance(10)
    cluster.network.release()
    expect(await opening).toMatchObject({ outcome: 'found' })
  })

  test('a forged note is no note: it neither regresses nor stays', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    const [name, value] = [...visitor.notes][0] as [string, string]
    const other = cluster.visitor()
    await other.create('a', { n: 2 })
    await other.write('a', { n: 3 })
    // Another session's floor, which this one does not cover.
    visitor.notes.set('forged-1', [...other.notes.values()][0] as string)
    const opened = await visitor.found('b')
    expect(valueOf(opened, 'n')).toBe(1)
    await visitor.write('b', { n: 2 })
    expect(visitor.notes.has('forged-1')).toBe(false)
    expect(visitor.notes.has(name)).toBe(false)
    expect(value).toBeTypeOf('string')
  })

  test('past its idle end a session is expired everywhere, once reported, and long after still not regressed', async () => {
    const cluster = await testCluster({ strategy: (transport) => replication({ transport }) })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 }, { idleMs: 60_000 })
    await cluster.world.advance(59_000)
    expect(await visitor.open('b')).toMatchObject({ outcome: 'found' })
    await cluster.world.advance(1_500)
    expect(await visitor.open('b')).toEqual({ outcome: 'gone', reason: 'expired' })
    await cluster.world.advance(30_000)
    expect(await visitor.open('c')).toEqual({ outcome: 'gone', reason: 'expired' })
    const expired = [...cluster.servers.values()].flatMap((server) => server.events.filter((event) => event.type === 'expired'))
    expect(expired).toMatchObject([{ key: visitor.key }])
    for (const server of cluster.servers.values()) {
      expect(server.ended).toEqual([[visitor.key, 'expired']])
      expect((await server.strategy.status()).sessions).toBe(0)
    }
  })

  test('a touch keeps a session alive at every server', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 }, { idleMs: 60_000 })
    for (const node of ['b', 'c', 'a', 'b']) {
      await cluster.world.advance(40_000)
      await visitor.write(node, {})
    }
    await cluster.world.advance(40_000)
    expect(await visitor.open('a')).toMatchObject({ outcome: 'found' })
    expect(visitor.notes.size).toBe(1)
  })

  test('a copy that missed the touches asks before it calls a session expired', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 }, { idleMs: 60_000 })
    await cluster.world.advance(50)
    cluster.network.faults('a', 'c', { drop: 1 })
    await cluster.world.advance(40_000)
    await visitor.write('a', {})
    await cluster.world.advance(25_000)
    cluster.network.faults('a', 'c', { drop: 0 })
    expect(await visitor.open('c')).toMatchObject({ outcome: 'found' })
  })
})

describe('ending', () => {
  test('a late writer gets SESSION_GONE after a destroy and SESSION_REPLACED after a login, and revives nothing', async () => {
    const cluster = await testCluster({ strategy })
    for (const code of ['SESSION_GONE', 'SESSION_REPLACED']) {
      const visitor = cluster.visitor()
      await visitor.create('a', { n: 1 })
      await cluster.world.advance(50)
      const late = await visitor.found('b')
      const opened = await visitor.found('a')
      const a = cluster.server('a')
      const id = visitor.newId()
      await cluster.run(code === 'SESSION_GONE' ? a.strategy.destroy(opened) : a.strategy.replace(opened, id, () => draft(a, id, { n: 1 })))
      const b = cluster.server('b')
      expect(await codeOf(cluster.run(b.strategy.write(late, change(b, { n: 9 }))))).toBe(code)
      await cluster.world.advance(1_000)
      for (const node of ['a', 'b', 'c']) expect((await visitor.open(node)).outcome).toBe('gone')
    }
  })

  test('a write under way when the session ends elsewhere fails with SESSION_GONE', async () => {
    const cluster = await testCluster({ strategy: (transport) => replication({ transport, acks: 2 }) })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    const opened = await visitor.found('b')
    cluster.network.hold('b', 'c')
    const b = cluster.server('b')
    const writing = codeOf(Promise.resolve(b.strategy.write(opened, change(b, { n: 2 }))))
    await cluster.run(cluster.server('a').strategy.revoke(visitor.key, {}))
    expect(await cluster.run(writing)).toBe('SESSION_GONE')
  })

  test('a tombstone beats a delta that arrives after it, and one that waited for its parents', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    await cluster.world.advance(50)
    cluster.network.hold('a', 'c')
    await visitor.write('a', { n: 2 })
    await visitor.write('b', { m: 1 })
    await cluster.world.advance(1)
    const b = cluster.server('b')
    await cluster.run(b.strategy.destroy(await visitor.found('b')))
    cluster.network.release()
    await cluster.world.advance(100)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
  })

  test('a tombstone of a session a server never saw keeps a late create out', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    cluster.network.hold('a', 'c')
    await visitor.create('a', { n: 1 })
    const b = cluster.server('b')
    const opened = await visitor.found('b')
    await cluster.run(b.strategy.destroy(opened))
    cluster.network.release()
    await cluster.world.advance(100)
    expect((await cluster.server('c').strategy.status()).sessions).toBe(0)
    expect(await visitor.open('c')).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
  })

  test('revokeUser ends all sessions of the user but one, on every server, and signals abort there', async () => {
    const cluster = await testCluster({ strategy })
    const nodes = ['a', 'b', 'c']
    const visitors = Array.from({ length: 6 }, () => cluster.visitor())
    for (const [index, visitor] of visitors.entries())
      await visitor.create(nodes[index % 3] as string, {}, { userId: index < 4 ? 'ada' : 'bob' })
    await cluster.world.advance(50)
    const kept = visitors[0] as Visitor
    expect(await cluster.run(cluster.server('b').strategy.revokeUser('ada', { except: kept.key }))).toBe(3)
    for (const node of nodes) {
      expect((await kept.open(node)).outcome).toBe('found')
      for (const visitor of visitors.slice(1, 4)) {
        expect((await visitor.open(node)).outcome).toBe('gone')
        expect(cluster.server(node).ended).toContainEqual([visitor.key, 'revoked'])
      }
      expect((await visitors[4]!.open(node)).outcome).toBe('found')
    }
  })

  test('revoke checks whose session it is, and says whether there was one', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', {}, { userId: 'ada' })
    const { strategy: c } = cluster.server('c')
    expect(await cluster.run(c.revoke(visitor.key, { userId: 'bob' }))).toBe(false)
    expect(await cluster.run(c.revoke(visitor.key, { userId: 'ada' }))).toBe(true)
    expect(await cluster.run(c.revoke(visitor.key, {}))).toBe(false)
  })

  test('list and get see the sessions of the whole cluster', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 }, { userId: 'ada', persistent: true })
    const { strategy: c } = cluster.server('c')
    const keys: string[] = []
    await cluster.run(
      (async () => {
        for await (const summary of c.list({ userId: 'ada' })) keys.push(summary.key)
      })(),
    )
    expect(keys).toEqual([visitor.key])
    expect((await cluster.run(c.get(visitor.key)))?.get('n')).toBe('1')
    expect(await cluster.run(c.get('A'.repeat(43)))).toBeUndefined()
  })
})

describe('counters and updates', () => {
  test('adds at several servers at once sum exactly', async () => {
    const cluster = await testCluster({ strategy, latencyMs: [1, 40] })
    const visitor = cluster.visitor()
    await visitor.create('a')
    const nodes = ['a', 'b', 'c']
    const answers = await cluster.run(
      Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          const server = cluster.server(nodes[index % 3] as string)
          const opening = await server.strategy.open(visitor.jar())
          if (opening.outcome !== 'found') throw new Error(opening.outcome)
          return await server.strategy.write(opening.opened, change(server, {}, { hits: 1 + (index % 2) }))
        }),
      ),
    )
    for (const answer of answers) visitor.take(answer.jar)
    for (const node of nodes) expect(await visitor.read(node, 'hits')).toBe(90)
  })

  test('updates of one field at several servers at once all count', async () => {
    const cluster = await testCluster({ strategy, latencyMs: [1, 5] })
    const visitor = cluster.visitor()
    await visitor.create('a', { list: [] })
    await cluster.world.advance(50)
    const nodes = ['a', 'b', 'c']
    const answers = await cluster.run(
      Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const server = cluster.server(nodes[index % 3] as string)
          const opening = await server.strategy.open(visitor.jar())
          if (opening.outcome !== 'found') throw new Error(opening.outcome)
          return await server.strategy.update(opening.opened, (record) => {
            const list = JSON.parse(record.get('list') as string) as number[]
            return change(server, { list: [...list, index] })
          })
        }),
      ),
    )
    for (const answer of answers) visitor.take(answer.jar)
    const list = (await visitor.read('b', 'list')) as number[]
    expect(list.toSorted((x, y) => x - y)).toEqual(Array.from({ length: 12 }, (_, index) => index))
  })

  test('an update of an ended session fails with SESSION_GONE', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    const opened = await visitor.found('b')
    await cluster.run(cluster.server('a').strategy.revoke(visitor.key, {}))
    const b = cluster.server('b')
    expect(await codeOf(cluster.run(b.strategy.update(opened, () => change(b, { n: 2 }))))).toBe('SESSION_GONE')
  })
})

describe('frames', () => {
  test('a malformed frame closes the link and harms nothing else', async () => {
    const cluster = await testCluster({ strategy })
    const stranger = cluster.network.join()
    const heard: Buffer[] = []
    const runtime = cluster.world.runtime()
    await stranger.start({
      self: { node: 'z', incarnation: 'zzzzzzzz' },
      runtime,
      logger: console,
      frame: (_, frame) => void heard.push(frame),
      up: () => undefined,
      down: () => undefined,
    })
    await cluster.world.advance(10)
    expect(heard.length).toBeGreaterThan(0)
    const target = stranger.peers().find((peer) => peer.node === 'a')
    const good = encodeMessage({ kind: 'fetch', request: 1, key: 'A'.repeat(43) })
    for (const frame of [
      Buffer.from([9]),
      Buffer.concat([Buffer.from([PROTOCOL_VERSION]), good.subarray(0, -1)]),
      Buffer.from([PROTOCOL_VERSION, 1, 3, 1, 2, 3]),
      Buffer.alloc(0),
    ]) {
      await cluster.world.advance(500)
      const warned = cluster.server('a').warnings.length
      stranger.send(target!.incarnation, frame)
      await cluster.world.advance(10)
      expect(cluster.server('a').warnings.length).toBe(warned + 1)
    }
    const visitor = cluster.visitor()
    await visitor.create('b', { n: 1 })
    expect(await visitor.read('a', 'n')).toBe(1)
  })

  test('a message of a later kind is stepped over', () => {
    const known = encodeMessage({ kind: 'not-held', request: 7 })
    const later = Buffer.from([200, 3, 1, 2, 3])
    expect(decodeFrame(Buffer.concat([Buffer.from([PROTOCOL_VERSION]), later, known]))).toEqual([{ kind: 'not-held', request: 7 }])
  })

  test('the deltas of one tick to one server travel in one frame', async () => {
    let frames = 0
    const network = memoryNetwork({})
    expect(network.nodes()).toEqual([])
    const cluster = await testCluster({
      strategy: (transport: never) => {
        const inner = transport as Transport
        return replication({ transport: { ...inner, send: (to, frame) => (frames++, inner.send(to, frame)) }, acks: 0 })
      },
      nodes: ['a', 'b'],
    })
    const visitors = Array.from({ length: 20 }, () => cluster.visitor())
    for (const visitor of visitors) await visitor.create('a', {})
    await cluster.world.advance(50)
    const opened = await Promise.all(visitors.map((visitor) => visitor.found('a')))
    frames = 0
    const a = cluster.server('a')
    for (const one of opened) void a.strategy.write(one, change(a, { n: 1 }))
    await cluster.world.advance(20)
    expect(frames).toBe(1)
  })

  test('a floor over another cluster or strategy is ignored', async () => {
    const cluster = await testCluster({ strategy })
    const visitor = cluster.visitor()
    await visitor.create('a', { n: 1 })
    const other = await testCluster({
      strategy: (transport) => replication({ transport: Object.assign(transport, { cluster: 'other' }), acks: 0 }),
      seed: 9,
    })
    const foreign = other.visitor()
    await foreign.create('a', {})
    foreign.id = visitor.id
    for (const node of ['a', 'b']) {
      visitor.notes.set('foreign1', [...foreign.notes.values()][0] as string)
      expect(await visitor.read(node, 'n')).toBe(1)
    }
    expect(HOUR).toBeGreaterThan(0)
  })
})
