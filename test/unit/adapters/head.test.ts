import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amendHead, amendHeaders, mergedValue } from '../../../src/adapters/head.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nSet-Cookie: a=1\r\nCache-Control: public\r\nX-Vary: keep\r\n\r\n'

describe('amendHead', () => {
  test('cookies are added, in order, after those of the application', () => {
    const head = amendHead(HEAD, { cookies: ['s=1; Path=/', 's-f=2; Path=/'], headers: [] })
    expect(head).toBe(`${HEAD.slice(0, -2)}Set-Cookie: s=1; Path=/\r\nSet-Cookie: s-f=2; Path=/\r\n\r\n`)
  })

  test('vary grows, cache-control is replaced, names are found in any case and only whole', () => {
    const result = {
      cookies: [],
      headers: [
        ['vary', 'Cookie'],
        ['cache-control', 'no-store'],
      ] as [string, string][],
    }
    expect(amendHead(HEAD, result)).toBe(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Vary: keep\r\nvary: Accept-Encoding, Cookie\r\ncache-control: no-store\r\n\r\n',
    )
  })

  test('a value with the special characters of String.replace is sent as it is', () => {
    expect(amendHead(HEAD, { cookies: ["s=$&$1$'"], headers: [['vary', '$&']] })).toContain(
      "vary: Accept-Encoding, $&\r\nSet-Cookie: s=$&$1$'",
    )
  })

  test('several lines of one list are joined into one', () => {
    const head = 'HTTP/1.1 200 OK\r\nVary: A\r\nX: 1\r\nvary: B\r\n\r\n'
    expect(amendHead(head, { cookies: [], headers: [['vary', 'Cookie']] })).toBe('HTTP/1.1 200 OK\r\nX: 1\r\nvary: A, B, Cookie\r\n\r\n')
  })

  test('nothing to add changes nothing', () => {
    expect(amendHead(HEAD, { cookies: [], headers: [] })).toBe(HEAD)
    const wildcard = 'HTTP/1.1 200 OK\r\nVary: *\r\n\r\n'
    expect(amendHead(wildcard, { cookies: [], headers: [['vary', 'Cookie']] })).toBe(wildcard)
  })

  test('text and Headers come out the same, whatever was there', () => {
    const token = fc.constantFrom('Cookie', 'cookie', 'Accept', 'Origin', 'x-a')
    const list = fc.array(token, { maxLength: 4 }).map((tokens) => tokens.join(', '))
    const name = fc.constantFrom('vary', 'access-control-expose-headers', 'cache-control', 'x-session-token')
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(name, list), { selector: ([each]) => each }),
        fc.array(fc.tuple(name, token)),
        (present, added) => {
          const text = `HTTP/1.1 200 OK\r\n${present.map(([each, value]) => `${each}: ${value}\r\n`).join('')}\r\n`
          const headers = new Headers(present)
          amendHeaders(headers, { cookies: [], headers: added })
          const lines = amendHead(text, { cookies: [], headers: added }).split('\r\n').slice(1, -2)
          const fromText = new Headers(
            lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as [string, string]),
          )
          expect([...fromText]).toEqual([...headers])
        },
      ),
    )
  })
})

test('mergedValue - no value is there twice, and nothing is lost', () => {
  expect(mergedValue('vary', 'a, B', 'b, C')).toBe('a, B, C')
  expect(mergedValue('Vary', 'cookie', 'Cookie')).toBeUndefined()
  expect(mergedValue('vary', '', 'Cookie')).toBe('Cookie')
  expect(mergedValue('vary', 'a, *', 'Cookie')).toBeUndefined()
  expect(mergedValue('cache-control', 'public', 'no-store')).toBe('no-store')
})
