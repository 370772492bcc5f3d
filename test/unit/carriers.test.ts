import type { AddressInfo } from 'node:net'
import express from 'express'
import { afterEach, describe, expect, test } from 'vitest'
import { expressSessions } from '../../src/adapters/express.ts'
import { createSessions } from '../../src/sessions.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import type { BaseOptions, CookieOptions } from '../../src/types.ts'

const SECRETS = 'a secret for tests, long enough to be one'
const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

type Options = Partial<BaseOptions<Record<string, unknown>>>

/** An application that counts visits, behind a proxy that it trusts, or not. */
async function app(
  options: Options,
  trustProxy?: boolean,
): Promise<(headers?: Record<string, string>, method?: string) => Promise<Response>> {
  const sessions = createSessions({ secrets: SECRETS, strategy: isolated(), logger: { warn() {}, error() {} }, ...options })
  const site = express()
  if (trustProxy !== undefined) site.set('trust proxy', trustProxy)
  site.use(expressSessions(sessions))
  site.all('/', (request, response) => {
    const { data } = sessions.of(request)
    data['visits'] = Number(data['visits'] ?? 0) + 1
    response.json(data)
  })
  const server = site.listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  stops.push(() => {
    server.closeAllConnections()
    server.close()
    void sessions.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return (headers = {}, method = 'GET') => fetch(url, { headers, method })
}

const rootOf = (response: Response): string => response.headers.getSetCookie()[0] ?? ''
const attributesOf = (cookie: string): string => cookie.slice(cookie.indexOf(';') + 2)

describe('cookies behind a proxy', () => {
  test.each([undefined, true, false])(
    'name and Secure come from the options, whatever X-Forwarded-* says (trust proxy: %s)',
    async (trust) => {
      const visit = await app({ cookie: { secure: true } }, trust)
      const attributes = new Set<string>()
      for (const forwarded of ['http', 'https', 'https, http', undefined]) {
        const headers =
          forwarded === undefined ? {} : { 'x-forwarded-proto': forwarded, 'x-forwarded-host': 'evil.test', 'x-forwarded-for': '1.2.3.4' }
        const cookie = rootOf(await visit(headers))
        expect(cookie).toMatch(/^__Host-session=/)
        attributes.add(attributesOf(cookie))
      }
      expect([...attributes]).toEqual(['Path=/; HttpOnly; Secure; SameSite=Lax'])
    },
  )

  test('a proxy that changes Host: Sec-Fetch-Site decides, and without it Origin must be the Host that arrives', async () => {
    const visit = await app({ cookie: { secure: true } }, true)
    const cookie = rootOf(await visit()).split(';')[0] as string
    const post = async (headers: Record<string, string>): Promise<number> => (await visit({ cookie, ...headers }, 'POST')).status
    const forwarded = { 'x-forwarded-host': 'shop.test', 'x-forwarded-proto': 'https' }
    expect(await post({ ...forwarded, origin: 'https://shop.test', 'sec-fetch-site': 'same-origin' })).toBe(200)
    expect(await post({ ...forwarded, origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' })).toBe(403)
    // What a visitor could have sent himself is no proof.
    expect(await post({ ...forwarded, origin: 'https://shop.test' })).toBe(403)
    expect(await post(forwarded)).toBe(200)
  })
})

describe('prefixes', () => {
  test.each<[CookieOptions, string, RegExp]>([
    [{}, '__Host-session', /^Path=\/; HttpOnly; Secure; SameSite=Lax$/],
    [{ path: '/app' }, '__Secure-session', /^Path=\/app; HttpOnly; Secure/],
    [{ domain: 'shop.test' }, '__Secure-session', /^Domain=shop\.test; Path=\/; HttpOnly; Secure/],
    [{ secure: false }, 'session', /^Path=\/; HttpOnly; SameSite=Lax$/],
    [{ partitioned: true, sameSite: 'none' }, '__Host-session', /^Path=\/; HttpOnly; Secure; Partitioned; SameSite=None$/],
  ])('%j', async (cookie, name, attributes) => {
    const visit = await app({ cookie: { secure: true, ...cookie } })
    const root = rootOf(await visit())
    expect(root.split('=')[0]).toBe(name)
    expect(attributesOf(root)).toMatch(attributes)
  })

  test('a deletion carries what the cookie was set with: else a browser keeps it', async () => {
    const sessions = createSessions({
      secrets: SECRETS,
      strategy: cookieBased(),
      cookie: { secure: true, partitioned: true, sameSite: 'none', path: '/app' },
    })
    const { cookie } = await sessions.create({ data: { a: 1 } })
    const open = await sessions.open({ method: 'GET', url: '/', header: (name) => (name === 'cookie' ? cookie : undefined) })
    await open.session.logout()
    const { cookies } = await open.commit()
    for (const deleted of cookies)
      expect(deleted).toMatch(/=; Max-Age=0; Path=\/app; Expires=.*; HttpOnly; Secure; Partitioned; SameSite=None$/)
    expect(cookies).toHaveLength(2)
  })

  test('no fallback from a prefixed name to a bare one', async () => {
    const visit = await app({ cookie: { secure: true } })
    const value = (rootOf(await visit()).split(';')[0] as string).split('=')[1] as string
    for (const name of ['session', '__Secure-session', '__host-session']) {
      expect(await (await visit({ cookie: `${name}=${value}` })).json()).toEqual({ visits: 1 })
    }
    expect(await (await visit({ cookie: `__Host-session=${value}` })).json()).toEqual({ visits: 2 })
  })
})

describe('carriers', () => {
  test('header: no cookie is set, a token by cookie is no session, and a session begins only for who asks', async () => {
    const visit = await app({ carrier: 'header' })
    const made = await visit({ 'x-session-token': '' })
    const token = made.headers.get('x-session-token') as string
    expect([made.headers.getSetCookie(), token !== '', made.headers.get('access-control-expose-headers')]).toEqual([
      [],
      true,
      'x-session-token',
    ])
    expect(made.headers.get('cache-control')).toBe('no-store')
    const again = await visit({ 'x-session-token': token })
    expect(await again.json()).toEqual({ visits: 2 })
    const [root] = token.split('~')
    expect(await (await visit({ cookie: `__Host-session=${root}; session=${root}` })).json()).toEqual({ visits: 1 })
  })

  test('both: an answer uses the carrier of its request, and a token of one is none of the other', async () => {
    const visit = await app({ carrier: 'both', cookie: { secure: false } })
    const byCookie = await visit()
    const byHeader = await visit({ 'x-session-token': '' })
    expect([byCookie.headers.getSetCookie().length > 0, byCookie.headers.get('x-session-token')]).toEqual([true, null])
    expect([byHeader.headers.getSetCookie(), byHeader.headers.get('x-session-token') === null]).toEqual([[], false])
    const cookie = rootOf(byCookie).split(';')[0] as string
    expect(await (await visit({ 'x-session-token': cookie.split('=')[1] as string })).json()).toEqual({ visits: 1 })
    expect(byHeader.headers.get('vary')).toMatch(/x-session-token/i)
  })
})
