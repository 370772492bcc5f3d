import { describe, expect, test } from 'vitest'
import { recordOf, viewOf } from '../../../src/core/stored-record.ts'
import type { SessionStore } from '../../../src/seam.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { NearCache, type NearCacheOptions } from '../../../src/strategies/near-cache.ts'
import { createVirtualWorld } from '../../setup/virtual-runtime.ts'

const world = createVirtualWorld()

function cacheWith(
  options: NearCacheOptions,
  store: Partial<SessionStore> = {},
): { keep(key: string, chars?: number): void; cache: NearCache } {
  const runtime = world.runtime()
  const cache = new NearCache({ ...memoryStore(), freshness: 'lease', ...store }, { leaseMs: 1_000, ...options }, runtime)
  return {
    cache,
    keep(key, chars = 10): void {
      const now = runtime.now()
      const meta = {
        userId: undefined,
        createdAt: now,
        lastActiveAt: now,
        idleMs: 60_000,
        touchEveryMs: 1_000,
        absoluteAt: now + 60_000,
        persistent: false,
      }
      const stored = recordOf({ meta, fields: new Map([['field', 'x'.repeat(chars)]]) }, 'w')
      const flight = cache.begin(key)
      cache.keep(flight, stored, viewOf(key, stored))
      cache.end(flight)
    },
  }
}

describe('near cache - bounds', () => {
  test('maxSessions: those not used for longest go', () => {
    const { cache, keep } = cacheWith({ maxSessions: 3 })
    for (const key of ['a', 'b', 'c']) keep(key)
    expect(cache.fresh('a')).toBeDefined()
    keep('d')
    expect(['a', 'b', 'c', 'd'].map((key) => cache.fresh(key) !== undefined)).toEqual([true, false, true, true])
    expect(cache.counts.sessions).toBe(3)
  })

  test('maxBytes: names and values count, and one session larger than all of it is not kept', () => {
    const { cache, keep } = cacheWith({ maxBytes: 10_000 })
    for (let index = 0; index < 50; index++) keep(`k${index}`, 1_000)
    expect(cache.counts.bytes).toBeLessThanOrEqual(10_000)
    expect(cache.counts.sessions).toBeLessThanOrEqual(6)
    keep('huge', 20_000)
    expect(cache.fresh('huge')).toBeUndefined()
  })

  test('a lease ends, and what is distrusted ends at once', async () => {
    const { cache, keep } = cacheWith({})
    keep('a')
    await world.advance(999)
    expect(cache.fresh('a')).toBeDefined()
    await world.advance(1)
    expect(cache.fresh('a')).toBeUndefined()
    keep('b')
    cache.distrust()
    expect(cache.fresh('b')).toBeUndefined()
  })

  test('a store that confirms the lease: a copy answers while both hold', async () => {
    let isConfirmed = true
    const watch = () => ({ confirm: () => Promise.resolve(isConfirmed), close: () => {} })
    const { cache, keep } = cacheWith({ leaseMs: 100 }, { confirmsLease: true, watch })
    cache.start()
    keep('a')
    expect(cache.fresh('a')).toBeUndefined()
    await world.settle()
    expect(cache.fresh('a')).toBeDefined()
    await world.advance(99)
    expect(cache.fresh('a')).toBeDefined()
    await world.advance(1)
    // Confirmed anew, and yet too old.
    expect(cache.fresh('a')).toBeUndefined()
    await world.settle()
    isConfirmed = false
    await world.advance(98)
    keep('b')
    expect(cache.fresh('b')).toBeDefined()
    await world.advance(1)
    expect(cache.fresh('b')).toBeUndefined()
  })

  test('an ending waits until all have heard, and no longer than the lease', async () => {
    const heard = Promise.withResolvers<boolean>()
    const took = async (heardByAll: () => Promise<boolean>, ms: number): Promise<number> => {
      const watch = () => ({ confirm: () => Promise.resolve(true), heardByAll, close: () => {} })
      const { cache } = cacheWith({ leaseMs: 100 }, { freshness: 'push', watch })
      cache.start()
      const startedAt = world.elapsed()
      let endedAt = Number.NaN
      void cache.heardByAll().then(() => (endedAt = world.elapsed()))
      await world.advance(ms)
      heard.resolve(true)
      await world.advance(200)
      return endedAt - startedAt
    }
    expect(await took(() => heard.promise, 30)).toBe(30)
    expect(await took(() => Promise.resolve(false), 0)).toBe(100)
    expect(await took(() => new Promise(() => {}), 0)).toBe(100)
  })

  test('an answer to an older question is not kept over an own write', () => {
    const { cache, keep } = cacheWith({})
    keep('a')
    const slow = cache.begin('a')
    const write = cache.begin('a')
    cache.outdated(write, 3)
    cache.end(write)
    const { stored, record } = cache.old('a') ?? {}
    expect(stored).toBeUndefined()
    expect(record).toBeUndefined()
    const meta = { userId: undefined, createdAt: 0, lastActiveAt: 0, idleMs: 1, touchEveryMs: 1, absoluteAt: 1, persistent: false }
    const older = { ...recordOf({ meta, fields: new Map() }, 'w'), version: 2 }
    expect(cache.keep(slow, older, viewOf('a', older))).toBeUndefined()
    cache.end(slow)
  })
})
