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

async function replaceRace(store: SessionStore): Promise<void> {
  const oldKey = await created(store, {})
  const keys = [newKey(), newKey()]
  const results = await Promise.all(keys.map((key) => store.replace(oldKey, key, draft({}), writeId())))
  assert.deepEqual(results.map(({ outcome }) => outcome).sort(), ['applied', 'gone'])
  const found = await Promise.all(keys.map((key) => store.read(key)))
  assert.equal(found.filter((record) => record !== undefined).length, 1)
}
