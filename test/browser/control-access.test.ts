import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunningLab, startLab } from '../cluster/lab-process.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'
import { openPage } from './open-page.ts'
import { checkContrast, checkNames, checkStructure, checkTabbing } from './page-checks.ts'

const MOST_BYTES = 60_000
const UI = new URL('../../dist/ui/', import.meta.url)

let browser: RunningBrowser
let lab: RunningLab
beforeAll(async () => {
  lab = await startLab('--strategy', 'affinity', '--nodes', '2')
  browser = await startBrowser()
})
afterAll(async () => {
  await browser?.close()
  await lab?.stop()
})

type Name = 'control' | 'shop'
async function ready(name: Name): Promise<Page> {
  const { page } = await openPage(browser.context, lab[name])
  if (name === 'control') {
    await page.click('[data-tour=begin]')
    await page.click('text=Send 20 visitors')
    await page.waitForSelector('select option:nth-child(2)', { state: 'attached' })
    await page.selectOption('select', { index: 1 })
    await page.waitForSelector('.badge')
  } else {
    // The browser is one and the same: a former page has logged in already.
    await page.waitForSelector('[data-login=ada], [data-user=ada]')
    if ((await page.locator('[data-login=ada]').count()) > 0) await page.click('[data-login=ada]')
    await page.waitForSelector('[data-user=ada]')
    await page.click('[data-add=mug]')
    await page.waitForSelector('[data-cart=mug]')
  }
  return page
}

describe.each(['control', 'shop'] as const)('the %s page is for everybody', (name) => {
  let page: Page
  beforeAll(async () => {
    page = await ready(name)
  })
  afterAll(() => page?.close())

  test('every control has a name, every part a role and a heading in order', async () => {
    expect(await checkNames(page)).toEqual([])
    expect(await checkStructure(page)).toEqual([])
  })

  test.each(['light', 'dark'] as const)('text stands out from what is behind it: %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    expect(await checkContrast(page)).toEqual([])
  })

  test('Tab goes through everything in order, is seen, and is not trapped', async () => {
    expect(await checkTabbing(page)).toEqual([])
  })

  test('nothing is wider than a phone of 390 or 320 pixels', async () => {
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 844 })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
    }
    await page.setViewportSize({ width: 1280, height: 800 })
  })

  test('nothing is animated where motion is not wanted', async () => {
    await page.emulateMedia({ reducedMotion: 'reduce' })
    await page.click(name === 'control' ? 'text=Send 20 visitors' : '[data-add=rope]')
    expect(await page.evaluate('document.getAnimations().filter((one) => one.playState === "running").length')).toBe(0)
  })
})

test('the shop is used by keyboard', async () => {
  const page = await ready('shop')
  await page.focus('[data-add=anchor]')
  await page.keyboard.press('Enter')
  await page.waitForSelector('[data-cart=anchor]')
  await page.close()
})

describe('the checks themselves', () => {
  test('find a control without a name, faint text, and a hidden focus', async () => {
    const page = await ready('shop')
    await page.evaluate(`(() => {
      const style = new CSSStyleSheet()
      style.replaceSync('.faint { color: #999; background: #fff } .bare:focus { outline: none }')
      document.adoptedStyleSheets = [style]
      const add = (tag, name, text) => {
        const one = document.createElement(tag)
        one.className = name
        one.textContent = text
        document.querySelector('main').append(one)
      }
      add('button', 'bare', '')
      add('p', 'faint', 'faint words')
    })()`)
    expect(await checkNames(page)).toHaveLength(1)
    expect((await checkContrast(page)).join()).toContain('faint words')
    expect((await checkTabbing(page)).join()).toContain('focus is not seen')
    await page.close()
  })
})

test('both pages with all their files are below 60 KB, compressed', () => {
  const files = readdirSync(UI, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(4)
  const bytes = files.map((entry) => gzipSync(readFileSync(`${entry.parentPath}/${entry.name}`)).length)
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(MOST_BYTES)
})
