import fc from 'fast-check'
import { expect, test } from 'vitest'
import { secondsLeft } from '../../../src/stores/memcached-items.ts'
import { endOf, packItem, unpackItem } from '../../../src/stores/memcached-record.ts'
import type { MemcachedItem } from '../../../src/stores/memcached-record.ts'

const ms = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const text = fc.string({ unit: 'binary', maxLength: 60 })
const id = fc.stringMatching(/^[\w-]{11}$/)

const records = fc
  .record({
    meta: fc.record({
      userId: fc.option(text, { nil: undefined }),
      createdAt: ms,
      lastActiveAt: ms,
      idleMs: ms,
      touchEveryMs: ms,
      absoluteAt: ms,
      persistent: fc.boolean(),
    }),
    version: fc.nat(),
    writeIds: fc.array(id, { maxLength: 8 }),
    fields: fc.array(fc.tuple(text, text), { maxLength: 8 }).map((entries) => new Map(entries)),
    removed: fc.array(text, { maxLength: 4 }),
  })
  .map(({ removed, ...record }) => (removed.length === 0 ? record : { ...record, removed: new Set(removed) }))

const items: fc.Arbitrary<MemcachedItem> = fc.oneof(
  fc
    .tuple(records, id)
    .map(
      ([record, epoch]): MemcachedItem =>
        record.meta.userId === undefined ? { kind: 'session', record } : { kind: 'session', record, epoch },
    ),
  fc.record({
    kind: fc.constant('mark' as const),
    gone: fc.constantFrom('destroyed' as const, 'replaced' as const),
    endedAt: ms,
    until: ms,
    writeId: fc.oneof(id, fc.constant('')),
    before: fc.nat(),
  }),
  fc
    .record({
      kind: fc.constant('user' as const),
      epoch: id,
      revokedAt: ms,
      until: ms,
      spared: fc.option(id, { nil: undefined }),
      sessions: fc.array(fc.record({ key: id, end: ms }), { maxLength: 5 }),
    })
    .map(({ spared, ...item }): MemcachedItem => (spared === undefined ? item : { ...item, spared })),
)

test('items - round trip, whatever is in them', () => {
  fc.assert(
    fc.property(items, (item) => {
      expect(unpackItem(packItem(item))).toEqual(item)
    }),
  )
})

test('items - cut short, lengthened or of another format they do not parse', () => {
  fc.assert(
    fc.property(items, (item) => {
      const bytes = packItem(item)
      for (let end = 0; end < bytes.length; end++) expect(unpackItem(bytes.subarray(0, end))).toBeUndefined()
      expect(unpackItem(Buffer.concat([bytes, Buffer.from('x')]))).toBeUndefined()
      expect(unpackItem(Buffer.concat([Buffer.from('h2'), bytes.subarray(2)]))).toBeUndefined()
    }),
    { numRuns: 50 },
  )
})

test('items - bytes of any kind never throw', () => {
  const anyBytes = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
  const nearly = fc.tuple(fc.constantFrom('h1s', 'h1m', 'h1u'), anyBytes).map(([head, rest]) => Buffer.concat([Buffer.from(head), rest]))
  fc.assert(
    fc.property(fc.oneof(anyBytes, nearly), (bytes) => {
      expect(['object', 'undefined']).toContain(typeof unpackItem(bytes))
    }),
  )
})

test('items - a session of 8 fields of 120 bytes takes little more than its data', () => {
  const now = 1_800_000_000_000
  const meta = {
    userId: 'ada',
    createdAt: now,
    lastActiveAt: now,
    idleMs: 1_800_000,
    touchEveryMs: 90_000,
    absoluteAt: now + 43_200_000,
    persistent: false,
  }
  const fields = new Map(Array.from({ length: 8 }, (_, index) => [`field${index}`, 'v'.repeat(120)]))
  const writeIds = Array.from({ length: 8 }, (_, index) => `abcdefghij${index}`)
  const item: MemcachedItem = { kind: 'session', epoch: 'abcdefghijk', record: { meta, fields, version: 1_000, writeIds } }
  expect(packItem(item).length).toBeLessThan(8 * 126 + 200)
  expect(endOf(item)).toBe(now + 1_800_000)
})

test('expiry - never early by whole seconds, relative up to 30 days, Unix time beyond', () => {
  const now = 1_800_000_000_400
  const day = 86_400_000
  expect(secondsLeft(now + 1, now)).toBe(2)
  expect(secondsLeft(now + 1_000, now)).toBe(2)
  expect(secondsLeft(now + 1_001, now)).toBe(3)
  expect(secondsLeft(now - 5_000, now)).toBe(1)
  expect(secondsLeft(now + 30 * day - 1_000, now)).toBe(2_592_000)
  expect(secondsLeft(now + 30 * day, now)).toBe(1_800_000_000 + 2_592_000 + 2)
  expect(secondsLeft(now + 400 * day, now)).toBe(1_800_000_000 + 400 * 86_400 + 2)
  expect(secondsLeft(Number.MAX_SAFE_INTEGER, now)).toBe(2_147_483_647)
})
