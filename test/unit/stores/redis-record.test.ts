import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RecordMeta } from '../../../src/seam.ts'
import {
  packMark,
  packMeta,
  packRecord,
  packText,
  packUser,
  packValue,
  unpackMeta,
  unpackRecord,
  unpackUser,
} from '../../../src/stores/redis-record.ts'

const ms = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
// Any text, and often what the format itself is made of.
const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom('\x1d', '\x1e', 'd', 'e', 'r', ';', 'g') }))
const metas: fc.Arbitrary<RecordMeta> = fc.record({
  userId: fc.option(text, { nil: undefined }),
  createdAt: ms,
  lastActiveAt: ms,
  idleMs: ms,
  touchEveryMs: ms,
  absoluteAt: ms,
  persistent: fc.boolean(),
})
const writeIds = fc.array(fc.stringMatching(/^[\w-]{11}$/), { maxLength: 8 })

test('metadata - round trips, whatever the user id', () => {
  fc.assert(
    fc.property(metas, fc.nat(), writeIds, (meta, version, ids) => {
      expect(unpackMeta(packMeta(meta, version, ids))).toEqual({ meta, version, writeIds: ids })
    }),
  )
})

test('metadata - no user differs from every user', () => {
  fc.assert(
    fc.property(text, (userId) => {
      expect(unpackUser(packUser(userId))).toBe(userId)
    }),
  )
  expect(unpackUser(packUser(undefined))).toBeUndefined()
})

test('record - fields, removals and metadata round trip without mixing', () => {
  fc.assert(
    fc.property(metas, writeIds, fc.array(fc.tuple(text, text)), fc.array(text), (meta, ids, values, gone) => {
      const fields = new Map(values)
      const removed = new Set(gone.filter((name) => !fields.has(name)))
      const forgotten = [...removed].map((name) => `\x1e${packText(name)}\x1e${packValue(undefined)}`)
      const packed = packRecord({ meta, fields }, 3, ids) + forgotten.join('')
      const record = { meta, version: 3, writeIds: ids, fields }
      expect(unpackRecord(packed)).toEqual(removed.size === 0 ? record : { ...record, removed })
    }),
  )
})

test('mark - says why and when', () => {
  expect(unpackRecord(packMark('replaced', 1234))).toEqual({ gone: 'replaced', endedAt: 1234 })
  // In a cluster it remembers which write did it.
  expect(unpackRecord('g;replaced;1234;abcdefghijk')).toEqual({ gone: 'replaced', endedAt: 1234 })
})

test('record - what does not parse is undefined, never a guess', () => {
  const good = packMeta({ userId: 'a', createdAt: 1, lastActiveAt: 1, idleMs: 1, touchEveryMs: 1, absoluteAt: 9, persistent: false }, 1, [])
  for (const packed of [
    '',
    'x',
    good.replace('1;', '2;'),
    `${good}\x1ea`,
    good.replace(';ua', ''),
    'g;why;1',
    'g;destroyed;x',
    'g;destroyed;1;',
  ]) {
    expect(unpackRecord(packed)).toBeUndefined()
  }
})
