import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deriveKeys } from '../../../src/core/keys.ts'
import { SEAL_BYTES, sealer } from '../../../src/core/seal.ts'
import { createVirtualRuntime } from '../../setup/virtual-runtime.ts'

const SECRET = 'the first secret of thirty-two bytes or more'
const OTHER = 'the other secret of thirty-two bytes or more'
const make = (secrets: readonly string[] = [SECRET], seed = 1, sealsPerSalt?: number) =>
  sealer(deriveKeys(secrets, 'session'), 'session', createVirtualRuntime({ seed }), sealsPerSalt)

describe('seal', () => {
  test('any content opens again, on any server with the secret', () => {
    const [a, b] = [make([SECRET], 1), make([SECRET], 2)]
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (plain) => {
        const text = a.seal('AAAAAAAA', 'id', plain)
        expect(text).toMatch(/^[\w-]+$/)
        expect(Buffer.from(text, 'base64url').length).toBe(plain.length + SEAL_BYTES)
        expect(b.open('AAAAAAAA', 'id', text)).toEqual(Buffer.from(plain))
      }),
      { seed: 1, numRuns: 200 },
    )
  })

  test('every flipped bit is refused, and so is every shortened or lengthened text', () => {
    const { seal, open } = make()
    const text = seal('AAAAAAAA', 'id', Buffer.from('a coupon, used'))
    const raw = Buffer.from(text, 'base64url')
    for (let bit = 0; bit < raw.length * 8; bit++) {
      const damaged = Buffer.from(raw)
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      expect([undefined, 'unknown']).toContain(open('AAAAAAAA', 'id', damaged.toString('base64url')))
    }
    for (let length = 0; length < text.length; length++) expect(open('AAAAAAAA', 'id', text.slice(0, length))).not.toBeInstanceOf(Buffer)
    for (const more of ['A', '=', ' ', '\n', 'AAAA']) expect(open('AAAAAAAA', 'id', text + more)).toBeUndefined()
    expect(open('AAAAAAAA', 'id', text)).toBeInstanceOf(Buffer)
  })

  test('a second spelling of the same bytes is refused', () => {
    const { seal, open } = make()
    for (let length = 0; length < 3; length++) {
      const text = seal('AAAAAAAA', 'id', Buffer.alloc(length))
      const bytes = Buffer.from(text, 'base64url')
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      const twins = [...alphabet]
        .map((letter) => text.slice(0, -1) + letter)
        .filter((twin) => twin !== text && Buffer.from(twin, 'base64url').equals(bytes))
      const opened = twins.map((twin) => open('AAAAAAAA', 'id', twin))
      expect(opened).toEqual(twins.map(() => undefined))
    }
  })

  test('a seal is bound to its name, its session, its cookie and its secret', () => {
    const { seal, open } = make()
    const text = seal('AAAAAAAA', 'id', Buffer.from('x'))
    expect(open('AAAAAAAB', 'id', text)).toBeUndefined()
    expect(open('AAAAAAAA', 'other', text)).toBeUndefined()
    expect(sealer(deriveKeys([SECRET], 'other'), 'other', createVirtualRuntime()).open('AAAAAAAA', 'id', text)).not.toBeInstanceOf(Buffer)
    expect(make([OTHER]).open('AAAAAAAA', 'id', text)).toBe('unknown')
    expect(make([OTHER, SECRET]).open('AAAAAAAA', 'id', text)).toEqual(Buffer.from('x'))
  })

  test('no nonce is used twice under one salt, and the salt is renewed', () => {
    const { seal, open } = make([SECRET], 1, 4)
    const seen = new Set<string>()
    const salts = new Set<string>()
    for (let round = 0; round < 10; round++) {
      const raw = Buffer.from(seal('AAAAAAAA', 'id', Buffer.from('x')), 'base64url')
      seen.add(raw.toString('hex', 3, 19))
      salts.add(raw.toString('hex', 3, 15))
      expect(open('AAAAAAAA', 'id', raw.toString('base64url'))).toEqual(Buffer.from('x'))
    }
    expect(seen.size).toBe(10)
    expect(salts.size).toBe(3)
  })

  test('random text never throws', () => {
    const { open } = make()
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 300 }),
          fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
        ),
        (text) => {
          expect(open('AAAAAAAA', 'id', text)).not.toBeInstanceOf(Buffer)
        },
      ),
      { seed: 2, numRuns: 2_000 },
    )
    expect(open('AAAAAAAA', 'id', 'A'.repeat(5_000))).toBeUndefined()
  })
})
