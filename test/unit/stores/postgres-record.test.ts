import fc from 'fast-check'
import { expect, test } from 'vitest'
import { packFields, unpackRecord } from '../../../src/stores/postgres-record.ts'
import { packText, unpackText } from '../../../src/stores/sql-record.ts'
import { wholeMs } from '../../../src/stores/store-clock.ts'

const anyText = fc.string({ unit: fc.oneof(fc.nat({ max: 0xffff }).map((code) => String.fromCharCode(code)), fc.constantFrom('\0', '\x1d', '\ud83c', '\udf6a', '0000')) }) // biome-ignore format: a table

test('postgres - any text comes back, and at rest holds no NUL and no half surrogate pair', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const packed = packText(text)
      expect(unpackText(packed)).toBe(text)
      expect(packed.includes('\0')).toBe(false)
      expect(packed.isWellFormed()).toBe(true)
    }),
    { numRuns: 2_000 },
  )
})

test('postgres - two texts never look alike at rest', () => {
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      expect(packText(a) === packText(b)).toBe(a === b)
    }),
  )
})

test('postgres - fields of any name come back, removed ones as removed', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyText, fc.option(anyText, { nil: undefined }))), (entries) => {
      const given = new Map([...entries, ['__proto__', '1'], ['constructor', undefined]] as [string, string | undefined][])
      const row = [null, '1', null, '1', '1', '1', '1', 'f', '3', '["w"]', packFields(given)]
      const record = unpackRecord(row)
      if (record === undefined || 'gone' in record) throw new Error('does not parse')
      const back = new Map<string, string | undefined>(record.fields)
      for (const name of record.removed ?? []) back.set(name, undefined)
      expect(new Map([...back].sort())).toEqual(new Map([...given].sort()))
    }),
  )
})

test('postgres - what is no record of ours does not parse', () => {
  const row = (fields: string, writeIds = '["w"]', gone: string | null = null) => [
    gone,
    '1',
    null,
    '1',
    '1',
    '1',
    '1',
    'f',
    '3',
    writeIds,
    fields,
  ]
  for (const fields of ['', '{', '[]', 'null', '"a"', '1', '{"a":1}', '{"a":["b"]}', '{"a":{}}'])
    expect(unpackRecord(row(fields))).toBeUndefined()
  expect(unpackRecord(row('{}', '{}'))).toBeUndefined()
  expect(unpackRecord(row('{}', '["w"]', 'eaten'))).toBeUndefined()
  expect(unpackRecord(row('{}', '["w"]', 'replaced'))).toEqual({ gone: 'replaced', endedAt: 1 })
})

test('postgres - times are whole and within what JavaScript and bigint can both hold', () => {
  expect([-1, 0.5, 1e300, Number.POSITIVE_INFINITY].map(wholeMs)).toEqual([0, 1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER])
})
