import { expect, test } from 'vitest'
import { answerTo, renderAnswer } from '../../../src/adapters/commit-error.ts'
import { SessionError } from '../../../src/errors.ts'

function policy(onCommitError?: () => never): {
  onCommitError: (() => never) | undefined
  logger: Pick<Console, 'warn' | 'error'>
  logged: unknown[]
} {
  const logged: unknown[] = []
  return { onCommitError, logger: { warn: (message) => logged.push(message), error: (message) => logged.push(message) }, logged }
}

test('the default answer - status, code, message and headers of the error, never cached', () => {
  const error = new SessionError('SESSION_GONE', 'Send the request again.', {
    headers: { 'retry-after': '1', 'Set-Cookie': 's=; Max-Age=0' },
  })
  expect(answerTo(error, {}, policy())).toEqual({
    status: 409,
    headers: {
      'retry-after': '1',
      'Set-Cookie': 's=; Max-Age=0',
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
    },
    body: '{"error":{"code":"SESSION_GONE","message":"Send the request again."}}',
  })
})

test('the default answer - an unknown error is reported and its message kept from the visitor', () => {
  const { logged, ...reporting } = policy()
  const { status, body } = answerTo(new Error('internal detail'), {}, reporting)
  expect(status).toBe(500)
  expect(body).not.toContain('internal detail')
  expect(logged).toHaveLength(1)
})

test('onCommitError - its headers win over those of the error, in any case of letters', () => {
  const error = new SessionError('STORE_UNAVAILABLE', 'x', { headers: { 'retry-after': '1' } })
  const answer = answerTo(
    error,
    {},
    policy(() => ({ status: 503, headers: { 'Retry-After': '7' } }) as never),
  )
  expect(answer.headers).toEqual({ 'retry-after': '7' })
})

test.each([
  [{ status: 99 }],
  [{ status: 200.5 }],
  [{ status: 503, body: 5 }],
  [{ status: 503, headers: { 'bad name': 'x' } }],
  [undefined],
])('onCommitError - %j is no answer: the default takes its place', (wrong) => {
  const { logged, ...reporting } = policy(() => wrong as never)
  expect(answerTo(new SessionError('STORE_UNAVAILABLE', 'x'), {}, reporting).status).toBe(503)
  expect(logged).toHaveLength(1)
})

test('renderAnswer - framing is ours, whatever onCommitError says', () => {
  const answer = { status: 503, headers: { 'content-length': '9999', 'Transfer-Encoding': 'chunked', 'x-a': '1' }, body: 'grüße' }
  const { head, body } = renderAnswer(answer, 'GET', 'Connection: close\r\n')
  expect(head).toMatch(
    /^HTTP\/1\.1 503 Service Unavailable\r\nx-a: 1\r\nDate: [^\r]+ GMT\r\nConnection: close\r\nContent-Length: 7\r\n\r\n$/,
  )
  expect(body.toString()).toBe('grüße')
  expect(renderAnswer(answer, 'HEAD', '').body).toHaveLength(0)
  expect(renderAnswer({ status: 204, body: 'x' }, 'GET', '').head).not.toContain('Content-Length')
})
