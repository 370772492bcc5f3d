import { beforeEach, describe, expect, test, vi } from 'vitest'
import { deriveKeys } from '../../../src/core/keys.ts'
import { SessionError } from '../../../src/errors.ts'
import type {
  Change,
  Draft,
  Jar,
  Opened,
  RecordMeta,
  RunningStrategy,
  SessionStore,
  StoreContext,
  StrategyContext,
} from '../../../src/seam.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { dedicated } from '../../../src/strategies/dedicated.ts'
import { createVirtualWorld } from '../../setup/virtual-runtime.ts'
import type { VirtualRuntime, VirtualWorld } from '../../setup/virtual-runtime.ts'

let world: VirtualWorld
let runtime: VirtualRuntime
const events: string[] = []
const ended: string[] = []

beforeEach(() => {
  world = createVirtualWorld()
  runtime = world.runtime()
  events.length = 0
  ended.length = 0
})

function start(store: SessionStore, deadlineMs = 2_000): RunningStrategy {
  const context: StrategyContext = {
    node: 'n1',
    runtime,
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: (type) => void events.push(type),
    ended: (key, reason) => void ended.push(`${key} ${reason}`),
    logger: console,
  }
  return dedicated({ store, deadlineMs }).start(context)
}

/** Lets virtual time pass until the promise has settled. */
async function passing<T>(promise: Promise<T> | T): Promise<T> {
  let settled = false
  const done = Promise.resolve(promise).finally(() => {
    settled = true
  })
  done.catch(() => {})
  while (!settled) await world.advance(5)
  return done
}

const jar = (key: string): Jar => ({ id: 'secret', key, absoluteAt: 0, notes: [], headerBytes: 0 })
const id = (key: string) => ({ id: 'secret', key, absoluteAt: 0 })

function draft(fields: Record<string, string> = {}, changed: Partial<RecordMeta> = {}): Draft {
  const now = runtime.now()
  const meta = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 10_000,
    touchEveryMs: 500,
    absoluteAt: now + 60_000,
    persistent: false,
    ...changed,
  }
  return { meta, fields: new Map(Object.entries(fields)) }
}

function change(set: Record<string, string | undefined> = {}, add: Record<string, number> = {}): Change {
  const adds = Object.entries(add).map(([field, by]) => [field, { by, from: 0 }] as const)
  return { set: new Map(Object.entries(set)), add: new Map(adds), touchAt: runtime.now() }
}

async function opened(strategy: RunningStrategy, key: string): Promise<Opened> {
  const opening = await strategy.open(jar(key))
  if (opening.outcome !== 'found') throw new Error(`not found: ${JSON.stringify(opening)}`)
  return opening.opened
}

const code = (expected: string) => expect.objectContaining({ code: expected })

describe('dedicated - the record', () => {
  test('what one server wrote, another opens', async () => {
    const store = memoryStore()
    const [one, two] = [start(store), start(store)]
    await one.create(id('k'), draft({ a: '1', gone: '2' }))
    const { record } = await opened(two, 'k')
    await two.write(await opened(two, 'k'), change({ a: '3', gone: undefined }))
    expect([record.get('a'), record.isRemoved('gone')]).toEqual(['1', false])
    const { record: later } = await opened(one, 'k')
    expect([later.get('a'), later.get('gone'), later.isRemoved('gone'), [...later.fields()], later.bytes]).toEqual([
      '3',
      undefined,
      true,
      ['a'],
      2,
    ])
  })

  test('a write shows in what the request holds, counters as the store summed them', async () => {
    const strategy = start(memoryStore())
    const { opened: mine } = await strategy.create(id('k'), draft({ n: '1', a: '1' }))
    await strategy.write(await opened(strategy, 'k'), change({ other: '1' }, { n: 10 }))
    const { opened: after, jar: delta } = await strategy.write(mine, change({ a: undefined }, { n: 1 }))
    expect([after.record.get('n'), after.record.isRemoved('a'), after.record.get('other')]).toEqual(['12', true, undefined])
    expect(delta).toEqual({ set: [], delete: [] })
    expect(strategy.settle(after, true)).toBeUndefined()
  })

  test('an unknown session is gone, unknown; an expired one is not served even if the store still has it', async () => {
    const store = memoryStore()
    const strategy = start(store)
    expect(await strategy.open(jar('nobody'))).toEqual({ outcome: 'gone', reason: 'unknown' })
    const record = { ...draft(), version: 1, writeIds: [] }
    const stale = start({ ...store, read: async () => record })
    await world.advance(10_000)
    expect(await stale.open(jar('k'))).toEqual({ outcome: 'gone', reason: 'expired' })
    expect(ended).toEqual(['k expired'])
  })
})

describe('dedicated - the end of a session', () => {
  test('a write after logout stores nothing and is SESSION_GONE', async () => {
    const strategy = start(memoryStore())
    const { opened: mine } = await strategy.create(id('k'), draft())
    expect(await strategy.destroy(await opened(strategy, 'k'))).toEqual({ set: [], delete: [] })
    await expect(strategy.write(mine, change({ a: '1' }))).rejects.toEqual(code('SESSION_GONE'))
    await expect(strategy.update(mine, () => change({ a: '1' }))).rejects.toEqual(code('SESSION_GONE'))
    await expect(strategy.replace(mine, id('k2'), draft())).rejects.toEqual(code('SESSION_GONE'))
    expect(await strategy.open(jar('k'))).toMatchObject({ outcome: 'gone', reason: 'destroyed', endedAt: runtime.now() })
    expect(await strategy.open(jar('k2'))).toMatchObject({ outcome: 'gone', reason: 'unknown' })
    expect(ended[0]).toBe('k destroyed')
  })

  test('a write of the old id after login is SESSION_REPLACED', async () => {
    const strategy = start(memoryStore())
    const { opened: mine } = await strategy.create(id('k'), draft())
    await strategy.replace(await opened(strategy, 'k'), id('k2'), draft({ a: '1' }, { userId: 'ada' }))
    await expect(strategy.write(mine, change({ a: '2' }))).rejects.toEqual(code('SESSION_REPLACED'))
    await expect(strategy.update(mine, () => change({ a: '2' }))).rejects.toEqual(code('SESSION_REPLACED'))
    expect(await strategy.reload(mine)).toMatchObject({ outcome: 'gone', reason: 'replaced' })
    expect((await opened(strategy, 'k2')).record.get('a')).toBe('1')
    expect(ended).toContain('k replaced')
  })

  test('revoke - with a user, only theirs; the session is gone for all', async () => {
    const strategy = start(memoryStore())
    await strategy.create(id('k'), draft({}, { userId: 'ada' }))
    expect(await strategy.revoke('k', { userId: 'bob' })).toBe(false)
    expect((await strategy.get('k'))?.meta.userId).toBe('ada')
    expect(await strategy.revoke('k', { userId: 'ada' })).toBe(true)
    expect(await strategy.revoke('k', {})).toBe(false)
    expect(await strategy.get('k')).toBeUndefined()
    expect(ended).toEqual(['k revoked'])
  })

  test('revokeUser - all sessions of the user but one, nobody else', async () => {
    const strategy = start(memoryStore())
    for (const key of ['a1', 'a2', 'a3']) await strategy.create(id(key), draft({}, { userId: 'ada' }))
    await strategy.create(id('b1'), draft({}, { userId: 'bob' }))
    expect(await strategy.revokeUser('ada', { except: 'a2' })).toBe(2)
    const left: string[] = []
    for await (const { key } of strategy.list({})) left.push(key)
    expect(left.sort()).toEqual(['a2', 'b1'])
  })

  test('a store without a user index says so instead of pretending', async () => {
    const store = { ...memoryStore(), capabilities: new Set<'list' | 'users'>() }
    expect(dedicated({ store }).capabilities).toEqual(new Set(['update', 'revoke']))
    await expect(start(store).revokeUser('ada', {})).rejects.toEqual(code('STRATEGY_UNSUPPORTED'))
  })

  test('expired sessions are reported once', async () => {
    const strategy = start(memoryStore())
    await strategy.create(id('k'), draft())
    await world.advance(90_000)
    expect(events).toEqual(['expired'])
    expect(ended).toEqual(['k expired'])
  })
})

describe('dedicated - update', () => {
  test('100 increments by read and write over two servers lose none', async () => {
    const store = memoryStore()
    const [one, two] = [start(store), start(store)]
    await one.create(id('k'), draft({ n: '0' }))
    const increments = Array.from({ length: 100 }, async (_, index) => {
      const strategy = index % 2 === 0 ? one : two
      return strategy.update(await opened(strategy, 'k'), (record) => change({ n: String(Number(record.get('n')) + 1) }))
    })
    await passing(Promise.all(increments))
    expect((await opened(one, 'k')).record.get('n')).toBe('100')
  })

  test('those of one server queue, so that they do not conflict with each other', async () => {
    const store = memoryStore()
    let patches = 0
    const counted: SessionStore = { ...store, patch: (key, patch) => store.patch(key, patch).finally(() => patches++) }
    const strategy = start(counted)
    await strategy.create(id('k'), draft({ n: '0' }))
    const increments = Array.from({ length: 50 }, async () =>
      strategy.update(await opened(strategy, 'k'), (record) => change({ n: String(Number(record.get('n')) + 1) })),
    )
    await passing(Promise.all(increments))
    expect((await opened(strategy, 'k')).record.get('n')).toBe('50')
    expect(patches).toBe(50)
  })

  test('sees the newest record even if the request opened an older one and wrote since', async () => {
    const store = memoryStore()
    const strategy = start(store)
    const { opened: mine } = await strategy.create(id('k'), draft({ n: '1' }))
    await strategy.write(await opened(strategy, 'k'), change({ n: '5' }))
    const { opened: after } = await strategy.write(mine, change({ a: '1' }))
    expect(after.record.get('n')).toBe('1')
    const { opened: updated } = await strategy.update(after, (record) => change({ n: String(Number(record.get('n')) * 2) }))
    expect(updated.record.get('n')).toBe('10')
  })

  test('gives up after a bounded number of conflicts', async () => {
    const store = memoryStore()
    const strategy = start({ ...store, patch: async () => ({ outcome: 'conflict', version: 9 }) })
    const { opened: mine } = await strategy.create(id('k'), draft())
    const attempts = vi.fn<() => Change>(() => change({ a: '1' }))
    await expect(passing(strategy.update(mine, attempts))).rejects.toEqual(code('SESSION_UNAVAILABLE'))
    expect(attempts).toHaveBeenCalledTimes(16)
  })

  test("an error of the change function is the caller's and blocks nobody", async () => {
    const strategy = start(memoryStore())
    const { opened: mine } = await strategy.create(id('k'), draft({ n: '0' }))
    const failing = strategy.update(mine, () => {
      throw new Error('mine')
    })
    const next = strategy.update(mine, () => change({ n: '1' }))
    await expect(failing).rejects.toThrow('mine')
    expect((await next).opened.record.get('n')).toBe('1')
  })
})

/** A memory store whose replies can be lost, whose connection can be down, and that can hang. */
function flaky(): SessionStore & { lose: number; down: boolean; hang: boolean; calls: number; report(state: 'up' | 'down'): void } {
  const store = memoryStore()
  let context: StoreContext | undefined
  const lost = (): SessionError => new SessionError('STORE_UNAVAILABLE', 'connection lost')
  const self = {
    ...store,
    lose: 0,
    down: false,
    hang: false,
    calls: 0,
    report: (state: 'up' | 'down') => context?.stateChanged(state, 'test'),
    async ready(given: StoreContext) {
      context = given
      await store.ready(given)
      if (self.down) throw lost()
    },
    read: (key: string) => wrap(() => store.read(key)),
    patch: (key: string, patch: Parameters<SessionStore['patch']>[1]) => wrap(() => store.patch(key, patch)),
    create: (key: string, given: Draft, writeId: string) => wrap(() => store.create(key, given, writeId)),
    replace: (from: string, to: string, given: Draft, writeId: string) => wrap(() => store.replace(from, to, given, writeId)),
  }
  async function wrap<R>(work: () => Promise<R>): Promise<R> {
    self.calls += 1
    if (self.down) throw lost()
    if (self.hang) return new Promise(() => {})
    const result = await work()
    if (self.lose === 0) return result
    self.lose -= 1
    throw lost()
  }
  return self
}

describe('dedicated - outages', () => {
  test('a lost reply is retried once with the same write id and applies once', async () => {
    const store = flaky()
    const strategy = start(store)
    store.lose = 1
    const { opened: mine } = await passing(strategy.create(id('k'), draft({ n: '0' })))
    store.lose = 1
    expect((await passing(strategy.write(mine, change({}, { n: 1 })))).opened.record.get('n')).toBe('1')
    store.lose = 1
    await passing(strategy.replace(mine, id('k2'), draft({ n: '7' })))
    store.lose = 1
    expect((await passing(opened(strategy, 'k2'))).record.get('n')).toBe('7')
  })

  test('the second try ends with the deadline even if the store hangs', async () => {
    const store = flaky()
    const strategy = start(store, 500)
    const { opened: mine } = await strategy.create(id('k'), draft())
    store.lose = 1
    const from = world.elapsed()
    const writing = strategy.write(mine, change({ a: '1' }))
    await world.settle()
    store.hang = true
    await expect(passing(writing as Promise<unknown>)).rejects.toEqual(code('STORE_UNAVAILABLE'))
    expect(world.elapsed() - from).toBeLessThanOrEqual(510)
  })

  test('during a known outage every request fails at once with 503, and the change of state is told once', async () => {
    const store = flaky()
    const strategy = start(store)
    await strategy.create(id('k'), draft())
    store.down = true
    store.report('down')
    store.report('down')
    store.calls = 0
    await expect(strategy.open(jar('k'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
    expect(store.calls).toBe(1)
    expect(await strategy.status()).toMatchObject({ store: { name: 'memory', state: 'down' } })
    store.down = false
    store.report('up')
    expect((await opened(strategy, 'k')).record.key).toBe('k')
    expect(events).toEqual(['degraded', 'recovered'])
  })

  test('a store that is down at the start fails ready(), and serves once it is up', async () => {
    const store = flaky()
    store.down = true
    const strategy = start(store)
    await expect(strategy.ready()).rejects.toEqual(code('STORE_UNAVAILABLE'))
    await expect(passing(strategy.open(jar('k')) as Promise<unknown>)).rejects.toEqual(code('STORE_UNAVAILABLE'))
    store.down = false
    await strategy.create(id('k'), draft())
    await strategy.ready()
  })

  test('after close() requests are refused', async () => {
    const strategy = start(memoryStore())
    await strategy.ready()
    await strategy.close()
    await expect(strategy.open(jar('k'))).rejects.toEqual(code('SESSIONS_CLOSED'))
  })
})

describe('dedicated - options', () => {
  test('all problems are reported together', () => {
    const make = (): unknown => dedicated({ nearCache: {}, whenDown: 'readCached', deadlineMs: 0, stor: 1 } as never)
    expect(make).toThrow(code('CONFIG_INVALID'))
    for (const part of ['store must', 'nearCache', 'near cache', 'deadlineMs', '"stor"']) expect(make).toThrow(part)
    expect(() => dedicated({ store: memoryStore(), whenDown: 'anonymous' as never })).toThrow('later release')
    expect(() => dedicated(undefined as never)).toThrow(code('CONFIG_INVALID'))
  })
})
