import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from '../setup/servers.ts'
import { type RunningLab, startLab } from '../cluster/lab-process.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'
import { openPage as open } from './open-page.ts'

let browser: RunningBrowser
let lab: RunningLab | undefined
beforeAll(async () => {
  browser = await startBrowser()
})
afterEach(async () => {
  await lab?.stop()
  lab = undefined
})
afterAll(() => browser?.close())

const openPage = (url: string): ReturnType<typeof open> => open(browser.context, url)

async function logInAndShop(page: Page): Promise<void> {
  await page.click('[data-login=ada]')
  await page.waitForSelector('[data-user=ada]')
  await page.click('[data-add=lantern]')
  await page.waitForSelector('[data-cart=lantern][data-count="1"]')
  await page.click('[data-add=mug]')
  await page.click('[data-add=mug]')
  await page.waitForSelector('[data-cart=mug][data-count="2"]')
}

/** Who answered the last request. */
async function newest(page: Page): Promise<string> {
  return (await page.getAttribute('[data-newest]', 'data-newest')) ?? ''
}

describe('the shop in a browser', () => {
  test.each(['replication', 'affinity', 'cookieBased', 'dedicated'])(
    '%s - the server that answers is killed, the visitor stays logged in, the cart is whole',
    async (strategy) => {
      lab = await startLab('--strategy', strategy)
      const { page, complaints } = await openPage(lab.shop)
      await logInAndShop(page)
      const killed = await newest(page)
      expect(killed).toMatch(/^n[123]$/)
      expect((await lab.api('POST', `/api/nodes/${killed}/kill`)).status).toBe(200)

      for (let visit = 0; visit < 3; visit++) {
        await page.reload()
        await page.waitForSelector('[data-mood=remembered]')
        await page.waitForSelector('[data-user=ada]')
        expect(await newest(page)).not.toBe(killed)
      }
      await page.waitForSelector('[data-cart=lantern][data-count="1"]')
      await page.click('[data-add=mug]')
      await page.waitForSelector('[data-cart=mug][data-count="3"]')
      await page.click('[data-logout=here]')
      await page.waitForSelector('[data-mood=stranger]')
      expect((await lab.cluster()).totals).toMatchObject({ lost: 0, failed: 0 })
      expect(complaints).toEqual([])
      await page.close()
    },
  )

  test('isolated - the same visitor is forgotten, and told so', async () => {
    lab = await startLab('--strategy', 'isolated', '--nodes', '2')
    const { page, complaints } = await openPage(lab.shop)
    await page.click('[data-login=ada]')
    await page.waitForSelector('[data-user=ada]')
    await page.click('[data-add=lantern]')
    await page.waitForSelector('[data-mood=forgotten]')
    expect(await page.$('[data-user=ada]')).toBeNull()
    await waitFor(async () => ((await lab?.cluster())?.totals.lost ?? 0) > 0, 5_000, 'the lab counting the lost session')
    expect(complaints).toEqual([])
    await page.close()
  })
})

describe('the control page in a browser', () => {
  test('servers are killed and started, visitors sent, strategies switched by its buttons', async () => {
    lab = await startLab('--strategy', 'dedicated', '--nodes', '2')
    const { page, complaints } = await openPage(lab.control)
    await page.click('[aria-label="Kill n1"]')
    await page.waitForSelector('[data-node=n1][data-state=down]')
    await page.click('[aria-label="Start n1"]')
    await page.waitForSelector('[data-node=n1][data-state=up]')
    await page.click('text=Send 20 visitors')
    await waitFor(async () => (await lab?.cluster())?.totals.sessions === 20, 20_000, 'twenty sessions')
    await page.click('[data-strategy=isolated]')
    await page.waitForSelector('[data-strategy=isolated][aria-pressed=true]:not([disabled])')
    await page.click('text=Send 20 visitors')
    await page.waitForSelector('[data-lost]:not([data-lost="0"])')
    await page.click('text=+ Add a server')
    await page.waitForSelector('[data-node=n3][data-state=up]')
    expect(complaints).toEqual([])
    await page.close()
  })
})
