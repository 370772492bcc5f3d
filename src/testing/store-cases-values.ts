/** Store contract: any name, value and user id. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { SessionStore } from '../seam.ts'
import { all, applied, created, draft, ended, live, newKey, newMeta, patch, sorted, writeId } from './store-case-tools.ts'
import type { StoreCase } from './store-case-tools.ts'

export const storeValueCases: readonly StoreCase[] = [
  ['names - hostile field names are plain names', hostileNames],
  ['values - text of any kind comes back unchanged', hostileValues],
  ['users - any user id, and none is not the empty one', hostileUsers],
  ['values - of a large session a patch of one field changes only that field', largeSession],
  ['times - ends far in the future, and marks of them', farEnds],
  ['snapshot - a record that was read does not change', snapshot],
]

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

const LARGE_FIELDS = 100
const LARGE_BYTES = 65_536

async function largeSession(store: SessionStore): Promise<void> {
  const each = Math.floor(LARGE_BYTES / LARGE_FIELDS)
  const fields = new Map(Array.from({ length: LARGE_FIELDS }, (_, index) => [`field-${index}`, textOf(each - 10)]))
  const key = newKey()
  assert.equal(await store.create(key, { meta: newMeta({ userId: 'ada' }), fields }, writeId()), true)
  for (let index = 0; index < 5; index++) {
    const [name, value] = [`field-${index * 20}`, textOf(each)]
    applied(await store.patch(key, patch({ set: { [name]: value } })))
    fields.set(name, value)
    assert.deepEqual(sorted((await live(store, key)).fields), sorted(fields))
  }
  applied(await store.patch(key, patch({ set: { 'field-1': undefined }, add: { n: [1, 0] } })))
  fields.delete('field-1')
  assert.deepEqual(sorted((await live(store, key)).fields), sorted(fields.set('n', '1')))
}

/** Encoded text of about that many bytes. */
function textOf(bytes: number): string {
  return JSON.stringify(`${randomBytes(Math.floor((bytes * 3) / 4)).toString('base64')} ü"`)
}

const DAY_MS = 86_400_000

async function farEnds(store: SessionStore): Promise<void> {
  const now = Date.now()
  const farthest = { idleMs: 500 * DAY_MS, absoluteAt: now + 400 * DAY_MS }
  for (const ends of [
    { idleMs: 31 * DAY_MS, absoluteAt: now + 400 * DAY_MS },
    farthest,
    { idleMs: 29 * DAY_MS, absoluteAt: now + 30 * DAY_MS },
  ]) {
    const key = await created(store, { a: '1' }, newMeta({ ...ends, lastActiveAt: now }))
    applied(await store.patch(key, patch({ set: { a: '2' }, touchAt: now + 1 })))
    applied(await store.patch(key, patch({ touchAt: now + 2 })))
    const { meta, fields } = await live(store, key)
    assert.deepEqual([fields.get('a'), meta.lastActiveAt, meta.idleMs, meta.absoluteAt], ['2', now + 2, ends.idleMs, ends.absoluteAt])
    assert.equal(await store.destroy(key, 'destroyed', now + 400 * DAY_MS), true)
    assert.equal((await store.patch(key, patch({ set: { a: '3' } }))).outcome, 'gone')
    await ended(store, key)
  }
  const old = await created(store, {}, newMeta(farthest))
  const key = newKey()
  applied(await store.replace(old, key, draft({ a: '1' }, newMeta(farthest)), writeId()))
  assert.equal((await live(store, key)).fields.get('a'), '1')
}
