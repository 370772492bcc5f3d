import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunningLab, startLab } from '../cluster/lab-process.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'
import { openPage } from './open-page.ts'
import { checkAria, checkComputedNames, checkLayout } from './page-aria.ts'
import { checkContrast, checkStructure, checkTabbing } from './page-checks.ts'

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
    expect(await checkComputedNames(page)).toEqual([])
    expect(await checkStructure(page)).toEqual([])
  })

  test('roles and attributes are valid, everything lies in a landmark, and can be hit, at both widths', async () => {
    expect(await checkAria(page)).toEqual([])
    expect(await checkLayout(page)).toEqual([])
    await page.setViewportSize({ width: 390, height: 844 })
    expect(await checkLayout(page)).toEqual([])
    expect(await checkTabbing(page)).toEqual([])
    await page.setViewportSize({ width: 1280, height: 800 })
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
  test('find faint text, a faint edge, and a hidden focus', async () => {
    const page = await ready('shop')
    await page.evaluate(`(() => {
      const style = new CSSStyleSheet()
      style.replaceSync('.faint { color: #999; background: #fff; border-color: #eee } .bare:focus { outline: none }')
      document.adoptedStyleSheets = [style]
      document.querySelector('main').insertAdjacentHTML('beforeend', '<button class="bare">Bare</button><p class="faint">faint words</p><label>Name <input class="faint" name="edgeless"></label>')
    })()`)
    const contrast = (await checkContrast(page)).join()
    expect(contrast).toContain('faint words')
    expect(contrast).toContain('the edge of edgeless')
    expect((await checkTabbing(page)).join()).toContain('focus is not seen')
    await page.close()
  })

  const FAULTS: readonly (readonly [html: string, complaint: string])[] = [
    ['<button></button>', 'button without a name'],
    ['<input name="x">', 'textbox without a name'],
    ['<select></select>', 'combobox without a name'],
    ['<a href="/x"><svg aria-hidden="true"></svg></a>', 'link without a name'],
    ['<h2></h2>', 'heading without a name'],
    ['<p aria-lable="x">x</p>', 'unknown attribute aria-lable'],
    ['<button aria-pressed="yes">x</button>', 'aria-pressed=yes'],
    ['<p aria-pressed="true">x</p>', 'says nothing of this'],
    ['<input aria-label="x" aria-describedby="nobody">', 'aria-describedby of nothing'],
    ['<label for="nobody">x</label>', 'a label for nothing'],
    ['<p role="butler">x</p>', 'role butler'],
    ['<p aria-hidden="true"><button>x</button></p>', 'hidden and yet reached'],
    ['<button tabindex="3">x</button>', 'tabindex 3'],
    ['<button aria-label="Send">Kill</button>', 'named otherwise than it reads'],
    ['<a href="/x">x <span tabindex="0">y</span></a>', 'a control within another'],
    ['<section aria-label="Twin"></section><section aria-label="Twin"></section>', 'two regions of one name'],
    ['<div><li>x</li></div>', 'li outside of a list'],
    ['<table><caption>x</caption><tr><th>x</th></tr></table>', 'a table head for nothing'],
    ['<button style="min-height: 0; height: 9px; padding: 0">x</button>', 'too small to hit'],
  ]
  test('find what is wrong with names, roles, attributes and places', async () => {
    const page = await ready('shop')
    for (const [html, complaint] of FAULTS) {
      await page.evaluate(`(() => {
        const fault = new DOMParser().parseFromString(${JSON.stringify(html)}, 'text/html')
        const holder = document.createElement('div')
        holder.id = 'fault'
        holder.append(...fault.body.children)
        for (const one of holder.querySelectorAll('[style]')) one.style.cssText = one.getAttribute('style')
        document.querySelector('main').append(holder)
      })()`)
      const found = [...(await checkComputedNames(page)), ...(await checkAria(page)), ...(await checkLayout(page))].join('\n')
      expect(found, html).toContain(complaint)
      await page.evaluate(`document.querySelector('#fault').remove()`)
    }
    await page.evaluate(`document.body.append('words beside everything')`)
    expect((await checkLayout(page)).join()).toContain('outside of every landmark')
    await page.close()
  })
})

test('both pages with all their files are below 60 KB, compressed', () => {
  const files = readdirSync(UI, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(4)
  const bytes = files.map((entry) => gzipSync(readFileSync(`${entry.parentPath}/${entry.name}`)).length)
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(MOST_BYTES)
})
