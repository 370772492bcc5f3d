/** Store contract: listing sessions and ending those of a user. */
import assert from 'node:assert/strict'
import type { SessionStore } from '../seam.ts'
import { all, applied, created, delay, draft, endUser, ended, gone, live, newKey, newMeta, patch, writeId } from './store-case-tools.ts'
import type { StoreCase } from './store-case-tools.ts'

export const storeUserCases: readonly StoreCase[] = [
  ['list - all live sessions', listAll, 'list'],
  ['list - those of one user, and the index follows login and logout', listUser, 'users'],
  ['list - hundreds of one user, each once', listMany, 'users', 'manySessions'],
  ['endUser - ends all of a user but the one to keep, and says which', endsUser, 'endUser'],
  ['endUser - it leaves marks as destroy does', endedUserMarks, 'endUser', 'endedMarks'],
  ['endUser - hundreds of sessions', endsMany, 'endUser'],
  ['endUser - a user without live sessions', endsNobody, 'endUser'],
]

async function listAll(store: SessionStore): Promise<void> {
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

const MANY = 250

async function createMany(store: SessionStore): Promise<string[]> {
  const keys: string[] = []
  while (keys.length < MANY) {
    keys.push(...(await Promise.all(Array.from({ length: 10 }, () => created(store, {}, newMeta({ userId: 'ada' }))))))
  }
  return keys
}

async function listMany(store: SessionStore): Promise<void> {
  const keys = await createMany(store)
  await created(store, {}, newMeta({ userId: 'bob' }))
  const listed = await all(store, { userId: 'ada' })
  assert.deepEqual(listed.map(({ key }) => key).sort(), keys.toSorted())
  if (store.capabilities.has('list')) assert.equal((await all(store, {})).length, MANY + 1)
}

async function endsMany(store: SessionStore): Promise<void> {
  const keys = await createMany(store)
  const told = await endUser(store, 'ada')
  assert.ok(told.length > 0 && told.every((key) => keys.includes(key)), 'its answer names sessions of the user')
  for (const key of keys) await ended(store, key)
  if (store.capabilities.has('users')) assert.deepEqual(await all(store, { userId: 'ada' }), [])
}

async function endsUser(store: SessionStore): Promise<void> {
  const ofAda = (): Promise<string> => created(store, { a: '1' }, newMeta({ userId: 'ada' }))
  const [first, second, kept] = [await ofAda(), await ofAda(), await ofAda()]
  const anonymous = await created(store, {})
  const loggedIn = newKey()
  applied(await store.replace(anonymous, loggedIn, draft({}, newMeta({ userId: 'ada' })), writeId()))
  const others = [await created(store, { a: '1' }, newMeta({ userId: 'bob' })), await created(store, { a: '1' })]
  assert.deepEqual((await endUser(store, 'ada', kept)).toSorted(), [first, second, loggedIn].toSorted())
  for (const key of [first, second, loggedIn]) {
    await ended(store, key)
    assert.equal((await store.patch(key, patch({ set: { a: '2' } }))).outcome, 'gone')
    assert.equal((await store.replace(key, newKey(), draft({}), writeId())).outcome, 'gone')
  }
  for (const key of [kept, ...others]) applied(await store.patch(key, patch({ set: { a: '2' } })))
  if (store.capabilities.has('users')) {
    assert.deepEqual(
      (await all(store, { userId: 'ada' })).map(({ key }) => key),
      [kept],
    )
    assert.equal((await all(store, { userId: 'bob' })).length, 1)
  }
  assert.deepEqual(await endUser(store, 'ada', kept), [])
  assert.deepEqual(await endUser(store, 'ada'), [kept])
  const again = await ofAda()
  assert.equal((await live(store, again)).meta.userId, 'ada')
  assert.deepEqual(await endUser(store, 'ada', kept), [again])
}

async function endedUserMarks(store: SessionStore): Promise<void> {
  const short = newMeta({ userId: 'ada', idleMs: 300 })
  const key = await created(store, { a: '1' }, short)
  const before = Date.now()
  assert.deepEqual(await endUser(store, 'ada'), [key])
  const endedAt = await gone(store, key, 'destroyed')
  assert.ok(endedAt >= before && endedAt <= Date.now(), 'endedAt says when')
  assert.equal(await store.create(key, draft({}), writeId()), false)
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 60_000), false)
  await delay(short.lastActiveAt + short.idleMs + 1_100 - Date.now())
  await gone(store, key, 'destroyed')
  assert.deepEqual(await store.patch(key, patch({ set: { a: '2' } })), { outcome: 'gone', reason: 'destroyed' })
}

async function endsNobody(store: SessionStore): Promise<void> {
  assert.deepEqual(await endUser(store, 'nobody'), [])
  const key = await created(store, {}, newMeta({ userId: 'ada' }))
  assert.equal(await store.destroy(key, 'destroyed', Date.now() + 60_000), true)
  assert.deepEqual(await endUser(store, 'ada'), [])
  const moved = await created(store, {}, newMeta({ userId: 'ada' }))
  const newer = newKey()
  applied(await store.replace(moved, newer, draft({}, newMeta({ userId: 'bob' })), writeId()))
  assert.deepEqual(await endUser(store, 'ada'), [])
  assert.equal((await live(store, newer)).meta.userId, 'bob')
}
