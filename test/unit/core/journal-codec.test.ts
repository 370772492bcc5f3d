import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeNote, encodeNote } from '../../../src/core/journal-codec.ts'
import type { BaseNote, DeltaNote } from '../../../src/core/journal.ts'

const name = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const count = fc.nat({ max: 100_000 })
const dot = fc.oneof(
  fc.record({ origin: name, counter: count }),
  count.map((counter) => ({ origin: '', counter })),
)
const total = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
)

const delta: fc.Arbitrary<DeltaNote> = fc
  .record({
    name,
    counter: count,
    at: fc.nat({ max: 2 ** 31 - 1 }),
    parents: fc.array(name, { maxLength: 5 }),
    touchAt: count,
    lifetime: fc.option(fc.record({ idleMs: count, touchEveryMs: count, absoluteAt: count }), { nil: undefined }),
    sets: fc.array(fc.tuple(text, fc.option(text, { nil: undefined })), { maxLength: 5 }),
    adds: fc.array(fc.tuple(text, fc.record({ generation: dot, from: total.map(String), total })), { maxLength: 5 }),
  })
  .map(({ lifetime, sets, adds, ...rest }) => ({
    ...rest,
    kind: 'delta',
    sets: new Map(sets),
    adds: new Map(adds),
    ...(lifetime && { lifetime }),
  }))

const base: fc.Arbitrary<BaseNote> = fc
  .record({
    name,
    meta: fc.record({
      userId: fc.option(text, { nil: undefined }),
      createdAt: count,
      lastActiveAt: count,
      idleMs: count,
      touchEveryMs: count,
      absoluteAt: count,
      persistent: fc.boolean(),
    }),
    at: count,
    highest: count,
    horizon: fc.nat({ max: 100 }),
    digest: fc.oneof(
      fc.constant(''),
      fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    ),
    marks: fc.array(fc.record({ at: count, counter: count }), { maxLength: 4 }),
    entries: fc.uniqueArray(fc.tuple(name, fc.record({ counter: fc.nat({ max: 900 }), isBase: fc.boolean() })), {
      minLength: 1,
      maxLength: 9,
      selector: ([key]) => key,
    }),
    fields: fc.uniqueArray(
      fc.tuple(text, fc.nat(), fc.option(text, { nil: undefined }), fc.array(fc.tuple(fc.nat(), total), { maxLength: 3 })),
      {
        maxLength: 6,
        selector: ([field]) => field,
      },
    ),
  })
  .map(({ entries, fields, ...rest }) => {
    const covered = new Map(entries.map(([key, entry]) => [key, { ...entry, counter: entry.counter + rest.horizon + 1 }]))
    const listed = [...covered]
    const at = (pick: number) => listed[pick % listed.length] as (typeof listed)[0]
    const cells = fields.map(([field, pick, value, adds]) => {
      const stamp = pick % 3 === 0 ? { origin: '', counter: pick } : { origin: at(pick)[0], counter: at(pick)[1].counter }
      const tallies = new Map(adds.map(([origin, sum]) => [at(origin)[0], { sequence: at(origin)[1].counter, total: sum }]))
      return [field, { stamp, value, ...(value !== undefined && tallies.size > 0 && { adds: tallies }) }] as const
    })
    return { ...rest, kind: 'base', lifetimeStamp: { origin: '', counter: 1 }, covered, cells: new Map(cells) }
  })

describe('notes as bytes', () => {
  test('bases and deltas read as they were written', () => {
    const property = fc.property(fc.oneof(delta, base), (note) => {
      expect(decodeNote(note.name, encodeNote(note))).toEqual(note)
    })
    expect(() => fc.assert(property, { seed: 11, numRuns: 600 })).not.toThrow()
  })

  test('anything else, and every cut or lengthened note, is undefined', () => {
    const property = fc.property(fc.oneof(delta, base), fc.nat(), fc.uint8Array({ maxLength: 200 }), (note, cut, random) => {
      const bytes = encodeNote(note)
      expect(decodeNote(note.name, bytes.subarray(0, cut % bytes.length))).toBeUndefined()
      expect(decodeNote(note.name, Buffer.concat([bytes, Buffer.of(0)]))).toBeUndefined()
      decodeNote('AAAAAAAA', random)
      decodeNote('AAAAAAAA', Buffer.concat([bytes.subarray(0, cut % bytes.length), random]))
    })
    expect(() => fc.assert(property, { seed: 12, numRuns: 600 })).not.toThrow()
  })
})
