import { describe, expect, test } from 'vitest'
import { readAnswerHead } from '../../../src/gateway/answer-head.ts'
import { addForwarded, clientAddress, readRequestHead } from '../../../src/gateway/request-head.ts'
import { pathOf } from '../../../src/gateway/target.ts'

const direct = { address: '192.0.2.1', trustForwarded: false }
const behindProxy = { address: '192.0.2.1', trustForwarded: true }

function forwarded(raw: string[], facts = direct): string[] {
  const head = readRequestHead(raw, facts.trustForwarded)
  addForwarded(head, facts)
  return head.headers
}

describe('request head', () => {
  test('hop-by-hop fields and those named by Connection stay behind, the rest keeps order and spelling', () => {
    const raw = [
      'Host',
      'a',
      'X-Second',
      '1',
      'Connection',
      'X-Secret, close',
      'X-Secret',
      's',
      'TE',
      'trailers',
      'Keep-Alive',
      'x',
      'X-First',
      '2',
      'Expect',
      '100-continue',
    ]
    expect(forwarded(raw)).toEqual([
      'Host',
      'a',
      'X-Second',
      '1',
      'X-First',
      '2',
      'x-forwarded-for',
      '192.0.2.1',
      'x-forwarded-proto',
      'http',
      'x-forwarded-host',
      'a',
    ])
  })

  test('Connection cannot strip what the gateway adds, nor what gives the request its meaning', () => {
    const raw = [
      'Host',
      'a',
      'Connection',
      'x-forwarded-for, X-Forwarded-Proto, host, content-length, cookie',
      'Content-Length',
      '3',
      'Cookie',
      'c=1',
    ]
    const headers = forwarded(raw)
    expect(headers).toEqual(expect.arrayContaining(['x-forwarded-for', 'x-forwarded-proto', 'Host', 'Content-Length', 'Cookie']))
  })

  test('what a client claims about its way is replaced; behind a trusted proxy it is continued', () => {
    const raw = [
      'Host',
      'a',
      'X-Forwarded-For',
      '203.0.113.9',
      'X-Forwarded-Proto',
      'https',
      'Forwarded',
      'for=1',
      'X-Real-IP',
      '1',
      'X-Forwarded-Port',
      '1',
      'x-holdfast-route',
      'n1',
    ]
    expect(forwarded(raw)).toEqual(['Host', 'a', 'x-forwarded-for', '192.0.2.1', 'x-forwarded-proto', 'http', 'x-forwarded-host', 'a'])
    expect(forwarded(raw.slice(0, 6), behindProxy)).toEqual([
      'Host',
      'a',
      'x-forwarded-for',
      '203.0.113.9, 192.0.2.1',
      'x-forwarded-proto',
      'https',
      'x-forwarded-host',
      'a',
    ]) // prettier-ignore
    const head = readRequestHead(['X-Forwarded-For', 'spoofed, 203.0.113.9'], true)
    expect(clientAddress(head, direct)).toBe('192.0.2.1')
    expect(clientAddress(head, behindProxy)).toBe('203.0.113.9')
  })

  test('two Host fields and a flood of names in Connection are refused', () => {
    expect(readRequestHead(['Host', 'a', 'host', 'b'], false).problem).toContain('one Host')
    const flood = Array.from({ length: 100 }, (_, at) => `x-${at}`).join(',')
    expect(readRequestHead(['Host', 'a', 'Connection', flood], false).problem).toContain('Connection')
  })

  test('knows whether a body follows', () => {
    expect(readRequestHead(['Content-Length', '0'], false).hasBody).toBe(false)
    expect(readRequestHead(['Content-Length', '1'], false).hasBody).toBe(true)
    expect(readRequestHead(['Transfer-Encoding', 'chunked'], false).hasBody).toBe(true)
  })
})

describe('answer head', () => {
  test('keeps order and repetitions, drops hop-by-hop fields and the label', () => {
    const raw = [
      'Set-Cookie',
      'a=1',
      'X-A',
      '1',
      'set-cookie',
      'b=2',
      'Connection',
      'X-Hop, keep-alive',
      'X-Hop',
      '1',
      'Transfer-Encoding',
      'chunked',
      'X-Holdfast-Route',
      'n1',
    ]
    expect(readAnswerHead(raw)).toMatchObject({
      headers: ['Set-Cookie', 'a=1', 'X-A', '1', 'set-cookie', 'b=2'],
      label: 'n1',
    })
  })
})

describe('request target', () => {
  test.each([
    ['/a?b=c', '/a?b=c'],
    ['//evil.example/x', '/evil.example/x'],
    ['/\\evil.example/x', '/evil.example/x'],
    ['///', '/'],
    ['http://good.example/x?y', '/x?y'],
    ['http://GOOD.example?y', '/?y'],
    ['http://good.example//evil', '/evil'],
    ['http://evil.example/x', undefined],
    ['http://good.example@evil.example/x', undefined],
    ['http://good.example:80/x', undefined],
    ['ftp://good.example/x', undefined],
    ['*', undefined],
    ['good.example:80', undefined],
    ['/a b', undefined],
    ['/a\u0000', undefined],
    ['', undefined],
  ])('%s becomes %s', (target, path) => {
    expect(pathOf(target, 'good.example')).toBe(path)
  })
})
