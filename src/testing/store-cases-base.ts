/** Store contract: a patch that brings what its writer believes to be the record. Stores may use it or not; what comes out is the same. */
import assert from 'node:assert/strict'
import type { SessionStore, StorePatch } from '../seam.ts'
import { applied, created, hasCode, live, newMeta, patch, sorted } from './store-case-tools.ts'
import type { PatchShape, StoreCase } from './store-case-tools.ts'

export const storeBaseCases: readonly StoreCase[] = [
  ['base - a patch on the newest record applies, removals and counters included', baseHolds],
  ['base - a patch on an older record merges with what others wrote', baseIsOld],
  ['base - a retry applies once, and a session that has ended stays ended', baseRetried],
  ['base - random patches with bases of any age end as they do without', baseAtRandom],
]

async function on(store: SessionStore, key: string, shape: PatchShape): Promise<StorePatch> {
  return { ...patch(shape), base: await live(store, key) }
}

async function baseHolds(store: SessionStore): Promise<void> {
  const meta = newMeta({ userId: 'ada \u001e 💶', persistent: true })
  const key = await created(store, { a: '1', b: '"x\u001dy"', n: '5' }, meta)
  applied(await store.patch(key, await on(store, key, { set: { a: undefined, c: '3' } })))
  const result = applied(await store.patch(key, await on(store, key, { set: { b: '2' }, add: { n: [2, 0], fresh: [1, 10] } })))
  assert.deepEqual([result.before, result.after, Object.fromEntries(result.counters)], [2, 3, { n: '7', fresh: '11' }])
  const record = await live(store, key)
  assert.deepEqual(sorted(record.fields), { b: '2', c: '3', fresh: '11', n: '7' })
  assert.deepEqual([...(record.removed ?? [])], ['a'])
  assert.deepEqual({ ...record.meta, lastActiveAt: 0 }, { ...meta, lastActiveAt: 0 })
  assert.deepEqual([record.version, record.writeIds.length], [3, 3])
  await assert.rejects(
    async () => store.patch(key, await on(store, key, { add: { text: [1, 0] }, set: { text: '"no"' } })),
    hasCode('FIELD_INVALID'),
  )
}

async function baseIsOld(store: SessionStore): Promise<void> {
  const key = await created(store, { a: '1', n: '0' })
  const old = await on(store, key, { set: { b: '2' }, add: { n: [1, 0] } })
  applied(await store.patch(key, patch({ set: { a: '9' }, add: { n: [10, 0] } })))
  const result = applied(await store.patch(key, old))
  assert.deepEqual([result.before, result.after, result.counters.get('n')], [2, 3, '11'])
  assert.deepEqual(sorted((await live(store, key)).fields), { a: '9', b: '2', n: '11' })
}

async function baseRetried(store: SessionStore): Promise<void> {
  const key = await created(store, { n: '0' })
  const once = await on(store, key, { add: { n: [1, 0] } })
  for (let send = 0; send < 3; send++) {
    const { before, after } = applied(await store.patch(key, once))
    assert.deepEqual([before, after], [1, 2])
  }
  assert.equal((await live(store, key)).fields.get('n'), '1')
  const late = await on(store, key, { set: { a: '1' } })
  await store.destroy(key, 'destroyed', 0)
  assert.equal((await store.patch(key, late)).outcome, 'gone')
}

/** Every patch writes one of few fields, so that the order of the answers tells what must be there. */
async function baseAtRandom(store: SessionStore): Promise<void> {
  const key = await created(store, { n: '0' })
  const bases = [await live(store, key)]
  const expected: Record<string, string> = { n: '0' }
  for (let step = 0; step < 40; step++) {
    const field = `f${step % 5}`
    const isRemoval = step % 7 === 3
    const base = bases[(step * 7919) % bases.length] as (typeof bases)[number]
    const shape: PatchShape = { set: { [field]: isRemoval ? undefined : String(step) }, add: { n: [1, 0] } }
    const { after } = applied(await store.patch(key, { ...patch(shape), ...(step % 3 !== 0 && { base }) }))
    assert.equal(after, step + 2)
    if (isRemoval) delete expected[field]
    else expected[field] = String(step)
    expected.n = String(step + 1)
    bases.push(await live(store, key))
    assert.deepEqual(sorted(bases.at(-1)?.fields ?? new Map()), Object.fromEntries(Object.entries(expected).sort()))
  }
}
