import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import type { CookieBasedOptions } from '../../src/strategies/cookie-based.ts'
import { type CookieSite, startCookieSite } from '../setup/cookie-site.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'

let browser: RunningBrowser
let site: CookieSite | undefined
beforeAll(async () => void (browser = await startBrowser()))
afterEach(async () => {
  await site?.close()
  site = undefined
  await browser.context.clearCookies()
})
afterAll(() => browser?.close())

async function open(options: () => CookieBasedOptions = () => ({})): Promise<Page> {
  site = await startCookieSite(options)
  const page = await browser.context.newPage()
  await page.goto(site.url)
  return page
}

/** Runs in the page: statuses of the answers. */
const FETCHES = `async ([path, bodies, parallel]) => {
  const left = bodies.map((body, index) => [index, body])
  const statuses = []
  const wait = () => Math.floor(Math.random() * 25)
  const worker = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      const answer = await fetch(path + '?before=' + wait() + '&after=' + wait(), { method: 'POST', body: JSON.stringify(next[1]) })
      statuses.push(answer.status)
      await answer.text()
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return statuses
}`

function fetches(page: Page, path: string, bodies: object[], parallel: number): Promise<number[]> {
  return page.evaluate(`(${FETCHES})(${JSON.stringify([path, bodies, parallel])})`) as Promise<number[]>
}

function read(page: Page): Promise<Record<string, unknown>> {
  return page.evaluate(`fetch('/session').then((answer) => answer.json())`) as Promise<Record<string, unknown>>
}

/** Text that nothing compresses. */
const noise = (bytes: number): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)))
    .toString('base64')
    .slice(0, bytes)
const cart = (count: number): object[] =>
  Array.from({ length: count }, (_, index) => ({
    id: 1_000 + ((index * 7_919) % 9_000),
    name: ['kelp', 'limpet', 'anchor'][index % 3],
    price: ((index * 131) % 10_000) / 100,
    added: `2026-11-${10 + (index % 20)}T10:${10 + (index % 49)}:00Z`,
  }))

describe('cookieBased in Chromium, three servers', () => {
  test('240 parallel fetches with random delays, each to a field of its own or a counter: none is lost, none refused', async () => {
    const page = await open()
    await fetches(page, '/set', [{ start: 1 }], 1)
    const writes = Array.from({ length: 200 }, (_, index) => ({ [`f${index % 40}`]: index }))
    expect(new Set(await fetches(page, '/set', writes.slice(0, 40), 6))).toEqual(new Set([200]))
    expect(
      new Set(
        await fetches(
          page,
          '/add',
          Array.from({ length: 200 }, () => ({ n: 1 })),
          6,
        ),
      ),
    ).toEqual(new Set([200]))
    const data = await read(page)
    expect(data.n).toBe(200)
    for (let index = 0; index < 40; index++) expect(data[`f${index}`]).toBe(index)
    expect(site?.mostHeaderBytes).toBeLessThan(12_000)
    expect([...(site as CookieSite).statuses.keys()]).toEqual([200])
    await page.close()
  })

  test('4.8 KB that nothing compresses work by default, and bursts of parallel writes on them', async () => {
    const page = await open()
    const big = noise(4_800)
    expect(await fetches(page, '/set', [{ big }], 1)).toEqual([200])
    for (let round = 1; round <= 5; round++) {
      const writes = Array.from({ length: 6 }, (_, index) => ({ [`f${index}`]: round }))
      expect(await fetches(page, '/set', writes, 6)).toEqual(writes.map(() => 200))
    }
    expect(await read(page)).toEqual({ big, ...Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`f${index}`, 5])) })
    expect([...(site as CookieSite).statuses.keys()]).toEqual([200])
    await page.close()
  })

  test('9 KB of ordinary JSON work with compress, and not without', async () => {
    let page = await open()
    expect(JSON.stringify(cart(130)).length).toBeGreaterThan(9_000)
    expect(await fetches(page, '/set', [{ a: 1 }, { cart: cart(130) }], 1)).toEqual([200, 500])
    expect(await read(page)).toEqual({ a: 1 })
    await page.close()
    await site?.close()
    await browser.context.clearCookies()
    page = await open(() => ({ compress: true }))
    expect(await fetches(page, '/set', [{ a: 1 }, { cart: cart(130) }, { a: 2 }], 1)).toEqual([200, 200, 200])
    expect(await read(page)).toEqual({ a: 2, cart: cart(130) })
    await page.close()
  })

  test('40 KB are refused clearly, or spilled where there is a store', async () => {
    let page = await open()
    const photo = noise(40_000)
    expect(await fetches(page, '/set', [{ a: 1 }, { photo }], 1)).toEqual([200, 500])
    expect(await read(page)).toEqual({ a: 1 })
    await page.close()
    await site?.close()
    await browser.context.clearCookies()
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-cookies-'))
    page = await open(() => ({ overflow: sqliteStore({ file: join(folder, 'overflow.db') }) }))
    expect(await fetches(page, '/set', [{ a: 1 }, { photo }, { a: 2 }], 1)).toEqual([200, 200, 200])
    expect(await read(page)).toEqual({ a: 2, photo })
    expect(site?.mostHeaderBytes).toBeLessThan(2_000)
    await page.close()
    await site?.close()
    site = undefined
    await rm(folder, { recursive: true, force: true })
  })
})
