/** Store contract: two servers at once on one session. */
import assert from 'node:assert/strict'
import type { SessionStore } from '../seam.ts'
import { all, applied, created, draft, endUser, ended, inAMinute, live, newKey, newMeta, patch, writeId } from './store-case-tools.ts'
import type { StoreCase, StoreCaseBody } from './store-case-tools.ts'

export const storeServerCases: readonly StoreCase[] = [
  ['two servers - what one stored the other reads, lists and ends', sharesRecords, 'another'],
  ['two servers - of two that create one key one does', createRace, 'another', 'atomicPatches'],
  ['two servers - writes to different fields, additions and compare-and-sets at once', writeRace, 'another', 'atomicPatches'],
  ['two servers - of two that replace one session one does', inRounds(replaceRace), 'another', 'atomicPatches'],
  ['two servers - of two that end one session one does', inRounds(endRace), 'another', 'atomicPatches'],
  ['two servers - a session is replaced or ended, not both', inRounds(replaceOrEnd), 'another', 'atomicPatches'],
  ['two servers - no write outlives the end of its session', inRounds(lateWrites), 'another', 'atomicPatches'],
  ['two servers - no write outlives a login', inRounds(writesAfterLogin), 'another', 'atomicPatches'],
  ['two servers - a login while the sessions of that user end', inRounds(loginWhileEnding), 'another', 'atomicPatches', 'endUser'],
  [
    'two servers - no new id saves a session of a user from being ended',
    inRounds(renewalWhileEnding),
    'another',
    'atomicPatches',
    'endUser',
  ],
]

/** Races are decided by chance: once is not enough to see it. */
const ROUNDS = 15

/** Work of one server that begins a moment earlier or later than that of the other. */
async function shifted<R>(work: () => Promise<R>): Promise<R> {
  for (let turns = Math.floor(Math.random() * 4); turns > 0; turns--) await new Promise<void>((next) => void setImmediate(next))
  return work()
}

function inRounds(round: (store: SessionStore, other: SessionStore) => Promise<void>): StoreCaseBody {
  return async (store, another) => {
    const other = await another()
    for (let count = 0; count < ROUNDS; count++) await (count % 2 === 0 ? round(store, other) : round(other, store))
  }
}

async function sharesRecords(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const key = await created(store, { a: '1' }, newMeta({ userId: 'ada' }))
  applied(await other.patch(key, patch({ set: { b: '2' }, ifVersion: 1 })))
  assert.equal((await live(store, key)).fields.get('b'), '2')
  if (store.capabilities.has('users')) assert.equal((await all(other, { userId: 'ada' }))[0]?.key, key)
  assert.equal(await other.destroy(key, 'destroyed', inAMinute(), { userId: 'ada' }), true)
  await ended(store, key)
  assert.equal((await store.patch(key, patch({ set: { a: '2' } }))).outcome, 'gone')
}

async function createRace(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const stores = [store, await another()]
  for (let round = 0; round < ROUNDS; round++) {
    const key = newKey()
    const results = await Promise.all(stores.map((each, index) => each.create(key, draft({ by: String(index) }), writeId())))
    assert.deepEqual(results.toSorted(), [false, true])
    assert.equal((await live(store, key)).fields.get('by'), String(results.indexOf(true)))
  }
}

async function writeRace(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const stores = [store, await another()]
  const key = await created(store, { winner: '-1' })
  const writes = Array.from({ length: 60 }, (_, index) =>
    (stores[index % 2] as SessionStore).patch(key, patch({ set: { [`f${index}`]: String(index) }, add: { n: [1, 0] } })),
  )
  for (const result of await Promise.all(writes)) applied(result)
  const { version, fields } = await live(store, key)
  assert.deepEqual([version, fields.get('n'), fields.size], [61, '60', 62])
  const set = (index: number) => patch({ set: { winner: String(index) }, ifVersion: 61 })
  const results = await Promise.all(Array.from({ length: 10 }, (_, index) => (stores[index % 2] as SessionStore).patch(key, set(index))))
  const winners = results.flatMap(({ outcome }, index) => (outcome === 'applied' ? [String(index)] : []))
  assert.deepEqual(winners, [(await live(store, key)).fields.get('winner')])
}

async function replaceRace(store: SessionStore, other: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  const keys: [string, string] = [newKey(), newKey()]
  const results = await Promise.all([
    shifted(() => store.replace(oldKey, keys[0], draft({}), writeId())),
    shifted(() => other.replace(oldKey, keys[1], draft({}), writeId())),
  ])
  assert.deepEqual(results.map(({ outcome }) => outcome).sort(), ['applied', 'gone'])
  const winner = results[0].outcome === 'applied' ? 0 : 1
  await live(store, keys[winner])
  assert.equal(await store.read(keys[1 - winner] as string), undefined)
  await ended(store, oldKey)
}

async function endRace(store: SessionStore, other: SessionStore): Promise<void> {
  const key = await created(store, {})
  const results = await Promise.all([store, other, store].map((each) => shifted(() => each.destroy(key, 'destroyed', inAMinute()))))
  assert.equal(results.filter(Boolean).length, 1)
}

async function replaceOrEnd(store: SessionStore, other: SessionStore): Promise<void> {
  const [oldKey, key] = [await created(store, {}), newKey()]
  const [result, wasEnded] = await Promise.all([
    shifted(() => store.replace(oldKey, key, draft({}), writeId())),
    shifted(() => other.destroy(oldKey, 'destroyed', inAMinute())),
  ])
  assert.equal(result.outcome, wasEnded ? 'gone' : 'applied')
  await ended(store, oldKey)
  if (wasEnded) assert.equal(await store.read(key), undefined)
  else await live(store, key)
}

/** Patches sent before the end may apply or not; afterwards none does, and none brings the session back. */
async function lateWrites(store: SessionStore, other: SessionStore): Promise<void> {
  const key = await created(store, { a: '1' })
  const write = (each: SessionStore) => each.patch(key, patch({ set: { a: '2' }, add: { n: [1, 0] }, touchAt: Date.now() }))
  const early = [store, other, store].map((each) => shifted(() => write(each)))
  const ending = shifted(() => other.destroy(key, 'destroyed', inAMinute()))
  const meanwhile = [store, other, store].map((each) => shifted(() => write(each)))
  const wasEnded = await ending
  const late = await Promise.all([store, other].map(write))
  await Promise.all([...early, ...meanwhile])
  assert.equal(wasEnded, true)
  assert.deepEqual(
    late.map(({ outcome }) => outcome),
    ['gone', 'gone'],
  )
  await ended(store, key)
  await ended(other, key)
}

async function writesAfterLogin(store: SessionStore, other: SessionStore): Promise<void> {
  const [oldKey, key] = [await created(store, { a: '1' }), newKey()]
  const write = (each: SessionStore) => each.patch(oldKey, patch({ set: { a: '2' } }))
  const early = [store, other].map((each) => shifted(() => write(each)))
  const login = shifted(() => other.replace(oldKey, key, draft({ a: '3' }, newMeta({ userId: 'ada' })), writeId()))
  const meanwhile = [store, other].map((each) => shifted(() => write(each)))
  const result = await login
  const late = await write(store)
  await Promise.all([...early, ...meanwhile])
  applied(result)
  assert.equal(late.outcome, 'gone')
  await ended(store, oldKey)
  const { fields, version } = await live(store, key)
  assert.deepEqual([version, ...fields], [1, ['a', '3']])
}

async function loginWhileEnding(store: SessionStore, other: SessionStore): Promise<void> {
  const [anonymous, key, userId] = [await created(store, {}), newKey(), newKey()]
  await created(store, {}, newMeta({ userId }))
  const [result, told] = await Promise.all([
    shifted(() => store.replace(anonymous, key, draft({}, newMeta({ userId })), writeId())),
    shifted(() => endUser(other, userId)),
  ])
  const found = await store.read(key)
  const isLive = found !== undefined && 'fields' in found
  if (isLive) assert.equal(result.outcome, 'applied')
  if (told.includes(key)) assert.equal(isLive, false)
  if (store.capabilities.has('users'))
    assert.deepEqual(
      (await all(other, { userId })).map((each) => each.key),
      isLive ? [key] : [],
    )
}

async function renewalWhileEnding(store: SessionStore, other: SessionStore): Promise<void> {
  const [userId, key] = [newKey(), newKey()]
  const oldKey = await created(store, {}, newMeta({ userId }))
  const renewal = shifted(() => store.replace(oldKey, key, draft({}, newMeta({ userId })), writeId()))
  await Promise.all([renewal, shifted(() => endUser(other, userId))])
  await ended(store, oldKey)
  await ended(store, key)
  if (store.capabilities.has('users')) assert.deepEqual(await all(other, { userId }), [])
}
