import fc from 'fast-check'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { jsonCodec } from '../../../src/core/codec.ts'
import { dataOf } from '../../../src/core/field-proxy.ts'
import { type FieldRules, Fields } from '../../../src/core/fields.ts'
import { SessionError } from '../../../src/errors.ts'
import type { RecordView } from '../../../src/seam.ts'

function recordOf(fields: Record<string, string>, removed: string[] = []): RecordView {
  const map = new Map(Object.entries(fields))
  const meta = { userId: undefined, createdAt: 0, lastActiveAt: 0, idleMs: 1, touchEveryMs: 1, absoluteAt: 1, persistent: false }
  return { key: 'k', meta, get: (name) => map.get(name), isRemoved: (name) => removed.includes(name), fields: () => map.keys(), bytes: 0 }
}

function rules(initial?: () => object): FieldRules & { decodes: string[] } {
  const decodes: string[] = []
  return {
    decodes,
    initial,
    codec: { encode: jsonCodec.encode, decode: (text, field) => (decodes.push(field), jsonCodec.decode(text, field)) },
    undecodable: (_key, field, cause) => new SessionError('STORE_RECORD_INVALID', field, { cause }),
  }
}

function open(record: RecordView | undefined, initial?: () => object) {
  const used = rules(initial)
  const fields = new Fields(record, used)
  return { fields, data: dataOf(fields) as Record<string, any>, decodes: used.decodes }
}

const set = (fields: Fields) => Object.fromEntries(fields.changes().set)

describe('fields', () => {
  test('a field is decoded when first touched, once, and the others never', () => {
    const { data, decodes } = open(recordOf({ a: '{"n":1}', b: '[]', c: '"x"' }))
    expect(data.a.n + data.a.n).toBe(2)
    expect(decodes).toEqual(['a'])
  })

  test('only what differs is a change', () => {
    const { fields, data } = open(recordOf({ a: '{"n":1}', b: '[]', c: '"x"', d: '1' }))
    void data.a.n
    data.b.push(1)
    data.c = 'x'
    data.d = 2
    data.e = null
    expect(set(fields)).toEqual({ b: '[1]', d: '2', e: 'null' })
  })

  test('a default that was only read is no change, one changed in place is', () => {
    const { fields, data } = open(recordOf({}), () => ({ cart: [], visits: 0, seen: [] }))
    void data.visits
    void data.seen.length
    data.cart.push('a')
    expect(set(fields)).toEqual({ cart: '["a"]' })
  })

  test('a removed field does not read as its default, and removing a default is a change', () => {
    const gone = open(recordOf({}, ['theme']), () => ({ theme: 'light' }))
    expect([gone.data.theme, 'theme' in gone.data, Object.keys(gone.data)]).toEqual([undefined, false, []])
    const { fields, data } = open(recordOf({}), () => ({ theme: 'light' }))
    delete data.theme
    expect([...fields.changes().set]).toEqual([['theme', undefined]])
  })

  test('behaves as a plain object: spread, keys, JSON, in, inspect', () => {
    const { data } = open(recordOf({ a: '1', list: '[1]' }), () => ({ b: 2 }))
    expect({ ...data }).toEqual({ a: 1, list: [1], b: 2 })
    expect(JSON.stringify(data)).toBe('{"a":1,"list":[1],"b":2}')
    expect(['a' in data, 'z' in data, Object.keys(data)]).toEqual([true, false, ['a', 'list', 'b']])
    expect(inspect(data)).toBe('{ a: 1, list: [ 1 ], b: 2 }')
    expect(() => Object.freeze(data)).toThrow(TypeError)
  })

  test('counters: additions are kept apart from assignments', () => {
    const { fields, data } = open(recordOf({ n: '5' }), () => ({ m: 10 }))
    fields.add('n', 2)
    fields.add('n', 1)
    fields.add('m', 1)
    expect([data.n, data.m]).toEqual([8, 11])
    expect([...fields.changes().add]).toEqual([
      ['n', { by: 3, from: 0 }],
      ['m', { by: 1, from: 10 }],
    ])
    data.n = 1
    fields.add('n', 1)
    expect(set(fields)).toEqual({ n: '2' })
    expect([...fields.changes().add.keys()]).toEqual(['m'])
    expect(() => fields.add('n', Number.NaN)).toThrow(SessionError)
    data.text = 'x'
    expect(() => fields.add('text', 1)).toThrow(/holds no number/)
  })

  test('what was changed while a save was under way is still to be stored', () => {
    const { fields, data } = open(recordOf({ a: '[]', b: '1', n: '0' }))
    const list = data.a
    list.push(1)
    data.b = 2
    fields.add('n', 1)
    const stored = fields.changes()
    list.push(2)
    data.b = 3
    fields.add('n', 5)
    fields.rebase(recordOf({ a: '[1]', b: '2', n: '1' }), stored)
    expect([data.a, data.b, data.n]).toEqual([[1, 2], 3, 6])
    expect(data.a).toBe(list)
    expect(set(fields)).toEqual({ a: '[1,2]', b: '3' })
    expect(fields.changes().add.get('n')?.by).toBe(5)
  })

  test('after a save an object held by the handler is still the field', () => {
    const { fields, data } = open(recordOf({ a: '[]' }), () => ({ cart: [] }))
    const { a, cart } = data
    a.push(1)
    const stored = fields.changes()
    fields.rebase(recordOf({ a: '[1]' }), stored)
    expect(set(fields)).toEqual({})
    a.push(2)
    cart.push('x')
    expect(set(fields)).toEqual({ a: '[1,2]', cart: '["x"]' })
  })

  test('a value JSON cannot carry is refused by its path', () => {
    const cycle: { me?: unknown } = {}
    cycle.me = cycle
    for (const value of [1n, Number.NaN, new Date(), new Map(), () => 1, [undefined], cycle, Symbol('x'), new (class Cart {})()]) {
      const { fields, data } = open(recordOf({}))
      data.bad = { inner: value }
      expect(() => fields.changes()).toThrow(/session\.data\.bad\.inner/)
    }
  })

  test('a name longer than 128 bytes is refused', () => {
    const { data } = open(recordOf({}))
    expect(() => void (data['ü'.repeat(65)] = 1)).toThrow(/128 bytes/)
  })

  test('any sequence of operations leaves data as a plain object would have it, and the changes rebuild it', () => {
    const name = fc.constantFrom('a', 'b', '__proto__', 'constructor')
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), name, value: fc.jsonValue() }),
      fc.record({ kind: fc.constant('remove' as const), name }),
      fc.record({ kind: fc.constant('push' as const), name }),
    )
    fc.assert(
      fc.property(fc.dictionary(name, fc.jsonValue(), { noNullPrototype: true }), fc.array(operation), (start, operations) => {
        const encoded = Object.entries(start).map(([key, value]) => [key, JSON.stringify(value)] as const)
        const record = { ...recordOf({}), get: (wanted: string) => new Map(encoded).get(wanted), fields: () => new Map(encoded).keys() }
        const fields = new Fields(record, rules())
        const data = dataOf(fields)
        const model = new Map<string, unknown>(encoded.map(([key, text]) => [key, JSON.parse(text)]))
        for (const one of operations) {
          if (one.kind === 'set') {
            const copy: unknown = structuredClone(one.value)
            Reflect.set(data, one.name, one.value)
            model.set(one.name, copy)
          } else if (one.kind === 'remove') {
            Reflect.deleteProperty(data, one.name)
            model.delete(one.name)
          } else {
            const list: unknown = Reflect.get(data, one.name)
            if (Array.isArray(list)) {
              list.push(1)
              ;(model.get(one.name) as unknown[]).push(1)
            }
          }
        }
        const expected = [...model].map(([key, value]) => [key, JSON.stringify(value)]).sort()
        const rebuilt = new Map<string, string>(encoded)
        for (const [key, value] of fields.changes().set) {
          if (value === undefined) rebuilt.delete(key)
          else rebuilt.set(key, value)
        }
        expect([...rebuilt].sort()).toEqual(expected)
        expect(
          fields
            .names()
            .map((key) => [key, JSON.stringify(fields.get(key))])
            .sort(),
        ).toEqual(expected)
      }),
    )
  })
})
