import session from 'express-session'
import { afterEach, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import { createSessions, dedicated, type SessionError } from '../../src/index.ts'
import type { Draft, SessionStore, StoreContext, StoredRecord, StorePatch } from '../../src/seam.ts'
import { expressStore } from '../../src/stores/express-store.ts'
import { waitFor, within } from '../setup/servers.ts'

const { MemoryStore } = session
type All = session.MemoryStore['all']

const KEY = 'k'.repeat(43)
const OTHER = 'o'.repeat(43)
const opened: SessionStore[] = []
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
})

interface Opened {
  readonly store: SessionStore
  readonly states: string[]
  readonly details: string[]
  readonly warnings: string[]
}

async function open(kept: session.Store, deadlineMs = 5_000): Promise<Opened> {
  const store = expressStore(kept)
  const states: string[] = []
  const details: string[] = []
  const warnings: string[] = []
  const context: StoreContext = {
    runtime: systemRuntime(),
    logger: { warn: (text: string) => void warnings.push(text), error: () => {} },
    deadlineMs,
    stateChanged: (state, detail) => {
      states.push(state)
      details.push(detail)
    },
  }
  opened.push(store)
  await store.ready(context)
  return { store, states, details, warnings }
}

function draft(fields: Record<string, string> = {}, userId?: string): Draft {
  const now = Date.now()
  const meta = {
    userId,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 600_000,
    touchEveryMs: 30_000,
    absoluteAt: now + 3_600_000,
    persistent: false,
  }
  return { meta, fields: new Map(Object.entries(fields)) }
}

let writes = 0
function patch(field: string, value: string): StorePatch {
  return { set: new Map([[field, value]]), add: new Map(), touchAt: 0, writeId: `p${++writes}` }
}

async function errorOf(promise: Promise<unknown>): Promise<SessionError> {
  return (await promise.then(
    () => undefined,
    (error: unknown) => error,
  )) as SessionError
}

test('expressStore - what is no instance of a store is CONFIG_INVALID and says what is missing', () => {
  for (const given of [undefined, null, 7, {}, MemoryStore, { get() {}, set() {} }]) {
    expect(() => expressStore(given as never)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  }
  expect(() => expressStore({ get() {}, set() {} } as never)).toThrow(/no destroy/)
})

test('expressStore - an entry has the cookie that such stores take their time to live from, and our record beside it', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  const given: Draft = { ...draft(), fields: new Map([['__proto__', '1']]) }
  await store.create(KEY, given, 'w')
  const entry = await new Promise<any>((resolve) => kept.get(KEY, (_, found) => resolve(found)))
  const end = given.meta.lastActiveAt + given.meta.idleMs
  expect(Date.parse(entry.cookie.expires)).toBeGreaterThanOrEqual(end)
  expect(Date.parse(entry.cookie.expires)).toBeLessThanOrEqual(end + 120_000)
  expect(entry.cookie.originalMaxAge).toBeGreaterThan(599_000)
  expect(entry.holdfast).toMatchObject({ format: 1, key: KEY, version: 1, writeIds: ['w'], fields: [['__proto__', '1']] })
})

test('expressStore - an ended session keeps its mark as long as the session would have lived', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  await store.create(KEY, draft(), 'w')
  await store.destroy(KEY, 'destroyed', Date.now() + 10)
  const entry = await new Promise<any>((resolve) => kept.get(KEY, (_, found) => resolve(found)))
  expect(Date.parse(entry.cookie.expires)).toBeGreaterThan(Date.now() + 590_000)
  expect(await store.read(KEY)).toMatchObject({ gone: 'destroyed' })
})

test('expressStore - sessions of express-session itself are neither ours nor harmed', async () => {
  const kept = new MemoryStore()
  const theirs = { cookie: { originalMaxAge: null }, user: 'eve' } as unknown as session.SessionData
  await new Promise((resolve) => kept.set(KEY, theirs, resolve))
  const { store } = await open(kept)
  await store.create(OTHER, draft({}, 'ada'), 'w')
  const invalid = await errorOf(store.read(KEY))
  expect(invalid).toMatchObject({ code: 'STORE_RECORD_INVALID', message: expect.stringContaining(KEY) })
  for (const work of [store.patch(KEY, patch('a', '1')), store.destroy(KEY, 'destroyed', 0), store.create(KEY, draft(), 'w')]) {
    expect(await errorOf(work)).toMatchObject({ code: 'STORE_RECORD_INVALID' })
  }
  const listed: string[] = []
  for await (const { key } of store.list({})) listed.push(key)
  expect(listed).toEqual([OTHER])
  expect(await new Promise((resolve) => kept.get(KEY, (_, found) => resolve(found)))).toMatchObject({ user: 'eve' })
})

test('expressStore - a record under another key, of a newer format or cut short does not parse and stays', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  await store.create(KEY, draft({ a: '1' }), 'w')
  const entry = await new Promise<any>((resolve) => kept.get(KEY, (_, found) => resolve(found)))
  const { holdfast } = entry
  const broken = [
    { ...holdfast, key: OTHER },
    { ...holdfast, format: 2 },
    { ...holdfast, fields: [['a']] },
    { ...holdfast, meta: {} },
    'text',
    null,
  ]
  for (const record of broken) {
    await new Promise((resolve) => kept.set(KEY, { ...entry, holdfast: record }, resolve))
    expect(await errorOf(store.read(KEY))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
  }
})

test('expressStore - a store that cannot parse what it reads is STORE_RECORD_INVALID, not an outage', async () => {
  const kept = new MemoryStore()
  const { store, states } = await open(kept)
  ;(kept as unknown as { sessions: Record<string, string> }).sessions[KEY] = '{"cookie":'
  expect(await errorOf(store.read(KEY))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
  expect(states).toEqual(['up'])
})

test('expressStore - a callback that never comes ends at the deadline, for those who wait behind it too', async () => {
  const kept = new MemoryStore()
  const { store, states } = await open(kept, 300)
  await store.create(KEY, draft({ a: '1' }), 'w')
  const get = kept.get.bind(kept)
  kept.get = () => {}
  const startedAt = performance.now()
  const refused = await within(Promise.all([1, 2, 3].map(() => errorOf(store.patch(KEY, patch('a', '2'))))), 5_000, 'three writes')
  expect(performance.now() - startedAt).toBeLessThan(1_500)
  for (const error of refused) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', headers: { 'retry-after': '1' } })
  expect(states).toEqual(['up', 'down'])
  kept.get = get
  expect(((await store.read(KEY)) as StoredRecord).fields.get('a')).toBe('1')
  expect(states).toEqual(['up', 'down', 'up'])
})

test('expressStore - a store that calls back twice, late, or throws as well does no harm', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  const set = kept.set.bind(kept)
  kept.set = (sid, data, callback) => {
    set(sid, data, (error) => {
      callback?.(error)
      callback?.(new Error('a second answer'))
    })
    throw new Error('and this after that')
  }
  // The throw comes first: nobody knows whether it was stored.
  expect(await errorOf(store.create(KEY, draft({ a: '1' }), 'w'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await waitFor(async () => (await store.read(KEY)) !== undefined, 5_000, 'the entry')
  expect(await errorOf(store.create(KEY, draft({ a: '1' }), 'w'))).toBeUndefined()
  kept.set = (sid, data, callback) => set(sid, data, () => [1, 2].forEach(() => callback?.()))
  expect(await store.patch(KEY, patch('a', '2'))).toMatchObject({ outcome: 'applied', after: 2 })
})

test('expressStore - a promise that such a store returns beside is taken care of', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  kept.get = (async () => {
    throw Object.assign(new Error('no'), { code: 'EPIPE' })
  }) as never
  expect(await errorOf(store.read(KEY))).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('EPIPE') })
})

test('expressStore - an error of the store is STORE_UNAVAILABLE with its code, and quotes nothing', async () => {
  const kept = new MemoryStore()
  const { store, details } = await open(kept)
  const secret = 'geheim-p4ssw0rd'
  kept.get = (_, callback) => callback(Object.assign(new Error(`INSERT '${secret}'`), { code: '53100', detail: secret }))
  const error = await errorOf(store.read(KEY))
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
  expect(error.message).toMatch(/MemoryStore.*53100/)
  expect(`${error.stack}${JSON.stringify(error)}${details.join()}`).not.toContain(secret)
  expect(error.cause).toBeUndefined()
})

test('expressStore - ENOENT is a session that is not there, unless it is the address of a server', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  kept.get = (_, callback) => callback(Object.assign(new Error('no file'), { code: 'ENOENT', syscall: 'open' }))
  expect(await store.read(KEY)).toBeUndefined()
  kept.get = (_, callback) => callback(Object.assign(new Error('no socket'), { code: 'ENOENT', syscall: 'connect' }))
  expect(await errorOf(store.read(KEY))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
})

test('expressStore - the events of the store become its state, an error event ends no process, and close() lets go of it', async () => {
  const kept = new MemoryStore()
  const { store, states, warnings } = await open(kept)
  kept.emit('disconnect')
  kept.emit('connect')
  expect(states).toEqual(['up', 'down', 'up'])
  kept.emit('error', Object.assign(new Error('geheim'), { code: 'ECONNRESET' }))
  expect(warnings).toEqual([expect.stringContaining('ECONNRESET')])
  await store.close()
  expect(['connect', 'disconnect', 'error'].map((event) => kept.listenerCount(event))).toEqual([0, 0, 0])
  expect(await errorOf(store.read(KEY))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
})

test('expressStore - a store that lists without session ids is listed too, one that cannot list says so', async () => {
  class ListStore extends MemoryStore {
    override all(callback: Parameters<All>[0]): void {
      super.all((error, found) => callback(error, Object.values(found ?? {}) as never))
    }
  }
  const { store } = await open(new ListStore())
  await store.create(KEY, draft({}, 'ada'), 'w')
  await store.create(OTHER, draft({}, 'bob'), 'w')
  const listed: string[] = []
  for await (const { key } of store.list({ userId: 'ada' })) listed.push(key)
  expect(listed).toEqual([KEY])

  const mute = new MemoryStore()
  Object.assign(mute, { all: undefined })
  const { store: without } = await open(mute)
  expect([...without.capabilities]).toEqual([])
  expect(without.notProtected?.join()).toContain('no all()')
  expect(await errorOf(without.list({})[Symbol.asyncIterator]().next())).toMatchObject({ code: 'STRATEGY_UNSUPPORTED' })
})

test('expressStore - of two around one store, neither overwrites what the other writes', async () => {
  const kept = new MemoryStore()
  const [{ store: a }, { store: b }] = [await open(kept), await open(kept)]
  await a.create(KEY, draft(), 'w')
  await Promise.all(Array.from({ length: 100 }, (_, index) => (index % 2 ? a : b).patch(KEY, patch(`f${index}`, '1'))))
  expect(((await b.read(KEY)) as StoredRecord).fields.size).toBe(100)
})

test('expressStore - a login whose second half fails leaves the old session, and its retry completes it', async () => {
  const kept = new MemoryStore()
  const { store } = await open(kept)
  await store.create(KEY, draft({ cart: '[1]' }), 'w')
  const set = kept.set.bind(kept)
  kept.set = (sid, data, callback) => (sid === KEY ? callback?.(new Error('down')) : set(sid, data, callback))
  expect(await errorOf(store.replace(KEY, OTHER, draft({}, 'ada'), 'login'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(((await store.read(KEY)) as StoredRecord).fields.get('cart')).toBe('[1]')
  kept.set = set
  expect(await store.replace(KEY, OTHER, draft({}, 'ada'), 'login')).toMatchObject({ outcome: 'applied', after: 1 })
  expect(await store.read(KEY)).toMatchObject({ gone: 'replaced' })
  expect(((await store.read(OTHER)) as StoredRecord).meta.userId).toBe('ada')
})

test('dedicated over expressStore - status() says what such a store does not protect', async () => {
  const secrets = 'a secret of this test, long enough to be one'
  const sessions = createSessions({ secrets, strategy: dedicated({ store: expressStore(new MemoryStore()) }) })
  try {
    await sessions.ready()
    const { notProtected, store } = await sessions.status()
    expect(store).toEqual({ name: 'express-store', state: 'up' })
    expect(notProtected.join('\n')).toMatch(/no compare-and-set.*\n.*brings back a session/)
    const { key } = await sessions.create({ userId: 'ada' })
    expect(await sessions.revokeUser('ada')).toBe(1)
    expect(await sessions.get(key)).toBeUndefined()
  } finally {
    await sessions.close()
  }
})
