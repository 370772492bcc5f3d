/** Store contract: sessions end, by logout, login and expiry. */
import assert from 'node:assert/strict'
import type { SessionStore } from '../seam.ts'
import { all, applied, created, delay, draft, gone, live, newKey, newMeta, patch, until, writeId } from './store-case-tools.ts'
import type { StoreCase } from './store-case-tools.ts'

/** What the clocks of a store and this process may differ. */
const CLOCKS_MS = 50

export const storeEndCases: readonly StoreCase[] = [
  ['destroy - a mark says why and a later write stores nothing', destroyMarks, 'endedMarks'],
  ['destroy - a session ends once', destroyTwice],
  ['destroy - with a user, only their session', destroyFiltered],
  ['destroy - a mark lasts until it is told to and as long as the session would have, and is nothing afterwards', marksEnd, 'endedMarks'],
  ['destroy - an ended key cannot be created again', destroyBeatsCreate, 'endedMarks'],
  ['replace - the new session is there, the old one is marked', replaceMoves, 'endedMarks'],
  ['replace - an old session that is gone creates nothing', replaceGone, 'endedMarks'],
  ['replace - a retry with the same write id succeeds', replaceRetried],
  ['replace - the mark outlives the session that it ended', replacedMarkStays, 'endedMarks'],
  ['expiry - idle: absent to every method', expiresIdle],
  ['expiry - an expired session is not ended again, and creates nothing', expiredIsAbsent],
  ['expiry - absolute: activity does not lengthen it', expiresAbsolute],
  ['expiry - activity keeps a session alive', activityKeepsAlive],
]

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

async function marksEnd(store: SessionStore): Promise<void> {
  await Promise.all([markEnds(store, 300, 1_200), markEnds(store, 1_200, 300)])
}

async function markEnds(store: SessionStore, sessionMs: number, markMs: number): Promise<void> {
  const meta = newMeta({ idleMs: sessionMs, userId: 'ada' })
  const key = await created(store, { a: '1' }, meta)
  const markUntil = Date.now() + markMs
  assert.equal(await store.destroy(key, 'destroyed', markUntil), true)
  await gone(store, key, 'destroyed')
  await until(async () => (await store.read(key)) === undefined)
  assert.ok(Date.now() >= Math.max(markUntil, meta.lastActiveAt + sessionMs) - CLOCKS_MS, 'the mark ended too early')
  assert.deepEqual(await store.patch(key, patch({ set: { a: '2' } })), { outcome: 'gone', reason: 'unknown' })
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 60_000), false)
  assert.equal(await store.read(key), undefined)
  if (store.capabilities.has('users')) assert.deepEqual(await all(store, { userId: 'ada' }), [])
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
  const meta = newMeta({ idleMs: 800 })
  const key = await created(store, { a: '1' }, meta)
  while (Date.now() < meta.lastActiveAt + 1_500) {
    await delay(20)
    applied(await store.patch(key, patch({ touchAt: Date.now() })))
  }
  assert.equal((await live(store, key)).fields.get('a'), '1')
}

async function replacedMarkStays(store: SessionStore): Promise<void> {
  const meta = newMeta({ idleMs: 300 })
  const oldKey = await created(store, {}, meta)
  applied(await store.replace(oldKey, newKey(), draft({}), writeId()))
  await delay(meta.lastActiveAt + meta.idleMs + 1_100 - Date.now())
  await gone(store, oldKey, 'replaced')
  assert.deepEqual(await store.patch(oldKey, patch({ set: { a: '1' } })), { outcome: 'gone', reason: 'replaced' })
}

/** Without a read before, which some stores might tidy up on. */
async function expiredIsAbsent(store: SessionStore): Promise<void> {
  const meta = newMeta({ idleMs: 300, userId: 'ada' })
  const keys = await Promise.all(Array.from({ length: 6 }, () => created(store, { a: '1' }, meta)))
  await delay(meta.lastActiveAt + meta.idleMs + CLOCKS_MS - Date.now())
  const [touched, written, replaced, destroyed, updated, kept] = keys as [string, string, string, string, string, string]
  const unknown = { outcome: 'gone', reason: 'unknown' }
  assert.deepEqual(await store.patch(touched, patch({ touchAt: Date.now() })), unknown)
  assert.deepEqual(await store.patch(written, patch({ add: { n: [1, 0] } })), unknown)
  assert.deepEqual(await store.patch(updated, patch({ set: { a: '2' }, ifVersion: 1 })), unknown)
  const newer = newKey()
  assert.deepEqual(await store.replace(replaced, newer, draft({}), writeId()), unknown)
  assert.equal(await store.destroy(destroyed, 'destroyed', Date.now() + 60_000), false)
  if (store.endUser !== undefined) assert.deepEqual(await store.endUser('ada', Date.now() + 60_000, {}), [])
  if (store.capabilities.has('list')) assert.deepEqual(await all(store, {}), [])
  for (const key of [...keys, newer]) assert.equal(await store.read(key), undefined)
  assert.equal(await store.read(kept), undefined)
}
