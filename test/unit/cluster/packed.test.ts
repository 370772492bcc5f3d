import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { endOfPacked, headsOfPacked, packRecord, unpackRecord } from '../../../src/cluster/packed.ts'
import { ClusterRecord, endOf } from '../../../src/cluster/record.ts'
import type { Cell, Dot } from '../../../src/core/merge.ts'

const KEY = 'A'.repeat(43)
const origins = fc.constantFrom('', 'abcdefgh', 'ijklmnop', 'abcdefgh.7')
const counters = fc.oneof(fc.nat(300), fc.maxSafeNat())
const dots: fc.Arbitrary<Dot> = fc.record({ origin: origins, counter: counters })
/** ASCII, one byte a character, and what needs more. */
const texts = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom('é', '\u00ff', '漢字'),
)
const adds = fc.dictionary(
  origins,
  fc.record({ sequence: counters, total: fc.double({ noNaN: true, noDefaultInfinity: true }).map((total) => total + 0) }),
)
const cells: fc.Arbitrary<Cell> = fc.oneof(
  fc.record({ stamp: dots, value: fc.constant(undefined) }),
  fc.record({ stamp: dots, value: texts }),
  fc.record({ stamp: dots, value: texts, adds: adds.map((tallies) => new Map(Object.entries(tallies))) }),
)
const times = fc.maxSafeNat()
const records = fc
  .record({
    meta: fc.record({
      userId: fc.option(texts, { nil: undefined }),
      createdAt: times,
      lastActiveAt: times,
      idleMs: times,
      touchEveryMs: times,
      absoluteAt: times,
      persistent: fc.boolean(),
    }),
    cells: fc.array(fc.tuple(fc.oneof(fc.constantFrom('__proto__', 'cart'), texts), cells), { maxLength: 12 }),
    heads: fc.array(dots, { maxLength: 4 }),
    coverage: fc.dictionary(origins, counters),
    lifetimeStamp: dots,
  })
  .map(({ cells: list, coverage: covered, heads, lifetimeStamp, meta }) => {
    const coverage = new Map(Object.entries(covered))
    return new ClusterRecord(KEY, meta, new Map(list), heads, coverage, lifetimeStamp, Math.max(0, ...coverage.values()))
  })

describe('a packed record', () => {
  test('comes back as it was, whatever it holds', () => {
    fc.assert(
      fc.property(records, (record) => {
        const back = unpackRecord(KEY, packRecord(record))
        expect(back.bytes).toBe(record.bytes)
        expect({ ...back }).toEqual({ ...record })
      }),
    )
  })

  test('tells its end and heads without being unpacked', () => {
    fc.assert(
      fc.property(records, (record) => {
        const packed = packRecord(record)
        expect(endOfPacked(packed)).toBe(endOf(record))
        expect(headsOfPacked(packed)).toEqual(record.heads)
      }),
    )
  })

  test('takes a byte a character, and little more than the texts in it', () => {
    const dot = { origin: 'abcdefgh', counter: 1 }
    const fields = Array.from({ length: 8 }, (_, field) => [`field${field}`, { stamp: dot, value: '"é"'.repeat(40) }] as const)
    const meta = {
      userId: undefined,
      createdAt: 1e12,
      lastActiveAt: 1e12,
      idleMs: 1e6,
      touchEveryMs: 1e5,
      absoluteAt: 2e12,
      persistent: false,
    }
    const packed = packRecord(new ClusterRecord(KEY, meta, new Map(fields), [dot], new Map([['abcdefgh', 1]]), dot, 1))
    expect(packed.length).toBeLessThan(8 * (120 + 15))
    expect([...packed].every((character) => character.charCodeAt(0) < 256)).toBe(true)
  })
})
