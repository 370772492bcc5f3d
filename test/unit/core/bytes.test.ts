import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/core/bytes.ts'
import { SessionError } from '../../../src/errors.ts'

type Step =
  | { kind: 'u8' | 'u32' | 'varint'; value: number }
  | { kind: 'bytes'; value: Uint8Array }
  | { kind: 'raw'; value: Uint8Array }
  | { kind: 'string'; value: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
  fc.record({ kind: fc.constant('varint' as const), value: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 600 }) }),
  fc.record({ kind: fc.constant('raw' as const), value: fc.uint8Array({ maxLength: 600 }) }),
  fc.record({ kind: fc.constant('string' as const), value: fc.string({ unit: 'grapheme', maxLength: 200 }) }),
)

function write(steps: readonly Step[]): Buffer {
  const writer = new ByteWriter()
  for (const s of steps) {
    if (s.kind === 'string') writer.string(s.value)
    else if (s.kind === 'bytes') writer.bytes(s.value)
    else if (s.kind === 'raw') writer.raw(s.value)
    else writer[s.kind](s.value)
  }
  return writer.finish()
}

function read(reader: ByteReader, s: Step): unknown {
  if (s.kind === 'string') return reader.string(4096)
  if (s.kind === 'bytes') return new Uint8Array(reader.bytes(600))
  if (s.kind === 'raw') return new Uint8Array(reader.raw(s.value.length))
  return reader[s.kind]()
}

function code(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return SessionError.is(error) ? error.code : `other: ${String(error)}`
  }
}

describe('bytes', () => {
  test('any sequence of values reads back as it was written', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const reader = new ByteReader(write(steps))
        for (const s of steps) expect(read(reader, s)).toEqual(s.value)
        reader.end()
      }),
    )
  })

  test('cut short, any sequence throws PEER_PROTOCOL and nothing else', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), fc.nat(), (steps, cut) => {
        const whole = write(steps)
        fc.pre(whole.length > 0)
        const reader = new ByteReader(whole.subarray(0, cut % whole.length))
        const result = code(() => {
          for (const s of steps) read(reader, s)
        })
        expect(result).toBe('PEER_PROTOCOL')
      }),
    )
  })

  test('random bytes never throw anything but PEER_PROTOCOL', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(step, { maxLength: 10 }), (source, steps) => {
        const reader = new ByteReader(source)
        expect([undefined, 'PEER_PROTOCOL']).toContain(
          code(() => {
            for (const s of steps) read(reader, s)
          }),
        )
      }),
    )
  })

  test('limits hold: too long, out of range, not in shortest form, not UTF-8, trailing', () => {
    const bytes = (...list: number[]): ByteReader => new ByteReader(Uint8Array.from(list))
    expect(code(() => bytes(5, 1, 2, 3, 4, 5).bytes(4))).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(3, 97, 98, 99).string(2))).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(200, 1).varint(199))).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(0x80, 0).varint())).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(255, 255, 255, 255, 255, 255, 255, 255, 1).varint())).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(255, 255, 255, 255, 255, 255, 255, 127).varint())).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(2, 0xc3, 0x28).string(10))).toBe('PEER_PROTOCOL')
    expect(code(() => bytes(1).end())).toBe('PEER_PROTOCOL')
    expect(() => new ByteWriter().varint(-1)).toThrow(RangeError)
    expect(() => new ByteWriter().varint(2 ** 53)).toThrow(RangeError)
  })
})
