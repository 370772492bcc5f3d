import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { SessionStore } from '../../src/seam.ts'
import { expressStore } from '../../src/stores/express-store.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { PLACES, storeAt } from '../setup/store-backends.ts'
import type { StorePlace } from '../setup/store-backends.ts'
import { seededRandom } from '../setup/virtual-runtime.ts'
import { raceLogouts } from './logout-races.ts'

/** Together 100,000. `HOLDFAST_RACES=100000` runs that many on each store (`npm run test:long`). */
const RACES = { memory: 40_000, sqlite: 25_000, redis: 25_000, postgres: 5_000, mysql: 2_500, memcached: 2_500 }
const ALL = process.env.HOLDFAST_RACES
/** Generous: a busy machine takes 5 ms for one. */
const MOST_MS_EACH = 20

const context = { runtime: systemRuntime(), logger: console, deadlineMs: 30_000, stateChanged: () => {} }

describe.each(Object.entries(RACES))('%s', (name, share) => {
  const count = ALL === undefined ? share : Number(ALL)
  let place: StorePlace | undefined
  let stores: [SessionStore, SessionStore]

  beforeAll(async () => {
    if (name === 'memory') {
      // Servers of one process share one.
      const store = memoryStore()
      stores = [store, store]
    } else {
      place = await PLACES[name as keyof typeof PLACES]()
      stores = [storeAt(place.url), storeAt(place.url)]
    }
    await stores[0].ready(context)
    await stores[1].ready({ ...context })
  })
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()))
    await place?.stop()
  })

  test(`0 of ${count} logouts raced by writes in flight come back`, { timeout: 60_000 + count * MOST_MS_EACH }, async () => {
    const counts = await raceLogouts(stores, count, seededRandom(20_261_124))
    expect(counts).toMatchObject({ ended: count, notEnded: 0, cameBack: 0, storedLate: 0 })
    expect(counts.stored, 'writes that came before the end').toBeGreaterThan(count / 10)
    expect(counts.refused, 'writes that came after the end').toBeGreaterThan(count / 10)
  })
})

test('a store that reads and overwrites, in two processes, is caught', async () => {
  const entries = new Map<string, string>()
  const one = (): SessionStore =>
    expressStore({
      get: (key, answer) => void setImmediate(() => answer(null, JSON.parse(entries.get(key) ?? 'null'))),
      set: (key, session, answer) =>
        void setImmediate(() => {
          entries.set(key, JSON.stringify(session))
          answer?.()
        }),
      destroy: (key, answer) => void setImmediate(() => answer?.(entries.delete(key) ? undefined : undefined)),
    })
  const stores: [SessionStore, SessionStore] = [one(), one()]
  for (const store of stores) await store.ready({ ...context })
  const counts = await raceLogouts(stores, 1_000, seededRandom(1))
  expect(counts.cameBack).toBeGreaterThan(0)
  for (const store of stores) await store.close()
})
