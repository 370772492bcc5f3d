import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { macOf } from '../../../src/core/mac.ts'

const bytes = fc.uint8Array({ maxLength: 200 })

test('a MAC is HMAC-SHA-256 as node computes it, for every key and message', () => {
  fc.assert(
    fc.property(bytes, fc.array(bytes, { maxLength: 4 }), (key, messages) => {
      const mac = macOf(key)
      for (const message of messages) {
        expect(Buffer.from(mac(message), 'latin1').toString('hex')).toBe(createHmac('sha256', key).update(message).digest('hex'))
      }
    }),
  )
})

test('RFC 4231, test cases 2 and 6', () => {
  const hex = (key: Buffer, text: string): string => Buffer.from(macOf(key)(Buffer.from(text)), 'latin1').toString('hex')
  expect(hex(Buffer.from('Jefe'), 'what do ya want for nothing?')).toBe('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')
  expect(hex(Buffer.alloc(131, 0xaa), 'Test Using Larger Than Block-Size Key - Hash Key First')).toBe(
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  )
})
