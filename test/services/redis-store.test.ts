import { createHash } from 'node:crypto'
import { createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { RunningStrategy, SessionStore, StoredRecord } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { freePort } from '../setup/ports.ts'
import { startRedis, waitFor } from '../setup/servers.ts'
import type { RunningRedis } from '../setup/servers.ts'
import { context, DEADLINE_MS, draft, failure, id, jar, set, strategyOver as strategyOf } from './redis-common.ts'

let redis: RunningRedis
const open: { close(): Promise<unknown> }[] = []

beforeAll(async () => {
  redis = await startRedis()
})
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close()
})
afterAll(() => redis.stop())

function tracked<T extends { close(): Promise<unknown> }>(thing: T): T {
  open.push(thing)
  return thing
}

async function plainClient(url: string) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  return tracked(client)
}

function strategyOver(store: SessionStore, events: string[]): RunningStrategy {
  return tracked(strategyOf(store, events))
}

describe('redis - at rest', () => {
  test('a 1 KB session of 8 fields takes at most 1,500 bytes, and every key expires', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'size' }))
    await store.ready(context())
    const key = 'x'.repeat(43)
    const fields = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`field${index}`, JSON.stringify('v'.repeat(118))]))
    await store.create(key, draft(fields, 'ada'), 'abcdefghijk')
    for (let index = 0; index < 8; index++) await store.patch(key, set('field1', JSON.stringify('w'.repeat(118)), `abcdefghij${index}`))
    const client = await plainClient(redis.url)
    const bytes = await client.memoryUsage(`size:s:${key}`)
    expect(bytes).toBeGreaterThan(1_000)
    expect(bytes).toBeLessThanOrEqual(1_500)
    await store.destroy(key, 'destroyed', Date.now() + 60_000)
    expect(await client.memoryUsage(`size:s:${key}`)).toBeLessThanOrEqual(200)
    await store.create('other', draft({}, 'ada'), 'abcdefghijk')
    for (const name of await client.keys('size:*')) expect(await client.pTTL(name)).toBeGreaterThan(0)
  })

  test('the index of a user takes at most 200 bytes for each session, in all', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'index' }))
    await store.ready(context())
    const client = await plainClient(redis.url)
    const perSession = async (sessions: number): Promise<number> => {
      const userId = `user${sessions}`
      const before = new Set(await client.keys('index:u:*'))
      for (let index = 0; index < sessions; index++) {
        const key = createHash('sha256').update(`${userId} ${index}`).digest('base64url')
        await store.create(key, draft({ a: '1' }, userId), 'abcdefghijk')
      }
      const [name] = (await client.keys('index:u:*')).filter((key) => !before.has(key)) as [string]
      return ((await client.memoryUsage(name, { SAMPLES: 0 })) as number) / sessions
    }
    // Measured with Redis 7.0: 184, 88, 63 and, beyond its compact encoding (128 sessions of one user), 155.
    for (const [sessions, most] of [
      [1, 200],
      [5, 100],
      [100, 75],
      [129, 170],
    ] as const) {
      const bytes = await perSession(sessions)
      expect(bytes, `${sessions} sessions of a user`).toBeGreaterThan(40)
      expect(bytes, `${sessions} sessions of a user`).toBeLessThanOrEqual(most)
    }
  })

  test('keys hold the hash of a user, never the name', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'hash' }))
    await store.ready(context())
    await store.create('k', draft({}, 'ada@example.org'), 'w')
    const client = await plainClient(redis.url)
    const keys = await client.keys('hash:*')
    expect(keys).toHaveLength(2)
    expect(keys.join()).not.toContain('ada')
  })

  test('each operation is one command', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'trip' }))
    await store.ready(context())
    const client = await plainClient(redis.url)
    // Scripts count as one; what they call within Redis is no round trip.
    const scripts = async (): Promise<number> => {
      const info = await client.info('commandstats')
      return ['evalsha', 'eval'].reduce((sum, name) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? 0), 0)
    }
    const processed = async (): Promise<number> => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
    await store.create('warm', draft(), 'w')
    await store.patch('warm', set('a', '1', 'v'))
    await store.replace('warm', 'warm2', draft(), 'x')
    await store.destroy('warm2', 'destroyed', Date.now() + 60_000)
    await store.endUser?.('ada', Date.now() + 60_000, {})
    for (const key of ['u1', 'u2', 'u3']) await store.create(key, draft({}, 'ada'), 'w')
    const before = await scripts()
    await store.create('k', draft(), 'w')
    await store.patch('k', set('a', '1', 'v'))
    await store.replace('k', 'k2', draft(), 'x')
    await store.destroy('k2', 'destroyed', Date.now() + 60_000)
    expect(await store.endUser?.('ada', Date.now() + 60_000, { except: 'u2' })).toHaveLength(2)
    expect((await scripts()) - before).toBe(5)
    const reads = await processed()
    await store.read('k2')
    expect((await processed()) - reads).toBe(2) // and the INFO
  })

  test('a server whose clock is an hour off expires nobody and lengthens nothing', async () => {
    const right = tracked(redisStore({ url: redis.url }, { prefix: 'clock' }))
    await right.ready(context())
    for (const offMs of [3_600_000, -3_600_000]) {
      const runtime = { ...systemRuntime(), now: () => Date.now() + offMs }
      const wrong = tracked(redisStore({ url: redis.url }, { prefix: 'clock' }))
      await wrong.ready(context({ runtime }))
      const created = draft()
      await right.create('k', created, 'w')
      const seen = (await wrong.read('k')) as StoredRecord
      expect(Math.abs(seen.meta.lastActiveAt - (created.meta.lastActiveAt + offMs))).toBeLessThan(1_000)
      await wrong.patch('k', { ...set('a', '1', 'v'), touchAt: runtime.now() })
      const after = (await right.read('k')) as StoredRecord
      expect(Math.abs(after.meta.lastActiveAt - Date.now())).toBeLessThan(1_000)
      expect(Math.abs(after.meta.absoluteAt - created.meta.absoluteAt)).toBeLessThan(1_000)
      const client = await plainClient(redis.url)
      const left = await client.pTTL('clock:s:k')
      expect(Math.abs(left - 600_000)).toBeLessThan(2_000)
      await wrong.destroy('k', 'destroyed', runtime.now() + 60_000)
      const mark = (await right.read('k')) as { endedAt: number }
      expect(Math.abs(mark.endedAt - Date.now())).toBeLessThan(1_000)
      // As long as the session would have lived, or as long as was asked for: by the clock of Redis, too.
      expect(Math.abs((await client.pTTL('clock:s:k')) - left)).toBeLessThan(2_000)
      await right.create('l', draft(), 'w')
      await wrong.destroy('l', 'destroyed', runtime.now() + 7_200_000)
      expect(Math.abs((await client.pTTL('clock:s:l')) - 7_200_000)).toBeLessThan(2_000)
      await client.del(['clock:s:k', 'clock:s:l'])
    }
  })

  test('scripts that Redis forgot are sent again', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'flush' }))
    await store.ready(context())
    const client = await plainClient(redis.url)
    await client.scriptFlush()
    expect(await store.create('k', draft({ a: '1' }), 'w')).toBe(true)
    await client.scriptFlush()
    expect(await store.patch('k', set('a', '2', 'v'))).toMatchObject({ outcome: 'applied' })
  })

  test('a record that does not parse is STORE_RECORD_INVALID and stays', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'bad' }))
    await store.ready(context())
    const client = await plainClient(redis.url)
    await client.hSet('bad:s:hash', { fa: '1' })
    await client.set('bad:s:text', 'text')
    await client.set('bad:s:newer', '2;1;1')
    for (const key of ['hash', 'text', 'newer']) {
      expect(await failure(store.read(key))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(await failure(store.patch(key, set('a', '2', 'v')))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(await client.exists(`bad:s:${key}`)).toBe(1)
    }
    const listed: string[] = []
    for await (const { key } of store.list({})) listed.push(key)
    expect(listed).toEqual([])
  })

  test('the index of a user forgets sessions that expired by themselves', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'idx' }))
    await store.ready(context())
    const short = draft({}, 'ada')
    await store.create('short', { ...short, meta: { ...short.meta, idleMs: 50 } }, 'w')
    await store.create('long', draft({}, 'ada'), 'w')
    await waitFor(async () => (await store.read('short')) === undefined)
    const listed: string[] = []
    for await (const { key } of store.list({ userId: 'ada' })) listed.push(key)
    expect(listed).toEqual(['long'])
    const client = await plainClient(redis.url)
    const [index] = await client.keys('idx:u:*')
    await waitFor(async () => (await client.zCard(index as string)) === 1)
  })
})

describe('redis - outages', () => {
  test('unreachable at the start: one clear line within the deadline, and usable once it is there', async () => {
    const port = await freePort()
    const states: string[] = []
    const store = tracked(redisStore({ url: `redis://127.0.0.1:${port}` }))
    const startedAt = performance.now()
    const error = await failure(store.ready(context({ deadlineMs: DEADLINE_MS, stateChanged: (state) => states.push(state) })))
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503, headers: { 'retry-after': '1' } })
    expect(error.message).toMatch(new RegExp(`^cannot reach Redis at redis://127\\.0\\.0\\.1:${port} \\(ECONNREFUSED\\): start it[^\\n]*$`))
    const late = await startRedis({ port })
    try {
      await waitFor(() => store.read('k').then(() => true))
      expect(states).toEqual(['down', 'up'])
    } finally {
      await late.stop()
    }
  })

  test('stopped (SIGSTOP): requests end with 503 by the deadline, nothing hangs, and it goes on after SIGCONT with everyone logged in', async () => {
    const own = await startRedis()
    const events: string[] = []
    const strategy = strategyOver(redisStore({ url: own.url }), events)
    try {
      await strategy.create(id('k'), draft({ user: '"ada"' }, 'ada'))
      const opening = await strategy.open(jar('k'))
      own.pause()
      const startedAt = performance.now()
      const errors = await Promise.all(Array.from({ length: 20 }, () => failure(strategy.open(jar('k')))))
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
      for (const error of errors) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
      if (opening.outcome !== 'found') throw new Error('not found')
      const write = { set: new Map([['a', '1']]), add: new Map(), touchAt: Date.now() }
      const again = performance.now()
      expect(await failure(strategy.write(opening.opened, write))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      // The dead connection is known by now: no request waits for it again.
      expect(performance.now() - again).toBeLessThan(DEADLINE_MS / 2)
      own.resume()
      await waitFor(() => Promise.resolve(strategy.open(jar('k'))).then(({ outcome }) => outcome === 'found'))
      expect(events).toEqual(['degraded', 'recovered'])
    } finally {
      own.resume()
      await own.stop()
    }
  })

  test('killed and started again: 503 at once in between, no crash, sessions on disk are there again', async () => {
    const own = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    let again: RunningRedis | undefined
    const events: string[] = []
    const strategy = strategyOver(redisStore({ url: own.url }), events)
    try {
      const { opened } = await strategy.create(id('k'), draft())
      await own.kill()
      await waitFor(() => events.includes('degraded'))
      const startedAt = performance.now()
      const write = { set: new Map([['a', '1']]), add: new Map(), touchAt: Date.now() }
      expect(await failure(strategy.write(opened, write))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS / 2)
      expect(await strategy.status()).toMatchObject({ store: { name: 'redis', state: 'down' } })
      again = await own.restart()
      await waitFor(() => Promise.resolve(strategy.open(jar('k'))).then(({ outcome }) => outcome === 'found'))
      expect(events).toEqual(['degraded', 'recovered'])
    } finally {
      await (again ?? own).stop()
    }
  })

  test('a reply lost with its connection is retried and applies once', async () => {
    const store = redisStore({ url: redis.url }, { prefix: 'lost' })
    const strategy = strategyOver(store, [])
    await strategy.create(id('k'), draft({ n: '0' }))
    const client = await plainClient(redis.url)
    let applied = 0
    for (let round = 0; round < 20; round++) {
      const opening = await waitFor(async () => strategy.open(jar('k')))
      if (opening.outcome !== 'found') throw new Error('not found')
      const write = strategy.write(opening.opened, { set: new Map(), add: new Map([['n', { by: 1, from: 0 }]]), touchAt: Date.now() })
      const kill = client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
      await Promise.all([write, kill])
      applied += 1
    }
    expect((await strategy.get('k'))?.get('n')).toBe(String(applied))
  })

  test('connections that die all the time crash nothing', async () => {
    const store = tracked(redisStore({ url: redis.url }, { prefix: 'dying' }))
    await store.ready(context())
    const client = await plainClient(redis.url)
    for (let round = 0; round < 10; round++) {
      await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
      await store.read('k').catch((error: unknown) => expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' }))
    }
    await waitFor(() => store.read('k').then(() => true))
  })

  test('close() while it cannot be reached ends at once and reconnects no more', async () => {
    const store = redisStore({ url: `redis://127.0.0.1:${await freePort()}` })
    const ready = failure(store.ready(context()))
    await store.close()
    await ready
    expect(await failure(store.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})

describe('redis - credentials', () => {
  const PASSWORD = 'geheim-p4ssw0rd'

  function everything(error: unknown): string {
    const parts: string[] = []
    for (let at = error as Error | undefined; at !== undefined && at !== null; at = at.cause as Error | undefined) {
      parts.push(String(at), at.stack ?? '', JSON.stringify(at), JSON.stringify(Object.getOwnPropertyDescriptors(at)))
    }
    return parts.join('\n')
  }

  test('a wrong password is named as such, and neither it nor the user shows in error, event or log', async () => {
    const own = await startRedis()
    try {
      await (await plainClient(own.url)).configSet('requirepass', 'right')
      const seen: string[] = []
      const logger = {
        warn: (...args: unknown[]) => void seen.push(String(args)),
        error: (...args: unknown[]) => void seen.push(String(args)),
      }
      const url = `redis://app-user:${PASSWORD}@127.0.0.1:${own.port}`
      const store = tracked(redisStore({ url }))
      const error = await failure(
        store.ready(context({ deadlineMs: DEADLINE_MS, logger, stateChanged: (_, detail) => void seen.push(detail) })),
      )
      expect(error.message).toContain('WRONGPASS')
      seen.push(everything(error), everything(await failure(store.read('k'))))
      const without = tracked(redisStore({ url: own.url }))
      expect((await failure(without.ready(context({ deadlineMs: DEADLINE_MS })))).message).toMatch(/NOAUTH.*password/)
      expect(seen.join('\n')).toContain(`redis://127.0.0.1:${own.port}`)
      for (const secret of [PASSWORD, 'app-user']) expect(seen.join('\n')).not.toContain(secret)
    } finally {
      await own.stop()
    }
  })

  test('an address that cannot be used is refused at creation without repeating it', () => {
    for (const url of [
      `redis://u:${PASSWORD}@`,
      `http://u:${PASSWORD}@h`,
      `redis://u:${PASSWORD}@h/x`,
      `redis://%zz:${PASSWORD}@h`,
      `${PASSWORD}`,
      7,
    ]) {
      let error: unknown
      try {
        redisStore({ url } as never)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
      expect(everything(error)).not.toContain(PASSWORD)
    }
    expect(() => redisStore({} as never, { prefix: 'a:b' })).toThrow(/either.*prefix/)
    expect(() => redisStore(undefined as never)).toThrow('either')
    expect(() => redisStore({ client: {} as never })).toThrow('client')
  })
})

test("redis - the application's own client stays open, and one that is not connected is connected", async () => {
  const client = createClient({ url: redis.url })
  const store = redisStore({ client }, { prefix: 'own' })
  await store.ready(context())
  expect(await store.create('k', draft(), 'w')).toBe(true)
  await store.close()
  expect(client.isReady).toBe(true)
  expect(client.listenerCount('ready')).toBe(0)
  await client.close()
})
