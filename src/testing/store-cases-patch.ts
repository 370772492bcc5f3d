/** Store contract: reading, creating and patching a session. */
import assert from 'node:assert/strict'
import type { SessionStore } from '../seam.ts'
import { applied, created, draft, hasCode, live, newKey, newMeta, patch, sorted, writeId } from './store-case-tools.ts'
import type { PatchShape, StoreCase } from './store-case-tools.ts'

export const storePatchCases: readonly StoreCase[] = [
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
  ['write ids - newest first, at most 8, one for each version', writeIdsOfVersions],
  ['write ids - what is no write adds none, and a replacement starts anew', writeIdsOfWritesOnly],
]

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

async function writeIdsOfVersions(store: SessionStore): Promise<void> {
  const key = newKey()
  const ids = [writeId()]
  assert.equal(await store.create(key, draft({ a: '1' }), ids[0] as string), true)
  const { absoluteAt } = newMeta()
  const shapes = [
    { set: { a: '2' } },
    { set: { a: undefined } },
    { add: { n: [1, 0] } },
    { lifetime: { idleMs: 9_000, touchEveryMs: 9, absoluteAt } },
  ]
  for (let version = 1; version <= 12; version++) {
    const record = await live(store, key)
    assert.deepEqual([record.version, ...record.writeIds], [version, ...ids.toReversed().slice(0, 8)])
    const next = patch(shapes[version % shapes.length] as PatchShape)
    ids.push(next.writeId)
    assert.equal(applied(await store.patch(key, next)).after, version + 1)
  }
}

async function writeIdsOfWritesOnly(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const write = patch({ set: { a: '2' } })
  applied(await store.patch(key, write))
  const before = await live(store, key)
  assert.equal(before.writeIds[0], write.writeId)
  applied(await store.patch(key, write))
  applied(await store.patch(key, patch({ touchAt: Date.now() + 1_000 })))
  assert.equal((await store.patch(key, patch({ set: { a: '3' }, ifVersion: 1 }))).outcome, 'conflict')
  const after = await live(store, key)
  assert.deepEqual([after.version, ...after.writeIds], [2, ...before.writeIds])
  const [newer, id] = [newKey(), writeId()]
  applied(await store.replace(key, newer, draft({ a: '1' }), id))
  assert.deepEqual([...(await live(store, newer)).writeIds], [id])
}
