import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fetchSessions } from '../../src/adapters/fetch.ts'
import { mergedToken, sessionFetch, type TokenStorage } from '../../src/browser.ts'
import { createSessions } from '../../src/sessions.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import type { Session, Sessions } from '../../src/types.ts'
import { seededRandom } from '../setup/virtual-runtime.ts'

const [OLD, NEW] = ['an old secret, long enough to be one', 'a new secret, as long as the old one']
const SITE = 'https://shop.test'
type Data = Record<string, number>

function server(secrets: string | string[] = OLD): Sessions<Data> {
  return createSessions<Data>({ secrets, strategy: cookieBased(), carrier: 'header' })
}

async function serve(session: Session<Data>, { pathname, searchParams }: URL): Promise<Response> {
  if (pathname === '/set') for (const [name, value] of searchParams) session.data[name] = Number(value)
  if (pathname === '/login') await session.login(searchParams.get('user') as string)
  if (pathname === '/logout') await session.logout()
  return Response.json({ user: session.userId ?? null, ...session.data })
}

/** What the network gives: requests reach servers in turn, answers are held until `next` says which arrives. */
function site(servers: readonly Sessions<Data>[]): {
  fetch: typeof fetch
  seen: Request[]
  release(pick: (count: number) => number): Promise<void>
} {
  const handlers = servers.map((sessions) => fetchSessions(sessions)((request, session) => serve(session, new URL(request.url))))
  const held: (() => void)[] = []
  const seen: Request[] = []
  return {
    seen,
    async fetch(input, init) {
      const request = new Request(input as Request, init)
      seen.push(request)
      const response = await (handlers[seen.length % handlers.length] as (request: Request) => Promise<Response>)(request)
      await new Promise<void>((arrive) => held.push(arrive))
      return response
    },
    async release(pick) {
      const soon = (): Promise<void> => new Promise((done) => setImmediate(done))
      for (let idle = 0; idle < 5; idle++) {
        await soon()
        while (held.length > 0) {
          idle = 0
          held.splice(pick(held.length), 1)[0]?.()
          await soon()
        }
      }
    },
  }
}

describe('the session of a page whose cookies are off', () => {
  test('parallel requests over three servers, answered in any order, lose no field', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
        const random = seededRandom(seed)
        const network = site([server(), server(), server()])
        const client = sessionFetch({ fetch: network.fetch })
        const ask = async (path: string): Promise<Data> => (await client.fetch(SITE + path)).json() as Promise<Data>
        const settle = (): Promise<void> => network.release((count) => random.between(0, count - 1))
        const first = ask('/set?n0=0')
        await settle()
        await first
        const all: Promise<Data>[] = []
        for (let batch = 0; batch < 5; batch++) {
          for (let n = 0; n < 4; n++) all.push(ask(`/set?n${batch * 4 + n + 1}=1`))
          if (random.chance(0.7)) await settle()
        }
        await settle()
        await Promise.all(all)
        const last = ask('/')
        await settle()
        const { user: _user, ...fields } = await last
        expect(Object.keys(fields)).toHaveLength(21)
      }),
      { numRuns: 15 },
    )
  })

  test('a login gives another id, a slow answer to the old one changes nothing, a logout ends it', async () => {
    const network = site([server()])
    const client = sessionFetch({ fetch: network.fetch })
    const at = async (index: number, work: Promise<Response>): Promise<Data & { user: string | null }> => {
      await network.release(() => index)
      return (await work).json() as Promise<Data & { user: string | null }>
    }
    await at(0, client.fetch(`${SITE}/set?a=1`))
    const slow = client.fetch(`${SITE}/set?b=2`)
    await new Promise((done) => setImmediate(done))
    const login = client.fetch(`${SITE}/login?user=ada`)
    await network.release((count) => count - 1)
    await Promise.all([slow, login])
    expect(await at(0, client.fetch(SITE))).toMatchObject({ user: 'ada', a: 1 })
    await at(0, client.fetch(`${SITE}/logout`))
    expect(client.token()).toBe('')
    expect(await at(0, client.fetch(SITE))).toEqual({ user: null })
  })

  test('the token stays the same session while secrets are rotated', async () => {
    const network = site([server(OLD), server([NEW, OLD]), server([OLD, NEW])])
    const client = sessionFetch({ fetch: network.fetch })
    for (let n = 0; n < 9; n++) {
      const answer = client.fetch(`${SITE}/set?n${n}=1`)
      // The server that knows only the old secret goes first, and is gone from then on.
      await network.release(() => 0)
      const body = await (await answer).json()
      if (n > 2) expect(Object.keys(body as object).length).toBeGreaterThan(1)
    }
  })

  test('the token goes to the own origin only, and is kept where the application says', async () => {
    const items = new Map<string, string>()
    const storage: TokenStorage = {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
      removeItem: (key) => void items.delete(key),
    }
    const network = site([server()])
    const client = sessionFetch({ fetch: network.fetch, storage, storageKey: 'mine' })
    for (const url of [`${SITE}/set?a=1`, 'https://elsewhere.test/', SITE]) {
      const answer = client.fetch(url)
      await network.release(() => 0)
      await answer
    }
    expect(network.seen.map((request) => request.headers.get('x-session-token'))).toEqual(['', null, items.get('mine')])
    client.forget()
    expect(items.size).toBe(0)
  })

  test('answers that cross: what one added and another took away both count', () => {
    const root = 'r'.repeat(55)
    const other = 'o'.repeat(55)
    expect(mergedToken(`${root}~a.1~b.2`, `${root}~a.1`, `${root}~c.3`)).toBe(`${root}~b.2~c.3`)
    expect(mergedToken('', '', `${root}~a.1`)).toBe(`${root}~a.1`)
    expect(mergedToken(`${root}~a.1`, '', '')).toBe(`${root}~a.1`)
    expect(mergedToken(`${other}~x.1`, `${root}~a.1`, `${root}~a.1~b.2`)).toBe(`${other}~x.1`)
    expect(mergedToken(`${other}~x.1`, `${root}~a.1`, '')).toBe(`${other}~x.1`)
    expect(mergedToken(`${root}~a.1`, `${root}~a.1`, '')).toBe('')
    expect(mergedToken(`${root}~a.1`, `${root}~a.1`, `${other}~x.1`)).toBe(`${other}~x.1`)
  })
})
