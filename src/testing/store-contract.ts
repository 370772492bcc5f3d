/** What every session store must do, as runnable cases: for authors of stores, with any test runner. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { systemRuntime } from '../core/runtime.ts'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, RecordMeta, SessionStore, StoreContext, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import type { Contract } from './contract.ts'

/** A store with no records in it, not yet ready; `end` is called when the case is over, after `store.close()`. */
export interface StoreUnderTest {
  readonly store: SessionStore
  end?(): Promise<void>
}

/** Cases for one store. `make` is called once per case and must give an empty store each time. */
export function storeContract(make: () => Promise<StoreUnderTest>): Contract {
  return CASES.map(([name, body]) => ({
    name,
    async run(): Promise<void> {
      const { store, end } = await make()
      try {
        await store.ready(contextFor())
        await body(store)
      } finally {
        await store.close()
        await end?.()
      }
    },
  }))
}

function contextFor(): StoreContext {
  return { runtime: systemRuntime(), logger: console, deadlineMs: 5_000, stateChanged: () => {} }
}

type Body = (store: SessionStore) => Promise<void>

const CASES: readonly (readonly [name: string, body: Body])[] = [
  ['read - an unknown key is undefined', async (store) => assert.equal(await store.read(newKey()), undefined)],
  ['create - what was created is read back, metadata and fields', createReadsBack],
  ['create - a session may have no fields', createEmpty],
  ['create - a key that exists is refused and kept', createTwice],
  ['create - a retry with the same write id succeeds', createRetried],
  ['patch - sets fields and leaves the others alone', patchSets],
  ['patch - a removed field stays removed until it is set again', patchRemoves],
  ['patch - a key that was never created is gone, unknown, and stays absent', patchUnknown],
  ['patch - counters sum exactly and start where they are told', patchCounts],
  ['patch - a counter that was removed starts again', patchCountsAfterRemoval],
  ['patch - a counter set and added to in one patch adds to what was set', patchSetsAndCounts],
  ['patch - adding to what is not a number is FIELD_INVALID and changes nothing', patchCountsText],
  ['patch - the last activity is merged by maximum and a touch is not a write', patchTouches],
  ['patch - a lifetime replaces the old one and never lengthens the absolute end', patchLifetime],
  ['patch - every write raises the version by one and says so', patchVersions],
  ['patch - a write id applies once, also when seven others came between', patchOnce],
  ['patch - an older version is a conflict and changes nothing', patchConflicts],
  ['destroy - a mark says why and a later write stores nothing', destroyMarks],
  ['destroy - a session ends once', destroyTwice],
  ['destroy - with a user, only their session', destroyFiltered],
  ['destroy - a mark ends when it is told to', destroyMarkEnds],
  ['destroy - an ended key cannot be created again', destroyBeatsCreate],
  ['replace - the new session is there, the old one is marked', replaceMoves],
  ['replace - an old session that is gone creates nothing', replaceGone],
  ['replace - a retry with the same write id succeeds', replaceRetried],
  ['replace - of two at once one wins', replaceRace],
  ['list - all live sessions', listAll],
  ['list - those of one user, and the index follows login and logout', listUser],
  ['expiry - idle: absent to every method', expiresIdle],
  ['expiry - absolute: activity does not lengthen it', expiresAbsolute],
  ['expiry - activity keeps a session alive', activityKeepsAlive],
  ['names - hostile field names are plain names', hostileNames],
  ['values - text of any kind comes back unchanged', hostileValues],
  ['users - any user id, and none is not the empty one', hostileUsers],
  ['snapshot - a record that was read does not change', snapshot],
  ['parallel - 100 writes to different fields lose none', parallelFields],
  ['parallel - 100 additions sum', parallelAdds],
  ['parallel - of 20 compare-and-sets at one version exactly one wins', parallelCompareAndSet],
]

// ---------------------------------------------------------------- the cases

async function createReadsBack(store: SessionStore): Promise<void> {
  const key = newKey()
  const meta = newMeta({ userId: 'ada', persistent: true, touchEveryMs: 777 })
  assert.equal(await store.create(key, draft({ cart: '["a"]', visits: '1' }, meta), writeId()), true)
  const record = await live(store, key)
  assert.deepEqual({ ...record.meta }, { ...meta })
  assert.deepEqual(Object.fromEntries(record.fields), { cart: '["a"]', visits: '1' })
  assert.equal(record.version, 1)
}

async function createEmpty(store: SessionStore): Promise<void> {
  const key = await created(store, {})
  assert.equal((await live(store, key)).fields.size, 0)
}

async function createTwice(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  assert.equal(await store.create(key, draft({ a: '2' }), writeId()), false)
  assert.equal((await live(store, key)).fields.get('a'), '1')
}

async function createRetried(store: SessionStore): Promise<void> {
  const key = newKey()
  const id = writeId()
  assert.equal(await store.create(key, draft({ a: '1' }), id), true)
  assert.equal(await store.create(key, draft({ a: '1' }), id), true)
  assert.equal((await live(store, key)).version, 1)
}

async function patchSets(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1', b: '2' })
  applied(await store.patch(key, patch({ set: { b: '3', c: '4' } })))
  assert.deepEqual(sorted((await live(store, key)).fields), { a: '1', b: '3', c: '4' })
}

async function patchRemoves(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1', b: '2' })
  applied(await store.patch(key, patch({ set: { a: undefined, never: undefined } })))
  const record = await live(store, key)
  assert.deepEqual(sorted(record.fields), { b: '2' })
  assert.deepEqual([...(record.removed ?? [])].sort(), ['a', 'never'])
  applied(await store.patch(key, patch({ set: { a: '5' } })))
  const later = await live(store, key)
  assert.deepEqual(sorted(later.fields), { a: '5', b: '2' })
  assert.deepEqual([...(later.removed ?? [])], ['never'])
}

async function patchUnknown(store: SessionStore): Promise<void> {
  const key = newKey()
  assert.deepEqual(await store.patch(key, patch({ set: { a: '1' } })), { outcome: 'gone', reason: 'unknown' })
  assert.equal(await store.read(key), undefined)
}

async function patchCounts(store: SessionStore): Promise<void> {
  const key = await created(store, { hits: '41' })
  const result = applied(await store.patch(key, patch({ add: { hits: [1, 0], fresh: [2, 10] } })))
  assert.deepEqual(sorted(result.counters), { fresh: '12', hits: '42' })
  applied(await store.patch(key, patch({ add: { hits: [-50, 0], fresh: [2 ** 53 - 13, 0] } })))
  assert.deepEqual(sorted((await live(store, key)).fields), { fresh: '9007199254740991', hits: '-8' })
  applied(await store.patch(key, patch({ add: { part: [0.1, 0.2] } })))
  assert.equal((await live(store, key)).fields.get('part'), '0.30000000000000004')
}

async function patchCountsAfterRemoval(store: SessionStore): Promise<void> {
  const key = await created(store, { hits: '41' })
  applied(await store.patch(key, patch({ set: { hits: undefined } })))
  applied(await store.patch(key, patch({ add: { hits: [1, 5] } })))
  const record = await live(store, key)
  assert.equal(record.fields.get('hits'), '6')
  assert.equal(record.removed?.has('hits') === true, false)
}

async function patchSetsAndCounts(store: SessionStore): Promise<void> {
  const key = await created(store, { hits: '41' })
  const result = applied(await store.patch(key, patch({ set: { hits: '100', other: undefined }, add: { hits: [1, 0], other: [3, 0] } })))
  assert.deepEqual(sorted(result.counters), { hits: '101', other: '3' })
  assert.deepEqual(sorted((await live(store, key)).fields), { hits: '101', other: '3' })
}

async function patchCountsText(store: SessionStore): Promise<void> {
  for (const value of ['"text"', 'null', '[1]', '"7"', 'true']) {
    const key = await created(store, { hits: value, a: '1' })
    await assert.rejects(store.patch(key, patch({ set: { a: '2' }, add: { hits: [1, 0] } })), hasCode('FIELD_INVALID'))
    const record = await live(store, key)
    assert.deepEqual(sorted(record.fields), { a: '1', hits: value })
    assert.equal(record.version, 1)
  }
}

async function patchTouches(store: SessionStore): Promise<void> {
  const now = Date.now()
  const key = await created(store, { a: '1' }, newMeta({ lastActiveAt: now, idleMs: 60_000 }))
  const result = applied(await store.patch(key, patch({ touchAt: now + 2_000 })))
  assert.equal(result.after, result.before)
  assert.equal((await live(store, key)).meta.lastActiveAt, now + 2_000)
  applied(await store.patch(key, patch({ set: { a: '2' }, touchAt: now + 1_000 })))
  const record = await live(store, key)
  assert.equal(record.meta.lastActiveAt, now + 2_000)
  assert.equal(record.version, 2)
}

async function patchLifetime(store: SessionStore): Promise<void> {
  const meta = newMeta()
  const key = await created(store, { a: '1' }, meta)
  applied(await store.patch(key, patch({ lifetime: { idleMs: 99_000, touchEveryMs: 9_000, absoluteAt: meta.absoluteAt - 1_000 } })))
  const shorter = (await live(store, key)).meta
  assert.deepEqual([shorter.idleMs, shorter.touchEveryMs, shorter.absoluteAt], [99_000, 9_000, meta.absoluteAt - 1_000])
  applied(await store.patch(key, patch({ lifetime: { idleMs: 99_000, touchEveryMs: 9_000, absoluteAt: meta.absoluteAt + 60_000 } })))
  assert.equal((await live(store, key)).meta.absoluteAt, meta.absoluteAt - 1_000)
}

async function patchVersions(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const first = applied(await store.patch(key, patch({ set: { a: '2' } })))
  assert.deepEqual([first.before, first.after], [1, 2])
  const second = applied(await store.patch(key, patch({ add: { n: [1, 0] } })))
  assert.deepEqual([second.before, second.after], [2, 3])
  assert.equal((await live(store, key)).version, 3)
}

async function patchOnce(store: SessionStore): Promise<void> {
  const key = await created(store, { n: '0' })
  const once = patch({ add: { n: [1, 0] } })
  const first = applied(await store.patch(key, once))
  const again = applied(await store.patch(key, once))
  assert.deepEqual([again.before, again.after, again.counters.get('n')], [first.before, first.after, '1'])
  for (let count = 0; count < 7; count++) applied(await store.patch(key, patch({ add: { n: [1, 0] } })))
  const late = applied(await store.patch(key, once))
  assert.deepEqual([late.before, late.after], [first.before, first.after])
  assert.equal((await live(store, key)).fields.get('n'), '8')
}

async function patchConflicts(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  applied(await store.patch(key, patch({ set: { a: '2' }, ifVersion: 1 })))
  assert.deepEqual(await store.patch(key, patch({ set: { a: '3' }, ifVersion: 1 })), { outcome: 'conflict', version: 2 })
  assert.equal((await live(store, key)).fields.get('a'), '2')
  applied(await store.patch(key, patch({ set: { a: '4' }, ifVersion: 2 })))
}

async function destroyMarks(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const before = Date.now()
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 60_000), true)
  const mark = await gone(store, key, 'destroyed')
  assert.ok(mark >= before && mark <= Date.now(), 'endedAt says when')
  assert.deepEqual(await store.patch(key, patch({ set: { a: '2' } })), { outcome: 'gone', reason: 'destroyed' })
  assert.deepEqual(await store.patch(key, patch({ touchAt: Date.now() })), { outcome: 'gone', reason: 'destroyed' })
  await gone(store, key, 'destroyed')
}

async function destroyTwice(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const markUntil = Date.now() + 60_000
  assert.equal(await store.destroy(newKey(), 'destroyed', markUntil), false)
  assert.equal(await store.destroy(key, 'destroyed', markUntil), true)
  assert.equal(await store.destroy(key, 'destroyed', markUntil), false)
}

async function destroyFiltered(store: SessionStore): Promise<void> {
  const markUntil = Date.now() + 60_000
  const key = await created(store, {}, newMeta({ userId: 'ada' }))
  const anonymous = await created(store, {})
  assert.equal(await store.destroy(key, 'destroyed', markUntil, { userId: 'bob' }), false)
  assert.equal(await store.destroy(anonymous, 'destroyed', markUntil, { userId: 'bob' }), false)
  assert.equal((await live(store, key)).meta.userId, 'ada')
  assert.equal(await store.destroy(key, 'destroyed', markUntil, { userId: 'ada' }), true)
  assert.equal(await store.destroy(anonymous, 'destroyed', markUntil), true)
}

async function destroyMarkEnds(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 200), true)
  await until(async () => (await store.read(key)) === undefined)
  assert.deepEqual(await store.patch(key, patch({ set: { a: '2' } })), { outcome: 'gone', reason: 'unknown' })
}

async function destroyBeatsCreate(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  await store.destroy(key, 'destroyed', Date.now() + 60_000)
  assert.equal(await store.create(key, draft({ a: '2' }), writeId()), false)
  await gone(store, key, 'destroyed')
}

async function replaceMoves(store: SessionStore): Promise<void> {
  const oldKey = await created(store, { a: '1' })
  const key = newKey()
  const result = applied(await store.replace(oldKey, key, draft({ a: '2' }, newMeta({ userId: 'ada' })), writeId()))
  assert.equal(result.after, 1)
  const record = await live(store, key)
  assert.deepEqual([record.fields.get('a'), record.meta.userId, record.version], ['2', 'ada', 1])
  await gone(store, oldKey, 'replaced')
  assert.deepEqual(await store.patch(oldKey, patch({ set: { a: '3' } })), { outcome: 'gone', reason: 'replaced' })
}

async function replaceGone(store: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  await store.destroy(oldKey, 'destroyed', Date.now() + 60_000)
  const key = newKey()
  assert.deepEqual(await store.replace(oldKey, key, draft({}), writeId()), { outcome: 'gone', reason: 'destroyed' })
  assert.deepEqual(await store.replace(newKey(), key, draft({}), writeId()), { outcome: 'gone', reason: 'unknown' })
  assert.equal(await store.read(key), undefined)
}

async function replaceRetried(store: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  const key = newKey()
  const id = writeId()
  applied(await store.replace(oldKey, key, draft({ a: '1' }), id))
  applied(await store.patch(key, patch({ set: { a: '2' } })))
  applied(await store.replace(oldKey, key, draft({ a: '1' }), id))
  assert.equal((await live(store, key)).fields.get('a'), '2')
}

async function replaceRace(store: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  const keys = [newKey(), newKey()]
  const results = await Promise.all(keys.map((key) => store.replace(oldKey, key, draft({}), writeId())))
  assert.deepEqual(results.map(({ outcome }) => outcome).sort(), ['applied', 'gone'])
  const found = await Promise.all(keys.map((key) => store.read(key)))
  assert.equal(found.filter((record) => record !== undefined).length, 1)
}

async function listAll(store: SessionStore): Promise<void> {
  if (!store.capabilities.has('list')) return
  const meta = newMeta({ userId: 'ada', persistent: true })
  const keys = [await created(store, { a: '1' }, meta), await created(store, {}), await created(store, {})]
  await store.destroy(keys[2] as string, 'destroyed', Date.now() + 60_000)
  const found = await all(store, {})
  assert.deepEqual(found.map(({ key }) => key).sort(), keys.slice(0, 2).sort())
  const { createdAt, lastActiveAt, persistent } = meta
  const expiresAt = Math.min(lastActiveAt + meta.idleMs, meta.absoluteAt)
  assert.deepEqual(
    { ...found.find(({ userId }) => userId === 'ada') },
    { key: keys[0], userId: 'ada', createdAt, lastActiveAt, expiresAt, persistent },
  )
}

async function listUser(store: SessionStore): Promise<void> {
  if (!store.capabilities.has('users')) return
  const anonymous = await created(store, {})
  const second = await created(store, {}, newMeta({ userId: 'ada' }))
  await created(store, {}, newMeta({ userId: 'bob' }))
  const first = newKey()
  applied(await store.replace(anonymous, first, draft({}, newMeta({ userId: 'ada' })), writeId()))
  assert.deepEqual((await all(store, { userId: 'ada' })).map(({ key }) => key).sort(), [first, second].sort())
  await store.destroy(second, 'destroyed', Date.now() + 60_000)
  assert.deepEqual(
    (await all(store, { userId: 'ada' })).map(({ key }) => key),
    [first],
  )
  applied(await store.replace(first, newKey(), draft({}, newMeta({ userId: 'eve' })), writeId()))
  assert.deepEqual(await all(store, { userId: 'ada' }), [])
  assert.deepEqual(await all(store, { userId: 'nobody' }), [])
}

async function expiresIdle(store: SessionStore): Promise<void> {
  const meta = newMeta({ idleMs: 250, userId: 'ada' })
  const key = await created(store, { a: '1' }, meta)
  await until(async () => (await store.read(key)) === undefined)
  assert.ok(Date.now() >= meta.lastActiveAt + 200, 'expired too early')
  assert.deepEqual(await store.patch(key, patch({ set: { a: '2' } })), { outcome: 'gone', reason: 'unknown' })
  assert.deepEqual(await store.replace(key, newKey(), draft({}), writeId()), { outcome: 'gone', reason: 'unknown' })
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 60_000), false)
  if (store.capabilities.has('users')) assert.deepEqual(await all(store, { userId: 'ada' }), [])
}

async function expiresAbsolute(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' }, newMeta({ absoluteAt: Date.now() + 300 }))
  await until(async () => (await store.patch(key, patch({ set: { a: '2' }, touchAt: Date.now() }))).outcome === 'gone')
  assert.equal(await store.read(key), undefined)
}

async function activityKeepsAlive(store: SessionStore): Promise<void> {
  const meta = newMeta({ idleMs: 400 })
  const key = await created(store, { a: '1' }, meta)
  while (Date.now() < meta.lastActiveAt + 900) {
    await delay(20)
    applied(await store.patch(key, patch({ touchAt: Date.now() })))
  }
  assert.equal((await live(store, key)).fields.get('a'), '1')
}

const HOSTILE_NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'toString',
  'm',
  'g',
  'gone',
  'version',
  'user_id',
  'a:b',
  'a b',
  "it's",
  '"quoted"',
  '%s',
  '0',
  '',
  '\n',
  'nul\0inside',
  'ü'.repeat(64),
  '名前🍪',
]

async function hostileNames(store: SessionStore): Promise<void> {
  const fields = new Map(HOSTILE_NAMES.map((name, index) => [name, String(index)]))
  const key = newKey()
  assert.equal(await store.create(key, { meta: newMeta(), fields }, writeId()), true)
  assert.deepEqual(new Map([...(await live(store, key)).fields].sort()), new Map([...fields].sort()))
  const raised = new Map(HOSTILE_NAMES.map((name) => [name, { by: 100, from: 0 }]))
  applied(await store.patch(key, { ...patch({}), add: raised }))
  const record = await live(store, key)
  HOSTILE_NAMES.forEach((name, index) => assert.equal(record.fields.get(name), String(index + 100)))
  applied(await store.patch(key, { ...patch({}), set: new Map(HOSTILE_NAMES.map((name) => [name, undefined])) }))
  const emptied = await live(store, key)
  assert.equal(emptied.fields.size, 0)
  assert.deepEqual([...(emptied.removed ?? [])].sort(), [...HOSTILE_NAMES].sort())
}

const HOSTILE_VALUES: readonly string[] = [
  '""',
  '',
  '\0',
  '\0\0',
  'null',
  '"grüße 🍪 \u2028"',
  `"it's \\"quoted\\" \\\\ ; -- DROP"`,
  '\r\n',
  JSON.stringify('x'.repeat(65_536)),
  JSON.stringify({ deep: { list: [1, 2, { __proto__: null }] } }),
]

async function hostileValues(store: SessionStore): Promise<void> {
  const fields = new Map(HOSTILE_VALUES.map((value, index) => [`f${index}`, value]))
  const key = newKey()
  assert.equal(await store.create(key, { meta: newMeta(), fields }, writeId()), true)
  const moved = new Map(HOSTILE_VALUES.map((value, index) => [`g${index}`, value]))
  applied(await store.patch(key, { ...patch({}), set: moved }))
  const record = await live(store, key)
  for (const [name, value] of [...fields, ...moved]) assert.equal(record.fields.get(name), value)
}

async function hostileUsers(store: SessionStore): Promise<void> {
  for (const userId of [undefined, '', '-', 'a;b', "x'; --", 'ü'.repeat(300), 'u1', '*', 'nul\0']) {
    const meta = newMeta(userId === undefined ? {} : { userId })
    const key = await created(store, {}, meta)
    assert.equal((await live(store, key)).meta.userId, userId)
    if (userId === undefined || !store.capabilities.has('users')) continue
    assert.deepEqual(
      (await all(store, { userId })).map((summary) => summary.key),
      [key],
    )
  }
}

async function snapshot(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1', b: '2' })
  const before = await live(store, key)
  applied(await store.patch(key, patch({ set: { a: '2', b: undefined, c: '3' }, touchAt: Date.now() + 1_000 })))
  assert.deepEqual(sorted(before.fields), { a: '1', b: '2' })
  assert.equal(before.version, 1)
}

async function parallelFields(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const writes = Array.from({ length: 100 }, (_, index) => store.patch(key, patch({ set: { [`f${index}`]: String(index) } })))
  for (const result of await Promise.all(writes)) applied(result)
  const record = await live(store, key)
  for (let index = 0; index < 100; index++) assert.equal(record.fields.get(`f${index}`), String(index))
  assert.equal(record.version, 101)
}

async function parallelAdds(store: SessionStore): Promise<void> {
  const key = await created(store, {})
  const results = await Promise.all(Array.from({ length: 100 }, () => store.patch(key, patch({ add: { n: [3, 0] } }))))
  const sums = new Set(results.map((result) => applied(result).counters.get('n')))
  assert.equal(sums.size, 100)
  assert.equal((await live(store, key)).fields.get('n'), '300')
}

async function parallelCompareAndSet(store: SessionStore): Promise<void> {
  const key = await created(store, { winner: '-1' })
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, index) => store.patch(key, patch({ set: { winner: String(index) }, ifVersion: 1 }))),
  )
  const winners = results.flatMap((result, index) => (result.outcome === 'applied' ? [index] : []))
  assert.equal(winners.length, 1)
  assert.equal((await live(store, key)).fields.get('winner'), String(winners[0]))
}

// ---------------------------------------------------------------- helpers

function newKey(): string {
  return createHash('sha256').update(randomBytes(16)).digest('base64url')
}

function writeId(): string {
  return randomBytes(8).toString('base64url')
}

function newMeta(changed: Partial<RecordMeta> = {}): RecordMeta {
  const now = Date.now()
  const meta = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 600_000,
    touchEveryMs: 30_000,
    absoluteAt: now + 3_600_000,
    persistent: false,
  }
  return { ...meta, ...changed }
}

function draft(fields: Record<string, string>, meta: RecordMeta = newMeta()): Draft {
  return { meta, fields: new Map(Object.entries(fields)) }
}

async function created(store: SessionStore, fields: Record<string, string>, meta: RecordMeta = newMeta()): Promise<string> {
  const key = newKey()
  assert.equal(await store.create(key, draft(fields, meta), writeId()), true)
  return key
}

interface PatchShape {
  set?: Record<string, string | undefined>
  add?: Record<string, [by: number, from: number]>
  touchAt?: number
  lifetime?: StorePatch['lifetime']
  ifVersion?: number
}

function patch({ set = {}, add = {}, touchAt = 0, lifetime, ifVersion }: PatchShape): StorePatch {
  return {
    set: new Map(Object.entries(set)),
    add: new Map(Object.entries(add).map(([field, [by, from]]) => [field, { by, from }])),
    touchAt,
    writeId: writeId(),
    ...(lifetime === undefined ? {} : { lifetime }),
    ...(ifVersion === undefined ? {} : { ifVersion }),
  }
}

async function live(store: SessionStore, key: string): Promise<StoredRecord> {
  const record = await store.read(key)
  assert.ok(record !== undefined && 'fields' in record, 'the session is there')
  return record
}

async function gone(store: SessionStore, key: string, reason: 'destroyed' | 'replaced'): Promise<number> {
  const mark = await store.read(key)
  assert.ok(mark !== undefined && 'gone' in mark, 'a mark is there')
  assert.equal(mark.gone, reason)
  return mark.endedAt ?? Date.now()
}

function applied(result: PatchResult): Extract<PatchResult, { outcome: 'applied' }> {
  assert.equal(result.outcome, 'applied')
  return result as Extract<PatchResult, { outcome: 'applied' }>
}

function sorted(map: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...map].sort())
}

async function all(store: SessionStore, filter: { userId?: string }): Promise<SessionSummary[]> {
  const found: SessionSummary[] = []
  for await (const summary of store.list(filter)) found.push(summary)
  return found
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => SessionError.is(error) && error.code === code
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'waited 10 s in vain')
    await delay(10)
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((done) => void setTimeout(done, ms))
}
