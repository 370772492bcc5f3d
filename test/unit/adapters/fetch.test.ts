import { describe, expect, test } from 'vitest'
import { fetchSessions } from '../../../src/adapters/fetch.ts'
import { SessionError } from '../../../src/errors.ts'
import type { RequestView } from '../../../src/types.ts'
import { sessionsDouble } from '../../setup/session-double.ts'

const request = (): Request => new Request('http://shop.test/path?query', { headers: { Cookie: 'a=1' } })
const COOKIE = { cookies: ['s=1'], headers: [] as [string, string][] }

describe('fetchSessions', () => {
  test('a Response without a body to which nothing is added is passed on as it is', async () => {
    const sessions = sessionsDouble()
    const response = new Response(null, { status: 204 })
    expect(await fetchSessions(sessions)(() => response)(request())).toBe(response)
    expect(sessions.calls).toEqual(['settle', 'headSent', 'end'])
  })

  test('a session ends when the body has been read', async () => {
    const sessions = sessionsDouble()
    const answer = await fetchSessions(sessions)(() => new Response('body'))(request())
    expect(sessions.calls).toEqual(['settle', 'headSent'])
    expect(await answer.text()).toBe('body')
    expect(sessions.calls).toEqual(['settle', 'headSent', 'end'])
  })

  test('a session ends when the body is cancelled or fails', async () => {
    const cancelled = sessionsDouble()
    await (await fetchSessions(cancelled)(() => new Response('body'))(request())).body?.cancel()
    expect(cancelled.calls.at(-1)).toBe('end')
    const failing = sessionsDouble()
    const body = new ReadableStream({ pull: (controller) => controller.error(new Error('broken')) })
    const answer = await fetchSessions(failing)(() => new Response(body))(request())
    await expect(answer.text()).rejects.toThrow('broken')
    expect(failing.calls.at(-1)).toBe('end')
  })

  test('immutable headers, the status and its text are kept in a new Response', async () => {
    const redirect = Response.redirect('http://shop.test/next', 303)
    const answer = await fetchSessions(sessionsDouble({ settle: COOKIE }))(() => redirect)(request())
    expect([answer.status, answer.headers.get('location'), answer.headers.getSetCookie()]).toEqual([303, 'http://shop.test/next', ['s=1']])
    const named = new Response(null, { status: 404, statusText: 'Nothing here' })
    expect((await fetchSessions(sessionsDouble({ settle: COOKIE }))(() => named)(request())).statusText).toBe('Nothing here')
  })

  test('an answer that cannot be made again is passed on: Response.error()', async () => {
    const error = Response.error()
    expect(await fetchSessions(sessionsDouble({ settle: COOKIE }))(() => error)(request())).toBe(error)
  })

  test('a failed commit cancels the body of the handler', async () => {
    let cancelled = false
    const body = new ReadableStream({
      cancel() {
        cancelled = true
      },
    })
    const sessions = sessionsDouble({
      needsCommit: true,
      commit: () => Promise.reject(new SessionError('STORE_UNAVAILABLE', 'Try again.')),
    })
    const answer = await fetchSessions(sessions)(() => new Response(body))(request())
    expect(answer.status).toBe(503)
    expect(await answer.json()).toEqual({ error: { code: 'STORE_UNAVAILABLE', message: 'Try again.' } })
    expect(cancelled).toBe(true)
    expect(sessions.calls).toEqual(['commit', 'headSent', 'end'])
  })

  test('an exception and what is no Response are passed on, and the session ends', async () => {
    const sessions = sessionsDouble({ needsCommit: true })
    const failing = fetchSessions(sessions)(() => {
      throw new Error('in the handler')
    })
    await expect(failing(request())).rejects.toThrow('in the handler')
    expect(sessions.calls).toEqual(['end'])
    await expect(fetchSessions(sessions)(() => undefined as never)(request())).rejects.toThrow(TypeError)
    expect(sessions.calls).toEqual(['end', 'end'])
  })

  test('what the engine reads of a request, the host from the URL where there is no header', async () => {
    let view: RequestView | undefined
    const sessions = sessionsDouble()
    const openNow = sessions.openNow
    sessions.openNow = (given) => {
      view = given
      return openNow(given)
    }
    await fetchSessions(sessions)(() => new Response(null))(request())
    expect([view?.method, view?.url, view?.header('cookie'), view?.header('host'), view?.header('origin')]).toEqual([
      'GET',
      '/path?query',
      'a=1',
      'shop.test',
      undefined,
    ])
  })

  test('further arguments of the server reach the handler', async () => {
    const handler = fetchSessions(sessionsDouble())(
      (_request, _session, env: { name: string }, count: number) => new Response(`${env.name} ${count}`),
    )
    expect(await (await handler(request(), { name: 'worker' }, 2)).text()).toBe('worker 2')
  })
})
