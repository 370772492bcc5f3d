/** What only a real browser decides: prefixes, partitions, and a page whose cookies are off. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { stripTypeScriptTypes } from 'node:module'
import type { Frame, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { nodeSessions } from '../../src/adapters/node.ts'
import { createSessions } from '../../src/sessions.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import type { BaseOptions } from '../../src/types.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'

type Data = Record<string, unknown>
type Options = Pick<BaseOptions<Data>, 'carrier' | 'cookie'>

const HELPER = stripTypeScriptTypes(readFileSync(new URL('../../src/browser.ts', import.meta.url), 'utf8'))
const SERVERS = 3

let browser: RunningBrowser
const servers: Server[] = []
beforeAll(async () => void (browser = await startBrowser()))
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
  await Promise.all(browser.context.pages().map((page) => page.close()))
  await browser.context.clearCookies()
})
afterAll(() => browser?.close())

/** Three servers behind one port. `/` is a page with `frame` in it, `/set` takes fields, `/session` reads. Resolves to the port. */
async function start(options: Options, frame = ''): Promise<number> {
  const listeners = Array.from({ length: SERVERS }, () =>
    nodeSessions(createSessions<Data>({ secrets: 'a secret for tests, long enough to be one', strategy: cookieBased(), ...options }))(
      async (request, response, session) => {
        const { pathname, searchParams } = new URL(request.url as string, 'http://site.test')
        if (pathname === '/set') for (const [name, value] of searchParams) session.data[name] = value
        if (pathname === '/login') await session.login('ada')
        if (pathname === '/logout') await session.logout()
        await new Promise((done) => setTimeout(done, Math.random() * 20))
        response.end(JSON.stringify({ user: session.userId ?? null, ...session.data }))
      },
    ),
  )
  let turn = 0
  const server = createServer((request, response) => {
    if (request.url === '/browser.js') response.writeHead(200, { 'content-type': 'text/javascript' }).end(HELPER)
    else if (request.url === '/') response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>page</title>${frame}`)
    else listeners[turn++ % SERVERS]?.(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return (server.address() as AddressInfo).port
}

async function open(url: string): Promise<Page> {
  const page = await browser.context.newPage()
  await page.goto(url)
  return page
}

const ask = (page: Page | Frame, path: string): Promise<Data> =>
  page.evaluate(`fetch(${JSON.stringify(path)}).then((answer) => answer.json())`) as Promise<Data>

describe('prefixes in Chromium', () => {
  test.each([
    [{ secure: true }, '__Host-session'],
    [{ secure: true, path: '/', domain: 'localhost' }, '__Secure-session'],
  ] as const)('%j: the cookies are kept, sent back, and out of reach of scripts', async (cookie, name) => {
    const page = await open(`http://localhost:${await start({ cookie })}/`)
    await ask(page, '/set?a=1')
    expect(await ask(page, '/session')).toMatchObject({ a: '1' })
    const kept = await browser.context.cookies()
    expect(kept.length).toBeGreaterThanOrEqual(2)
    for (const one of kept) {
      expect(one.name).toMatch(new RegExp(`^${name}`))
      expect(one).toMatchObject({ secure: true, httpOnly: true, sameSite: 'Lax' })
    }
    expect(await page.evaluate('document.cookie')).toBe('')
    await ask(page, '/logout')
    expect(await browser.context.cookies()).toEqual([])
  })

  test('Chromium refuses a script that plants a __Host- cookie for a parent domain', async () => {
    const page = await open(`http://localhost:${await start({ cookie: { secure: true } })}/`)
    await page.evaluate(`document.cookie = '__Host-session=planted; domain=localhost; path=/; secure'`)
    expect(await browser.context.cookies()).toEqual([])
  })
})

describe('a frame in a page of another site', () => {
  const cookie = { secure: true, partitioned: true, sameSite: 'none' } as const

  async function framed(page: Page): Promise<Frame> {
    await page.waitForSelector('iframe')
    const frame = page.frames()[1] as Frame
    await frame.waitForLoadState()
    return frame
  }

  test('Partitioned: each page around it gives it a session of its own', async () => {
    const inner = await start({ cookie })
    const outer = await start({}, `<iframe src="http://127.0.0.1:${inner}/"></iframe>`)
    const page = await open(`http://localhost:${outer}/`)
    const frame = await framed(page)
    await ask(frame, '/set?a=1')
    expect(await ask(frame, '/session')).toMatchObject({ a: '1' })
    await page.reload()
    expect(await ask(await framed(page), '/session')).toMatchObject({ a: '1' })
    // By itself it is another visitor.
    const alone = await open(`http://127.0.0.1:${inner}/`)
    expect(await ask(alone, '/session')).toEqual({ user: null })
    await ask(alone, '/set?b=2')
    expect(await ask(await framed(page), '/session')).toEqual({ user: null, a: '1' })
  })
})

describe('a page whose cookies are off', () => {
  const PARALLEL = `import('/browser.js').then(async ({ sessionFetch }) => {
    const client = sessionFetch({ storage: sessionStorage })
    const ask = (path) => client.fetch(path).then((answer) => answer.json())
    await ask('/login')
    await Promise.all(Array.from({ length: 40 }, (_, n) => ask('/set?field' + n + '=' + n)))
    return ask('/session')
  })`
  const LATER = `import('/browser.js').then(async ({ sessionFetch }) => {
    const client = sessionFetch({ storage: sessionStorage })
    const before = await (await client.fetch('/session')).json()
    await client.fetch('/logout')
    return { before, after: await (await client.fetch('/session')).json(), token: client.token(), stored: sessionStorage.length }
  })`

  test.each(['header', 'both'] as const)(
    'carrier %s: the helper keeps the session over parallel requests, a reload and a logout',
    async (carrier) => {
      const page = await open(`http://localhost:${await start({ carrier })}/`)
      const seen = (await page.evaluate(PARALLEL)) as Data
      expect(Object.keys(seen)).toHaveLength(41)
      expect(seen['user']).toBe('ada')
      expect(await browser.context.cookies()).toEqual([])
      await page.reload()
      const later = (await page.evaluate(LATER)) as { before: Data; after: Data; token: string; stored: number }
      expect(Object.keys(later.before)).toHaveLength(41)
      expect(later).toMatchObject({ after: { user: null }, token: '', stored: 0 })
    },
  )
})
