import { createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { askServer, startCluster, startSentinel, startValkey } from '../setup/redis-servers.ts'
import { startRedis, waitFor, within } from '../setup/servers.ts'
import type { RunningRedis } from '../setup/servers.ts'
import { seededRandom } from '../setup/virtual-runtime.ts'
import { add, context, DEADLINE_MS, draft, hear, jar, set, strategyOver } from './redis-common.ts'

const open: { close(): Promise<unknown> }[] = []
let prefixes = 0

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close()
})

async function opened(url: string, prefix: string, deadlineMs?: number): Promise<SessionStore> {
  const store = redisStore({ url }, { prefix })
  open.push(store)
  await store.ready(context(deadlineMs === undefined ? {} : { deadlineMs }))
  return store
}

const TARGETS = [
  { name: 'redis', start: (): Promise<{ url: string; stop(): Promise<void> }> => startRedis() },
  { name: 'valkey', start: startValkey },
  { name: 'redis behind Sentinel', start: (): ReturnType<typeof startSentinel> => startSentinel() },
  { name: 'redis cluster', start: startCluster },
]

describe.each(TARGETS)('$name - push', ({ start }) => {
  let server: { url: string; stop(): Promise<void> }
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())

  async function pair(): Promise<[SessionStore, SessionStore]> {
    const prefix = `w${++prefixes}`
    return [await opened(server.url, prefix), await opened(server.url, prefix)]
  }

  test('what another server writes, ends or replaces is announced for keys that were read or written here', async () => {
    const [mine, theirs] = await pair()
    expect(mine.freshness).toBe('push')
    const heard = hear(mine)
    await waitFor(() => heard.watch.confirm())
    const until = Date.now() + 60_000
    for (const key of ['patched', 'ended', 'replaced', 'listed', 'untouched']) await theirs.create(key, draft({}, 'ada'), `c${key}`)
    await mine.create('created', draft({}, 'ada'), 'c')
    for (const key of ['patched', 'ended', 'replaced', 'untouched']) await mine.read(key)
    for await (const _ of mine.list({ userId: 'ada' })) continue
    await theirs.patch('patched', set('a', '1', 'w1'))
    await theirs.destroy('ended', 'destroyed', until)
    await theirs.replace('replaced', 'new', draft({}, 'eve'), 'w2')
    await theirs.patch('created', add('n', 1, 'w3'))
    expect(await heard.watch.confirm()).toBe(true)
    expect([...heard.changed].sort()).toEqual(['created', 'ended', 'patched', 'replaced'])
    heard.changed.length = 0
    await mine.read('patched')
    await mine.read('untouched')
    if (theirs.endUser === undefined) for (const key of ['patched', 'untouched']) await theirs.destroy(key, 'destroyed', until)
    else expect([...(await theirs.endUser('ada', until, { except: 'created' }))].sort()).toEqual(['listed', 'patched', 'untouched'])
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toEqual(expect.arrayContaining(['patched', 'untouched']))
    expect(heard.changed).not.toContain('created')
    expect(heard.lost).toBe(0)
  })

  test('once everything was heard by all, it was announced here: within moments, but not in a cluster, where that is never known', async () => {
    const [mine, theirs] = await pair()
    const [heard, other] = [hear(mine), hear(theirs)]
    for (const { watch } of [heard, other]) await waitFor(() => watch.confirm())
    const isCluster = server.url.startsWith('redis+cluster')
    expect(other.watch.heardByAll === undefined).toBe(isCluster)
    if (isCluster) return
    await waitFor(() => other.watch.heardByAll?.(1_000) ?? false, 10_000)
    await theirs.create('k', draft(), 'w')
    await mine.read('k')
    await theirs.destroy('k', 'destroyed', Date.now() + 60_000)
    expect(await other.watch.heardByAll?.(1_000)).toBe(true)
    expect(heard.changed).toEqual(['k'])
  })

  test('own writes are not announced, and a foreign one after them is', async () => {
    const [mine, theirs] = await pair()
    const heard = hear(mine)
    await waitFor(() => heard.watch.confirm())
    await mine.create('k', draft({}, 'ada'), 'w0')
    await mine.create('old', draft(), 'w0')
    for (let round = 1; round <= 5; round++) {
      await mine.read('k')
      await mine.patch('k', set('a', String(round), `m${round}`))
      await mine.patch('k', { ...add('n', 1, `a${round}`), touchAt: Date.now() + round })
      // A touch alone writes, too.
      await mine.patch('k', { set: new Map(), add: new Map(), touchAt: Date.now() + 1_000 * round, writeId: `t${round}` })
      expect(await heard.watch.confirm()).toBe(true)
      expect(heard.changed).toEqual([])
      await theirs.patch('k', set('b', String(round), `t${round}`))
      expect(await heard.watch.confirm()).toBe(true)
      expect(heard.changed.splice(0)).toEqual(['k'])
    }
    await mine.replace('old', 'new', draft(), 'w1')
    await mine.destroy('k', 'destroyed', Date.now() + 60_000)
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toEqual([])
    await theirs.patch('new', set('a', '1', 'w2'))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toEqual(['new'])
    expect(heard.lost).toBe(0)
  })

  test('after any operations of two servers and confirm(), every key whose version differs was announced', async () => {
    const [mine, theirs] = await pair()
    const heard = hear(mine)
    await waitFor(() => heard.watch.confirm())
    const seed = Date.now() % 1_000_000
    const random = seededRandom(seed)
    const pick = (count: number): number => random.between(0, count - 1)
    /** What this server knows: version by key, forgotten when a change is announced; -1: gone. */
    const known = new Map<string, number>()
    const keys = Array.from({ length: 12 }, (_, index) => `k${index}`)
    let writes = 0
    const until = Date.now() + 600_000
    async function step(store: SessionStore, isMine: boolean): Promise<void> {
      const key = keys[pick(keys.length)] as string
      const writeId = `w${++writes}`
      const announced = heard.changed.length
      const learn = (version: number): void => {
        // As a near cache does: what was announced while the question was under way may be newer than the answer.
        if (isMine && !heard.changed.slice(announced).includes(key)) known.set(key, version)
      }
      switch (pick(6)) {
        case 0: {
          if (await store.create(key, draft({}, 'ada'), writeId)) learn(1)
          break
        }
        case 1:
        case 2: {
          const result = await store.patch(key, set('a', String(writes), writeId))
          if (result.outcome === 'applied') learn(result.after)
          break
        }
        case 3: {
          const fresh = `r${writes}`
          keys.push(fresh)
          const result = await store.replace(key, fresh, draft(), writeId)
          if (result.outcome === 'applied' && isMine) {
            known.set(key, -1)
            known.set(fresh, 1)
          }
          break
        }
        case 4: {
          if (pick(3) === 0 && (await store.destroy(key, 'destroyed', until)) && isMine) known.set(key, -1)
          break
        }
        default: {
          const found = await store.read(key)
          if (found !== undefined) learn('version' in found ? found.version : -1)
        }
      }
    }
    for (let round = 0; round < 40; round++) {
      // One server's operations one after the other, those of the two at once.
      const mineSteps = async (): Promise<void> => {
        for (let count = 0; count < 6; count++) await step(mine, true)
      }
      const theirSteps = async (): Promise<void> => {
        for (let count = 0; count < 6; count++) await step(theirs, false)
      }
      await Promise.all([mineSteps(), theirSteps()])
      expect(await heard.watch.confirm()).toBe(true)
      for (const key of heard.changed.splice(0)) known.delete(key)
      for (const [key, version] of known) {
        const now = await theirs.read(key)
        expect({ seed, round, key, version: now === undefined || 'gone' in now ? -1 : now.version }).toEqual({ seed, round, key, version })
      }
    }
    expect(known.size).toBeGreaterThan(0)
    expect(heard.lost).toBe(0)
  })
})

describe('redis - push', () => {
  let redis: RunningRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  test('a connection that was killed is lost, and its successor announces again', async () => {
    const store = await opened(redis.url, 'killed')
    const theirs = await opened(redis.url, 'killed')
    const heard = hear(store)
    await waitFor(() => heard.watch.confirm())
    await store.create('k', draft(), 'w')
    const list = String(await askServer(redis.port, ['CLIENT', 'LIST']))
    const tracked = list.split('\n').find((line) => / flags=\w*t/.test(line))
    await askServer(redis.port, ['CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(tracked as string)?.[1] as string])
    await waitFor(() => heard.lost > 0)
    await waitFor(() => heard.watch.confirm())
    await waitFor(() => store.read('k'))
    await theirs.patch('k', set('a', '1', 'x'))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toEqual(['k'])
  })

  test('a Redis that is stopped (SIGSTOP) confirms nothing, by the deadline', async () => {
    const own = await startRedis()
    try {
      const store = await opened(own.url, 'stopped', DEADLINE_MS)
      const heard = hear(store)
      await waitFor(() => heard.watch.confirm())
      own.pause()
      const startedAt = performance.now()
      expect(await within(heard.watch.confirm(), DEADLINE_MS + 1_500, 'confirm')).toBe(false)
      expect(performance.now() - startedAt).toBeGreaterThan(DEADLINE_MS / 2)
      expect(heard.lost).toBeGreaterThan(0)
      own.resume()
      await waitFor(() => heard.watch.confirm())
    } finally {
      own.resume()
      await own.stop()
    }
  })

  test('everything flushed, evicted, or more keys than Redis cares to remember: nothing is missed', async () => {
    const own = await startRedis()
    try {
      const store = await opened(own.url, 'flush')
      const theirs = await opened(own.url, 'flush')
      const heard = hear(store)
      await waitFor(() => heard.watch.confirm())
      await store.create('k', draft(), 'w')
      await askServer(own.port, ['FLUSHALL'])
      expect(await heard.watch.confirm()).toBe(true)
      expect(heard.lost).toBe(1)
      // Redis drops keys while it works on commands of this very store.
      await askServer(own.port, ['CONFIG', 'SET', 'tracking-table-max-keys', '2'])
      const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
      for (const key of keys) await store.create(key, draft(), `c${key}`)
      for (const key of keys) await theirs.patch(key, set('a', '1', `p${key}`))
      expect(await heard.watch.confirm()).toBe(true)
      if (heard.lost === 1) expect([...new Set(heard.changed)].sort()).toEqual([...keys].sort())
      await askServer(own.port, ['CONFIG', 'SET', 'tracking-table-max-keys', '0'], ['CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru'])
      await askServer(own.port, ['CONFIG', 'SET', 'maxmemory', '4mb'])
      heard.changed.length = 0
      const large = JSON.stringify('x'.repeat(50_000))
      const many = Array.from({ length: 100 }, (_, index) => `m${index}`)
      for (const key of many) await store.create(key, draft({ large }), `c${key}`)
      expect(await heard.watch.confirm()).toBe(true)
      let evicted = 0
      for (const key of many) {
        if ((await theirs.read(key)) !== undefined) continue
        evicted += 1
        expect(heard.changed).toContain(key)
      }
      expect(evicted).toBeGreaterThan(10)
    } finally {
      await own.stop()
    }
  })

  test('an expired session is announced', async () => {
    const store = await opened(redis.url, 'expired')
    const heard = hear(store)
    await waitFor(() => heard.watch.confirm())
    const short = draft()
    await store.create('k', { ...short, meta: { ...short.meta, idleMs: 100 } }, 'w')
    await waitFor(() => heard.changed.includes('k'))
  })

  test('a user that may not track: everything works, nothing is confirmed, and one line says what to allow', async () => {
    const own = await startRedis()
    try {
      await askServer(own.port, ['ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '+@all', '-client|tracking'])
      const warnings: string[] = []
      const store = redisStore({ url: own.url.replace('//', '//app:pw@') })
      open.push(store)
      const logger = { warn: (text: unknown) => void warnings.push(String(text)), error: () => {} }
      await store.ready(context({ logger }))
      const heard = hear(store)
      expect(await store.create('k', draft(), 'w')).toBe(true)
      expect(await heard.watch.confirm()).toBe(false)
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(/CLIENT TRACKING.*\+client/)
    } finally {
      await own.stop()
    }
  })

  test('nobody listens: nothing is tracked', async () => {
    const own = await startRedis()
    try {
      const store = await opened(own.url, 'silent')
      await store.create('k', draft(), 'w')
      await store.read('k')
      const tracked = async (): Promise<number> =>
        Number(/tracking_total_keys:(\d+)/.exec(String(await askServer(own.port, ['INFO', 'stats'])))?.[1])
      expect(await tracked()).toBe(0)
      const heard = hear(store)
      await waitFor(() => heard.watch.confirm())
      await store.read('k')
      expect(await tracked()).toBeGreaterThan(0)
    } finally {
      await own.stop()
    }
  })

  test("with the application's own client near copies live for the lease", async () => {
    const client = createClient({ url: redis.url })
    client.on('error', () => {})
    const store = redisStore({ client }, { prefix: 'given' })
    open.push(store, client)
    await store.ready(context())
    expect([store.freshness, store.confirmsLease]).toEqual(['lease', true])
    const { watch } = hear(store)
    // It is only on the roll: what the lease is for is not announced.
    expect(await watch.confirm()).toBe(true)
    expect(watch.heardByAll).toBeUndefined()
  })

  test('dedicated over it: in steady state a read costs no command and a write one', async () => {
    const own = await startRedis()
    try {
      const strategy = strategyOver(redisStore({ url: own.url }), [], { nearCache: { leaseMs: 1_000 } })
      open.push(strategy)
      let written = await strategy.create({ id: 'secret', key: 'k', absoluteAt: 0 }, draft({ a: '1' }))
      const change = (value: string) => ({ set: new Map([['a', value]]), add: new Map(), touchAt: Date.now() })
      written = await strategy.write(written.opened, change('warm'))
      const presented = () => ({ ...jar('k'), notes: written.jar.set })
      const calls = async (): Promise<Record<string, number>> => {
        const info = String(await askServer(own.port, ['INFO', 'commandstats']))
        const count = (name: string): number => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? 0)
        // PING confirms the channel for all sessions together, whatever their number.
        // Each script reads the session once, the whole or its beginning.
        return { scripts: count('evalsha') + count('eval'), read: count('get') + count('getrange') }
      }
      await waitFor(async () => {
        const before = await calls()
        await strategy.open(presented())
        return (await calls()).read === before.read
      })
      // The first writes of a server may have to bring their scripts along.
      written = await strategy.write(written.opened, change('warm, too'))
      const before = await calls()
      for (let count = 0; count < 50; count++) {
        const opening = await strategy.open(presented())
        if (opening.outcome !== 'found') throw new Error('not found')
        written = await strategy.write(opening.opened, change(String(count)))
      }
      const after = await calls()
      expect((after.scripts as number) - (before.scripts as number)).toBe(50)
      expect((after.read as number) - (before.read as number)).toBe(50)
    } finally {
      await own.stop()
    }
  })
})
