import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/core/bytes.ts'
import { type Cell, compareDots, type Dot } from '../../../src/core/merge.ts'
import {
  readCells,
  readCoverage,
  readDots,
  readMeta,
  writeCells,
  writeCoverage,
  writeDots,
  writeMeta,
} from '../../../src/core/record-codec.ts'
import { SessionError } from '../../../src/errors.ts'
import type { RecordMeta } from '../../../src/seam.ts'

const text = (maxLength: number) => fc.string({ unit: 'grapheme', maxLength })
const dots: fc.Arbitrary<Dot> = fc.record({ origin: fc.string({ maxLength: 16 }), counter: fc.maxSafeNat() })
const tallies = fc.record({ sequence: fc.maxSafeNat(), total: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0) })
const cells: fc.Arbitrary<Cell> = fc.oneof(
  fc.record({ stamp: dots, value: fc.option(text(40), { nil: undefined }) }),
  fc.record({
    stamp: dots,
    value: text(10),
    adds: fc
      .uniqueArray(fc.tuple(fc.string({ maxLength: 16 }), tallies), { minLength: 1, maxLength: 4, selector: ([origin]) => origin })
      .map((entries) => new Map(entries)),
  }),
)
const names = fc.oneof(text(20), fc.constantFrom('__proto__', 'constructor', 'toString', ''))
const metas: fc.Arbitrary<RecordMeta> = fc.record({
  userId: fc.option(text(50), { nil: undefined }),
  createdAt: fc.maxSafeNat(),
  lastActiveAt: fc.maxSafeNat(),
  idleMs: fc.maxSafeNat(),
  touchEveryMs: fc.maxSafeNat(),
  absoluteAt: fc.maxSafeNat(),
  persistent: fc.boolean(),
})

function roundTrip<T>(value: T, write: (writer: ByteWriter, value: T) => void, read: (reader: ByteReader) => T): T {
  const writer = new ByteWriter()
  write(writer, value)
  const reader = new ByteReader(writer.finish())
  const back = read(reader)
  reader.end()
  return back
}

describe('record codec', () => {
  test('cells of any names and values come back as they were', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(names, cells), { selector: ([name]) => name }), (entries) => {
        const map = new Map(entries)
        expect(roundTrip(map, writeCells, readCells)).toEqual(map)
      }),
    )
  })

  test('metadata comes back as it was', () => {
    fc.assert(
      fc.property(metas, (meta) => {
        expect(roundTrip(meta, writeMeta, readMeta)).toEqual(meta)
      }),
    )
  })

  test('an endless lifetime is kept as a very long one', () => {
    const meta = {
      userId: undefined,
      createdAt: 1,
      lastActiveAt: 1,
      idleMs: Infinity,
      touchEveryMs: 0.4,
      absoluteAt: Infinity,
      persistent: false,
    }
    expect(roundTrip(meta, writeMeta, readMeta)).toMatchObject({ idleMs: Number.MAX_SAFE_INTEGER, touchEveryMs: 0 })
  })

  test('dots and coverage come back, dots sorted', () => {
    fc.assert(
      fc.property(fc.array(dots, { maxLength: 20 }), (list) => {
        expect(roundTrip(list, writeDots, readDots)).toEqual([...list].sort(compareDots))
        const coverage = new Map(list.map((dot) => [dot.origin, dot.counter]))
        expect(roundTrip(coverage, writeCoverage, readCoverage)).toEqual(coverage)
      }),
    )
  })

  test('cut or arbitrary bytes are PEER_PROTOCOL or a value, never another error', () => {
    const attempt = (bytes: Uint8Array, read: (reader: ByteReader) => unknown): void => {
      try {
        read(new ByteReader(bytes))
      } catch (error) {
        expect(SessionError.is(error) && error.code).toBe('PEER_PROTOCOL')
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        attempt(bytes, readCells)
        attempt(bytes, readMeta)
        attempt(bytes, readCoverage)
        attempt(bytes, (reader) => readDots(reader))
      }),
    )
  })

  test('a list longer than its bound is refused before it is read', () => {
    const bytes = new ByteWriter().varint(5).finish()
    expect(() => readDots(new ByteReader(bytes), 4)).toThrow(/out of range/)
  })
})
