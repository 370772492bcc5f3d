import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type RunningLab, startLab } from '../cluster/lab-process.ts'
import { waitFor } from '../setup/servers.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'
import { openPage } from './open-page.ts'

const STRATEGIES = ['isolated', 'replication', 'affinity', 'cookieBased', 'dedicated']

/** The tour's visitors come back so many at a time. */
const AT_ONCE = 8

let browser: RunningBrowser
let lab: RunningLab
let page: Page
let complaints: string[]
beforeAll(async () => {
  lab = await startLab('--nodes', '3')
  browser = await startBrowser()
})
beforeEach(async () => {
  await page?.close()
  ;({ page, complaints } = await openPage(browser.context, lab.control))
  await page.waitForSelector('[data-tour=begin]')
})
afterAll(async () => {
  await browser?.close()
  await lab?.stop()
})

async function tally(): Promise<Record<string, number>> {
  const figures: Record<string, number> = { lost: Number(await page.getAttribute('[data-lost]', 'data-lost')) }
  for (const name of ['Updates lost', 'Stale reads', 'Failed requests'])
    figures[name] = Number(await page.textContent(`[data-figure="${name}"] dd`))
  return figures
}

describe('the guided tour', () => {
  test('by mouse: each step kills a server; isolated loses sessions, the four lose none', async () => {
    await page.click('[data-tour=begin]')
    for (const [index, strategy] of STRATEGIES.entries()) {
      await page.waitForSelector(`[data-step="${index + 1}"][data-phase=intro]`)
      await page.click('[data-tour=prepare]')
      await page.waitForSelector('.tour[data-phase=ready]')
      expect((await lab.cluster()).strategy).toBe(strategy)
      expect(await tally()).toEqual({ lost: 0, 'Updates lost': 0, 'Stale reads': 0, 'Failed requests': 0 })
      // The card of a server, as a visitor would; every other time the tour's own button.
      await page.click(index % 2 === 0 ? '.server-card [aria-label^="Kill n2"]' : '[data-tour=kill]')
      await page.waitForSelector('.tour[data-phase=done]')
      await page.waitForSelector('.server-card[data-state=down]')
      const after = await tally()
      if (strategy === 'isolated') expect(after['lost']).toBeGreaterThan(0)
      else expect(after).toMatchObject({ lost: 0, 'Updates lost': 0, 'Stale reads': 0 })
      expect((await lab.cluster()).totals.lost).toBe(after['lost'])
      // At most what the dead server had begun; whoever comes after that is answered, a stranger of `isolated` too.
      const failed = after['Failed requests'] ?? Number.NaN
      expect(failed).toBeLessThanOrEqual(AT_ONCE)
      await lab.api('POST', '/api/visitors/return')
      expect((await lab.cluster()).totals).toMatchObject({ failed, lost: after['lost'] })
      expect(await page.getAttribute(`.steps li:nth-child(${index + 1})`, 'data-outcome')).toBe(String(after['lost']))
      expect(await page.textContent('.words strong')).toMatch(strategy === 'isolated' ? /forgotten/ : /^0 sessions lost/)
      await page.click('[data-tour=next]')
    }
    await page.waitForSelector('.tour', { state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('by keyboard: it begins, goes a step, and is left at any time', async () => {
    await page.focus('[data-tour=begin]')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.tour[data-step="1"]')
    // Focus is at the title: the next stops are leaving, the five steps, and the step's button.
    expect(await page.evaluate('document.activeElement.tagName')).toBe('H2')
    for (let stop = 0; stop < 3; stop++) await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.tour[data-step="2"]')
    expect(await page.evaluate('document.activeElement.textContent')).toContain('2 of 5')
    for (let stop = 0; stop < 7; stop++) await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    await page.waitForSelector('.tour[data-phase=preparing]')
    await page.focus('.tour-head button')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.tour', { state: 'detached' })
    expect(await page.evaluate('document.activeElement.dataset.tour')).toBe('begin')
    await waitFor(async () => (await lab.cluster()).totals.sessions >= 24, 20_000, 'the step that was left going on quietly')
    expect(complaints).toEqual([])
  })
})

describe('the control page', () => {
  test('shows where a session lives, and follows it when its owner is killed', async () => {
    await page.click('[data-strategy=affinity]')
    await page.waitForSelector('[data-strategy=affinity][aria-pressed=true]:not([disabled])')
    await page.click('text=Send 20 visitors')
    await page.waitForSelector('select option:nth-child(2)', { state: 'attached' })
    await page.selectOption('select[aria-label=Session]', { index: 1 })
    await page.waitForSelector('[data-holders*=owner][data-holders*=backup]')
    const holders = (await page.getAttribute('[data-holders]', 'data-holders')) ?? ''
    const owner = /(n\d):owner/.exec(holders)?.[1] ?? ''
    expect(await page.locator('.badge text').allTextContents()).toEqual(expect.arrayContaining(['owner', 'backup']))
    await page.click(`[aria-label="Kill ${owner}"]`)
    await waitFor(
      async () => {
        const now = (await page.getAttribute('[data-holders]', 'data-holders')) ?? ''
        return now.includes(':owner') && !now.includes(owner)
      },
      15_000,
      'another server owning the session',
    )
    expect(complaints).toEqual([])
  })

  test('traffic runs as set, dots move, and stand still where motion is not wanted', async () => {
    await page.fill('input[name=requestsPerSecond]', '80')
    await page.click('text=Start the traffic')
    await page.waitForSelector('.dot.request')
    expect((await lab.api<Record<string, number>>('GET', '/api/traffic')).body['requestsPerSecond']).toBe(80)
    await page.waitForSelector('.spark polyline', { state: 'attached' })
    await page.emulateMedia({ reducedMotion: 'reduce' })
    await page.waitForSelector('.dot', { state: 'detached' })
    await page.waitForSelector('.gateway text:text-matches("[1-9][0-9]* requests")')
    expect(await page.locator('.dot').count()).toBe(0)
    await page.emulateMedia({ reducedMotion: null })
    await page.click('text=Stop the traffic')
    await page.waitForSelector('[data-on=false]')
    expect(complaints).toEqual([])
  })

  test('events are told in words, newest first', async () => {
    await page.click('text=Send 20 visitors')
    await page.waitForSelector('.events li:has-text("begins.")')
    await page.click('.server-card[data-state=up] [aria-label^=Kill]')
    await page.waitForSelector('.events li.bad:has-text("is down.")')
    expect(complaints).toEqual([])
  })
})
