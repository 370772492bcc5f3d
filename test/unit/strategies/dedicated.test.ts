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
import { dedicated, type DedicatedOptions } from '../../../src/strategies/dedicated.ts'
import type { DedicatedOpened } from '../../../src/strategies/dedicated-opening.ts'
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

function start(store: SessionStore, deadlineMs = 2_000, options: Partial<DedicatedOptions> = {}): RunningStrategy {
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
  return dedicated({ store, deadlineMs, ...options }).start(context)
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
    expect([delta.set.length, delta.delete.length]).toEqual([1, 1])
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
    expect(await strategy.destroy(mine)).toEqual({ set: [], delete: [(mine as DedicatedOpened).notes[0]?.name] })
    await expect(strategy.write(mine, change({ a: '1' }))).rejects.toEqual(code('SESSION_GONE'))
    await expect(strategy.update(mine, () => change({ a: '1' }))).rejects.toEqual(code('SESSION_GONE'))
    await expect(strategy.replace(mine, id('k2'), () => draft())).rejects.toEqual(code('SESSION_GONE'))
    expect(await strategy.open(jar('k'))).toMatchObject({ outcome: 'gone', reason: 'destroyed', endedAt: runtime.now() })
    expect(await strategy.open(jar('k2'))).toMatchObject({ outcome: 'gone', reason: 'unknown' })
    expect(ended[0]).toBe('k destroyed')
  })

  test('a write of the old id after login is SESSION_REPLACED', async () => {
    const strategy = start(memoryStore())
    const { opened: mine } = await strategy.create(id('k'), draft())
    await strategy.replace(await opened(strategy, 'k'), id('k2'), () => draft({ a: '1' }, { userId: 'ada' }))
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
function flaky(): SessionStore & {
  lose: number
  down: boolean
  hang: boolean
  silent: boolean
  calls: number
  report(state: 'up' | 'down'): void
} {
  const store = memoryStore()
  let context: StoreContext | undefined
  const lost = (): SessionError => new SessionError('STORE_UNAVAILABLE', 'connection lost')
  const self = {
    ...store,
    lose: 0,
    down: false,
    hang: false,
    silent: false,
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
    replace: (from: string, to: string, given: Draft, writeId: string, ifVersion?: number) =>
      wrap(() => store.replace(from, to, given, writeId, ifVersion)),
  }
  async function wrap<R>(work: () => Promise<R>): Promise<R> {
    self.calls += 1
    if (self.down) throw lost()
    if (self.hang) return new Promise(() => {})
    // As a stopped server: nothing comes until the deadline.
    if (self.silent) await new Promise<void>((done) => void runtime.setTimer(context?.deadlineMs ?? 0, done))
    if (self.silent) throw lost()
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
    await passing(strategy.replace(mine, id('k2'), () => draft({ n: '7' })))
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

  test('a store that does not answer is asked by nobody but a probe after some slow failures, until it answers again', async () => {
    const store = flaky()
    const strategy = start(store, 500)
    const { opened: mine } = await strategy.create(id('k'), draft())
    store.report('up')
    store.silent = true
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(passing(strategy.write(mine, change({ a: '1' })) as Promise<unknown>)).rejects.toEqual(code('STORE_UNAVAILABLE'))
    }
    const at = world.elapsed()
    await expect(strategy.open(jar('k'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', headers: { 'retry-after': '1' } })
    expect(world.elapsed()).toBe(at)
    expect(await strategy.status()).toMatchObject({ store: { state: 'down' } })
    store.calls = 0
    await world.advance(2_000)
    expect([store.calls > 0, store.calls <= 4]).toEqual([true, true])
    store.silent = false
    await world.advance(1_000)
    expect((await opened(strategy, 'k')).record.key).toBe('k')
    expect(events).toEqual(['degraded', 'recovered'])
  })

  test("anonymous - visitors are strangers while the store is down, and nobody's session is touched", async () => {
    const store = flaky()
    const strategy = start(store, 500, { whenDown: 'anonymous' })
    const { opened: mine } = await strategy.create(id('k'), draft())
    store.down = true
    expect(await passing(strategy.open(jar('k')))).toEqual({ outcome: 'anonymous' })
    await expect(passing(strategy.reload(mine))).rejects.toEqual(code('STORE_UNAVAILABLE'))
    await expect(passing(strategy.write(mine, change({ a: '1' })))).rejects.toEqual(code('STORE_UNAVAILABLE'))
    store.down = false
    expect((await opened(strategy, 'k')).record.key).toBe('k')
  })

  test('readCached - copies that cover the floor are read for a while, writes are refused, a touch is not', async () => {
    const store = Object.assign(flaky(), { freshness: 'lease' as const })
    const strategy = start(store, 500, { whenDown: 'readCached', nearCache: { leaseMs: 100, outageMs: 5_000 } })
    const { opened: mine, jar: given } = await strategy.create(id('k'), draft({ a: '1' }))
    const browser = { ...jar('k'), notes: given.set }
    const [other] = (await strategy.create(id('other'), draft())).jar.set
    store.down = true
    await world.advance(1_000)
    const opening = await passing(strategy.open(browser))
    expect(opening).toMatchObject({ outcome: 'found' })
    expect((opening as unknown as { opened: DedicatedOpened }).opened.record.get('a')).toBe('1')
    await expect(passing(strategy.write(mine, change({ a: '2' })))).rejects.toEqual(code('STORE_UNAVAILABLE'))
    expect((await passing(strategy.write(mine, change()))).jar).toEqual({ set: [], delete: [] })
    await expect(passing(strategy.open({ ...jar('nobody'), notes: other === undefined ? [] : [other] }))).rejects.toEqual(
      code('STORE_UNAVAILABLE'),
    )
    await world.advance(5_000)
    await expect(passing(strategy.open(browser))).rejects.toEqual(code('STORE_UNAVAILABLE'))
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

describe('dedicated - what a store lost', () => {
  const alive = { absoluteAt: Number.MAX_SAFE_INTEGER }

  test('a session that the notes say is alive and the store does not know is regressed, not a stranger', async () => {
    const strategy = start(memoryStore())
    const { jar: given } = await strategy.create(id('k'), draft({}, { idleMs: 600_000, absoluteAt: runtime.now() + 3_600_000 }))
    const { jar: bound } = await strategy.create(
      id('u'),
      draft({}, { userId: 'ada', idleMs: 600_000, absoluteAt: runtime.now() + 3_600_000 }),
    )
    const empty = start(memoryStore())
    expect(await empty.open({ ...jar('k'), ...alive, notes: given.set })).toEqual({ outcome: 'regressed', policy: 'byUser' })
    expect(await empty.open({ ...jar('u'), ...alive, notes: bound.set })).toEqual({ outcome: 'regressed', policy: 'fail' })
    await world.advance(600_000)
    expect(await empty.open({ ...jar('k'), ...alive, notes: given.set })).toEqual({ outcome: 'gone', reason: 'expired' })
  })

  test('notes that were forged, or made for another session, accuse nobody', async () => {
    const strategy = start(memoryStore())
    const { jar: given } = await strategy.create(id('k'), draft())
    const [note] = given.set as [{ name: string; value: string }]
    const forged = { name: note.name, value: `${note.value.slice(0, -2)}AA` }
    expect(await start(memoryStore()).open({ ...jar('k'), ...alive, notes: [forged] })).toEqual({ outcome: 'gone', reason: 'unknown' })
    const moved = { ...jar('k'), id: 'another secret', ...alive, notes: [note] }
    expect(await start(memoryStore()).open(moved)).toEqual({ outcome: 'gone', reason: 'unknown' })
  })

  test('a store that fell back is regressed, also when it has counted past the floor, and is served by policy once', async () => {
    const store = memoryStore()
    const strategy = start(store)
    const { opened: mine } = await strategy.create(id('k'), draft({ a: '0' }))
    const old = await store.read('k')
    const seen = await strategy.write(mine, change({ a: '1' }))
    const browser = { ...jar('k'), ...alive, notes: seen.jar.set }
    const fallen = memoryStore()
    const restored = start(fallen)
    await fallen.create('k', draft({ a: '0' }), (old as unknown as { writeIds: string[] }).writeIds[0] as string)
    expect(await restored.open(browser)).toMatchObject({ outcome: 'regressed', policy: 'byUser' })
    for (let count = 0; count < 3; count++) await restored.write(await opened(restored, 'k'), change({ b: String(count) }))
    const opening = await restored.open(browser)
    expect(opening).toMatchObject({ outcome: 'regressed', opened: { stored: { version: 4 } } })
    const delta = restored.settle((opening as { opened: Opened }).opened, false)
    expect(delta?.delete).toEqual([seen.jar.set[0]?.name])
    expect(await restored.open({ ...browser, notes: delta?.set ?? [] })).toMatchObject({ outcome: 'found' })
  })
})

describe('dedicated - notes', () => {
  test('a read of something newer raises the floor, a read of nothing does not, and parallel answers add up', async () => {
    const store = memoryStore()
    const [a, b] = [start(store), start(store)]
    const { jar: first, opened: mine } = await a.create(id('k'), draft())
    const second = await b.write(mine, change({ x: '1' }))
    const newer = await opened(a, 'k')
    const stale = { ...jar('k'), notes: first.set }
    const opening = (await a.open(stale)) as { opened: Opened }
    expect(a.settle(opening.opened, false)).toBeUndefined()
    expect(a.settle(opening.opened, true)).toMatchObject({ delete: [first.set[0]?.name] })
    expect((newer as DedicatedOpened).stored.version).toBe(2)
    const both = (await a.open({ ...stale, notes: [...first.set, ...second.jar.set] })) as { opened: Opened }
    expect(a.settle(both.opened, false)?.delete).toHaveLength(2)
  })

  test("notes of another strategy's or store's kind are left alone", async () => {
    const other = await start(Object.assign(memoryStore(), { name: 'other' })).create(id('k'), draft())
    const strategy = start(memoryStore())
    await strategy.create(id('k'), draft())
    const opening = (await strategy.open({ ...jar('k'), notes: other.jar.set })) as { opened: Opened }
    expect(strategy.settle(opening.opened, true)?.delete).toEqual([])
  })
})

describe('dedicated - options', () => {
  test('all problems are reported together', () => {
    const nearCache = { leaseMs: 5_000, maxSession: 1 }
    const make = (): unknown => dedicated({ nearCache, whenDown: 'readCached', deadlineMs: 0, stor: 1 } as never)
    expect(make).toThrow(code('CONFIG_INVALID'))
    for (const part of ['store must', 'leaseMs', '"maxSession"', 'readCached', 'deadlineMs', '"stor"']) expect(make).toThrow(part)
    expect(() => dedicated({ store: memoryStore(), whenDown: 'ignore' as never })).toThrow('whenDown must be')
    expect(() => dedicated({ store: memoryStore(), whenDown: 'readCached' })).toThrow('a store with a near cache')
    expect(() => dedicated(undefined as never)).toThrow(code('CONFIG_INVALID'))
  })
})
