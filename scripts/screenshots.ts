/** Pictures of the lab's pages, wide and narrow, light and dark, in `.cache/screenshots`. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Page } from 'playwright-core'
import { startBrowser } from '../test/browser/chromium.ts'

const FOLDER = resolve(import.meta.dirname, '../.cache/screenshots')
const READY = /^ready: shop (\S+) · control (\S+)$/
const SIZES = [
  { width: 1280, height: 900 },
  { width: 390, height: 844 },
]
const SCHEMES = ['light', 'dark'] as const

const lab = spawn(process.execPath, ['dist/cli/main.js', 'lab', '--headless', '--port', '0', '--control-port', '0'], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const browser = await startBrowser()
try {
  mkdirSync(FOLDER, { recursive: true })
  const [shop, control] = await addresses()
  await shopPictures(shop)
  await controlPictures(control)
} finally {
  await browser.close()
  lab.kill('SIGTERM')
}

async function addresses(): Promise<[shop: string, control: string]> {
  for await (const line of createInterface({ input: lab.stdout })) {
    const [, shop, control] = READY.exec(line) ?? []
    if (shop !== undefined && control !== undefined) return [shop, control]
  }
  throw new Error('The lab did not start: run npm run build first.')
}

async function pictures(page: Page, name: string): Promise<void> {
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme })
    for (const size of SIZES) {
      await page.setViewportSize(size)
      const file = join(FOLDER, `${name}-${size.width}-${colorScheme}.png`)
      await page.screenshot({ path: file, fullPage: true })
      console.log(file)
    }
  }
}

async function shopPictures(url: string): Promise<void> {
  const page = await browser.context.newPage()
  await page.goto(url)
  await page.click('[data-login=ada]')
  await page.click('[data-add=lantern]')
  await page.click('[data-add=mug]')
  await page.waitForSelector('[data-cart=mug]')
  await pictures(page, 'shop')
}

async function controlPictures(url: string): Promise<void> {
  const page = await browser.context.newPage()
  await page.goto(url)
  await page.click('text=Start the traffic')
  await page.waitForSelector('[data-on=true]')
  await page.waitForSelector('select option:nth-child(4)', { state: 'attached' })
  await page.selectOption('select[aria-label=Session]', { index: 1 })
  await page.waitForSelector('[data-fate=live]')
  await page.waitForTimeout(6_000)
  await pictures(page, 'control')
  await page.click('[data-strategy=dedicated]')
  await page.waitForSelector('[data-strategy=dedicated][aria-pressed=true]:not([disabled])')
  await page.click('[aria-label="Pause n2"]')
  await page.waitForSelector('[data-node=n2][data-state=paused]')
  await page.click('[aria-label="Drain n3"]')
  await page.waitForSelector('[data-node=n3][data-state=draining]')
  await page.fill('.planner input[name=servers]', '0')
  await pictures(page, 'store')
  await page.click('text=Stop the traffic')
  await page.click('[data-tour=begin]')
  await page.click('[data-tour=prepare]')
  await page.waitForSelector('[data-phase=ready]')
  await page.click('[data-tour=kill]')
  await page.waitForSelector('[data-phase=done]')
  await pictures(page, 'tour')
}
