/** Store contract: many at once. */
import assert from 'node:assert/strict'
import type { SessionStore } from '../seam.ts'
import { applied, created, draft, live, newKey, patch, writeId } from './store-case-tools.ts'
import type { StoreCase } from './store-case-tools.ts'

export const storeParallelCases: readonly StoreCase[] = [
  ['parallel - 100 writes to different fields lose none', parallelFields],
  ['parallel - 100 additions sum', parallelAdds],
  ['parallel - of 20 compare-and-sets at one version exactly one wins', parallelCompareAndSet],
  ['replace - of two at once one wins', replaceRace],
  ['replace - what was stored after the version that it was made from is not lost: a conflict', replaceOlder],
  ['replace - a write at the same moment is stored before and the cause of a conflict, or refused', replaceAgainstWrite, 'atomicPatches'],
]

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

async function replaceOlder(store: SessionStore): Promise<void> {
  const oldKey = await created(store, { a: '1' })
  applied(await store.patch(oldKey, patch({ set: { b: '2' } })))
  const key = newKey()
  const id = writeId()
  assert.deepEqual(await store.replace(oldKey, key, draft({ a: '1' }), id, 1), { outcome: 'conflict', version: 2 })
  assert.equal(await store.read(key), undefined)
  assert.equal((await live(store, oldKey)).fields.get('b'), '2')
  const result = applied(await store.replace(oldKey, key, draft({ a: '1', b: '2' }), id, 2))
  assert.deepEqual([result.before, result.after], [2, 1])
  assert.deepEqual(await store.read(oldKey).then((found) => found !== undefined && 'gone' in found && found.gone), 'replaced')
  // Its reply was lost.
  applied(await store.replace(oldKey, key, draft({ a: '1', b: '2' }), id, 2))
}

async function replaceAgainstWrite(store: SessionStore): Promise<void> {
  for (let round = 0; round < 30; round++) {
    const oldKey = await created(store, { a: '1' })
    const [written, replaced] = await Promise.all([
      store.patch(oldKey, patch({ set: { b: '2' } })),
      store.replace(oldKey, newKey(), draft({ a: '1' }), writeId(), 1),
    ])
    assert.deepEqual([written.outcome, replaced.outcome], written.outcome === 'applied' ? ['applied', 'conflict'] : ['gone', 'applied'])
  }
}

async function replaceRace(store: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  const keys = [newKey(), newKey()]
  const results = await Promise.all(keys.map((key) => store.replace(oldKey, key, draft({}), writeId())))
  assert.deepEqual(results.map(({ outcome }) => outcome).sort(), ['applied', 'gone'])
  const found = await Promise.all(keys.map((key) => store.read(key)))
  assert.equal(found.filter((record) => record !== undefined).length, 1)
}
