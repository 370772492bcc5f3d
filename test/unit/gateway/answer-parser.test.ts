import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AnswerParser } from '../../../src/gateway/upstream/answer-parser.ts'

interface Read {
  heads: number[]
  headers: string[]
  body: string
  ended: boolean | undefined
  broken: boolean
}

/** What the parser makes of an answer that arrives in these pieces. */
function read(pieces: readonly string[], method = 'GET', closes = false): Read {
  const result: Read = { heads: [], headers: [], body: '', ended: undefined, broken: false }
  const parser = new AnswerParser()
  parser.begin(method, {
    head: (status, _text, head) => {
      result.heads.push(status)
      result.headers = head.headers
    },
    data: (chunk) => (result.body += chunk.toString('latin1')),
    end: (reusable) => (result.ended = reusable),
  })
  try {
    for (const piece of pieces) parser.read(Buffer.from(piece, 'latin1'))
    if (closes) parser.finish()
  } catch {
    result.broken = true
  }
  return result
}

const answer = (fields: string, body: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n${body}`
const GOOD: readonly (readonly [string, string, string])[] = [
  ['a length', answer('Content-Length: 5\r\nX: y\r\n', 'hello'), 'hello'],
  ['chunks', answer('Transfer-Encoding: chunked\r\nX: y\r\n', '3\r\nhel\r\n2;a="b"\r\nlo\r\n0\r\nT: x\r\n\r\n'), 'hello'],
  ['no body', answer('Content-Length: 0\r\nX: y\r\n', ''), ''],
  [
    'interim heads first',
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${answer('Content-Length: 5\r\nX: y\r\n', 'hello')}`,
    'hello',
  ],
]

describe('answer parser', () => {
  test.each(GOOD)('%s - the same in whatever pieces it arrives', (_name, bytes, body) => {
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), (cuts) => {
        const places = [0, ...cuts, bytes.length].sort((one, other) => one - other)
        const pieces = places
          .slice(1)
          .map((end, at) => bytes.slice(places[at], end))
          .filter((piece) => piece !== '') // prettier-ignore
        const { heads, body: got, ended, broken, headers } = read(pieces)
        expect({ heads, got, ended, broken }).toEqual({ heads: [200], got: body, ended: true, broken: false })
        expect(headers).toContain('y')
      }),
    )
  })

  test('an answer without length ends with its connection, which is not used again', () => {
    expect(read([answer('X: y\r\n', 'hel'), 'lo'], 'GET', true)).toMatchObject({ body: 'hello', ended: false })
    expect(read([answer('X: y\r\n', 'hel')])).toMatchObject({ ended: undefined })
    expect(read([answer('Content-Length: 5\r\n', 'hel')], 'GET', true)).toMatchObject({ ended: undefined })
  })

  test('HEAD, 204 and 304 have no body whatever they say', () => {
    expect(read(['HTTP/1.1 304 Not Modified\r\n\r\n'])).toMatchObject({ body: '', ended: true })
    expect(read(['HTTP/1.1 204 No Content\r\n\r\n'])).toMatchObject({ body: '', ended: true })
    // Its server may go on to send the body it announced.
    expect(read([answer('Content-Length: 5\r\n', '')], 'HEAD')).toMatchObject({ body: '', ended: false })
    expect(read(['HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n'])).toMatchObject({ body: '', ended: false })
    expect(read(['HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n'])).toMatchObject({ body: '', ended: false })
    const { headers, ended } = read(['HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'])
    expect({ headers, ended }).toEqual({ headers: [], ended: false })
  })

  test.each(['x : y', 'a b: c', ' folded: x', 'x: a\nset-cookie: b=1', 'x: a\0b', 'x: a\rb', ': y'])(
    'an unclear field is refused: %j',
    (field) => {
      expect(read([answer(`Content-Length: 0\r\n${field}\r\n`, '')])).toMatchObject({ heads: [], broken: true })
    },
  )

  test('a connection is not used again after close, HTTP/1.0, or more bytes than the answer has', () => {
    for (const bytes of [
      answer('Connection: close\r\nContent-Length: 5\r\n', 'hello'),
      answer('Content-Length: 5\r\n', 'hello').replace('1.1', '1.0'),
      answer('Content-Length: 5\r\n', 'helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
      answer('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'),
    ]) {
      expect(read([bytes])).toMatchObject({ heads: [200], body: 'hello', ended: false })
    }
    expect(read([answer('Content-Length: 0\r\n', ''), 'HTTP/1.1 200 OK\r\n'])).toMatchObject({ heads: [200], broken: true })
  })

  test.each([
    ['both a length and chunks', answer('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['two lengths', answer('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!')],
    ['a list of lengths', answer('Content-Length: 5, 5\r\n', 'hello')],
    ['a signed length', answer('Content-Length: +5\r\n', 'hello')],
    ['another coding', answer('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
    ['chunked twice', answer('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['chunks in HTTP/1.0', answer('Transfer-Encoding: chunked\r\n', '0\r\n\r\n').replace('1.1', '1.0')],
    ['a chunk without size', answer('Transfer-Encoding: chunked\r\n', 'x\r\n')],
    ['a chunk longer than it says', answer('Transfer-Encoding: chunked\r\n', '2\r\nhello\r\n0\r\n\r\n')],
    ['a chunk size with a bare line feed', answer('Transfer-Encoding: chunked\r\n', '5\nhello\r\n0\r\n\r\n')],
    ['an endless chunk size', answer('Transfer-Encoding: chunked\r\n', '0'.repeat(5_000))],
    ['endless trailers', answer('Transfer-Encoding: chunked\r\n', `0\r\n${'T: xxxxxxxxxxxxxx\r\n'.repeat(2_000)}`)],
    ['a field without a name', answer(': y\r\n', '')],
    ['a line that is no field', answer('hello\r\n', '')],
    ['no status line', 'HELLO\r\n\r\n'],
    ['HTTP/2 in words', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['an endless head', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`],
    ['101 unasked', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ])('refuses %s', (_name, bytes) => {
    expect(read([bytes])).toMatchObject({ broken: true, body: _name === 'a chunk longer than it says' ? 'he' : '' })
  })

  test('no bytes whatsoever throw anything but an Error, or end an answer twice', () => {
    const part = fc.constantFrom(
      'HTTP/1.1 200 OK',
      '\r\n',
      '\r\n\r\n',
      'Content-Length: 3',
      'Transfer-Encoding: chunked',
      '3',
      'abc',
      '0',
      '\u0000',
      '\n',
      'X:',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string({ maxLength: 6 })), { maxLength: 16 }), (pieces) => {
        expect(read(pieces.filter((piece) => piece !== '')).heads.length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 2_000 },
    )
  })
})
