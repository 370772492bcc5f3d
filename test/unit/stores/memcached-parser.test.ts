import fc from 'fast-check'
import { expect, test } from 'vitest'
import { memcachedHandshake } from '../../../src/stores/memcached-handshake.ts'
import { flagOf, MemcachedProtocolError, replyParser } from '../../../src/stores/memcached-parser.ts'
import type { MemcachedReply } from '../../../src/stores/memcached-parser.ts'

const token = fc.stringMatching(/^[A-Za-z0-9]{1,12}$/)
const tokens = fc.array(token, { maxLength: 4 })
// Values often look like the protocol itself.
const value = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ unit: fc.constantFrom('\r', '\n', 'VA 2', 'EN', ' ', '\0'), maxLength: 40 }).map((text) => Buffer.from(text)),
)
const replies = fc.array(
  fc.oneof(
    fc.record({ code: fc.constantFrom('HD', 'EN', 'NF', 'NS', 'EX', 'MN', 'STAT', 'END', 'SERVER_ERROR'), tokens }),
    fc.record({ code: fc.constant('VA'), tokens, value }),
  ),
  { maxLength: 8 },
)

function encoded(all: readonly { code: string; tokens: string[]; value?: Buffer }[]): Buffer {
  const parts = all.flatMap(({ code, tokens: flags, value: bytes }) => {
    const line = Buffer.from(`${[code, ...(bytes === undefined ? [] : [bytes.length]), ...flags].join(' ')}\r\n`)
    return bytes === undefined ? [line] : [line, bytes, Buffer.from('\r\n')]
  })
  return Buffer.concat(parts)
}

function parsed(packets: readonly Buffer[], most = 1_000): MemcachedReply[] {
  const parser = replyParser(() => most)
  // A packet's memory may be used again once it was taken: values that came whole are views of it.
  return packets.flatMap((packet) => parser.push(packet).map((reply) => copy(reply)))
}

const copy = (reply: MemcachedReply): MemcachedReply => (reply.value === undefined ? reply : { ...reply, value: Buffer.from(reply.value) })

test('parser - the same replies, wherever the packets are split', () => {
  fc.assert(
    fc.property(replies, (all) => {
      const bytes = encoded(all)
      for (let at = 0; at <= bytes.length; at++) expect(parsed([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(all)
      expect(parsed(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(all)
    }),
    { numRuns: 60 },
  )
})

test('parser - any number of splits at once', () => {
  fc.assert(
    fc.property(replies, fc.array(fc.nat(), { maxLength: 20 }), (all, cuts) => {
      const bytes = encoded(all)
      const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((one, other) => one - other)
      expect(parsed(at.slice(1).map((end, index) => bytes.subarray(at[index], end)))).toEqual(all)
    }),
  )
})

test('parser - bytes of any kind are replies or one clear error, never anything else', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (packets) => {
      try {
        parsed(packets.map((packet) => Buffer.from(packet)))
      } catch (error) {
        expect(error).toBeInstanceOf(MemcachedProtocolError)
      }
    }),
  )
})

test.each([
  ['a value larger than the cap, before anything is allocated', 'VA 4294967295 c1\r\n', /too large/],
  ['a size that is no number', 'VA x c1\r\n', /too large/],
  ['a negative size', 'VA -1 c1\r\n', /too large/],
  ['a missing size', 'VA\r\n', /too large/],
  ['a value that is longer than it said', 'VA 1 c1\r\nabc\r\n', /does not end/],
  ['a line that never ends', 'HD '.padEnd(5_000, 'x'), /too long/],
  ['a line that ends too late', `HD ${'x'.repeat(5_000)}\r\n`, /too long/],
  ['a line without its carriage return', 'HD\n', /does not end/],
  ['an unknown reply', 'HTTP/1.1 400 Bad Request\r\n', /unknown/],
])('parser - refuses %s', (_, text, message) => {
  const run = (packets: readonly Buffer[]) => () => parsed(packets)
  expect(run([Buffer.from(text)])).toThrow(message)
  expect(run([Buffer.from(text)])).toThrow(MemcachedProtocolError)
  expect(run(Array.from(Buffer.from(text), (byte) => Buffer.from([byte])))).toThrow(message)
})

test('parser - a value of exactly the cap is taken', () => {
  const bytes = Buffer.from(`VA 10 c7 Ok\r\n${'x'.repeat(10)}\r\n`)
  const [reply] = parsed([bytes], 10)
  expect(reply?.value?.toString()).toBe('x'.repeat(10))
  expect([flagOf(reply as MemcachedReply, 'c'), flagOf(reply as MemcachedReply, 'O'), flagOf(reply as MemcachedReply, 't')]).toEqual([
    '7',
    'k',
    undefined,
  ])
  expect(() => parsed([bytes], 9)).toThrow(/too large/)
})

test('handshake - tells the item size, does without it, and names what is wrong', () => {
  const outcome = (text: string): unknown => {
    const handshake = memcachedHandshake()
    for (const reply of parsed([Buffer.from(text)])) {
      const found = handshake.take(reply)
      if (found !== undefined) return found.itemBytes ?? 'unknown'
    }
    return 'more'
  }
  expect(outcome('STAT maxconns 1024\r\nSTAT item_size_max 2097152\r\nEND\r\nMN\r\n')).toBe(2_097_152)
  expect(outcome('ERROR\r\nMN\r\n')).toBe('unknown')
  expect(outcome('STAT item_size_max 2097152\r\nEND\r\n')).toBe('more')
  expect(() => outcome('STAT x 1\r\nEND\r\nERROR\r\nERROR\r\n')).toThrow('no meta protocol')
  expect(() => outcome('CLIENT_ERROR unauthenticated\r\n')).toThrow('wants authentication')
  expect(() => outcome('ERROR Too many open connections\r\n')).toThrow('too many connections')
})
