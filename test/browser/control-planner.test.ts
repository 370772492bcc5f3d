import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { QUESTIONS } from '../../src/lab/compare/questions.ts'
import { type RunningLab, runCli, startLab } from '../cluster/lab-process.ts'
import { type RunningBrowser, startBrowser } from './chromium.ts'
import { openPage } from './open-page.ts'
import { checkAria, checkComputedNames, checkLayout } from './page-aria.ts'
import { checkContrast } from './page-checks.ts'

let browser: RunningBrowser
let lab: RunningLab
let page: Page
let complaints: string[]
beforeAll(async () => {
  lab = await startLab('--strategy', 'isolated', '--nodes', '2')
  browser = await startBrowser()
})
beforeEach(async () => {
  await page?.close()
  ;({ page, complaints } = await openPage(browser.context, lab.control))
  await page.waitForSelector('.planner table')
})
afterAll(async () => {
  await browser?.close()
  await lab?.stop()
})

/** Figures and advice in the words of the page. */
async function shown(): Promise<string[]> {
  const rows = await page.$$eval('.planner tbody tr', (all) =>
    all.map((row) => [...row.children].map((cell) => (cell.firstChild?.textContent ?? '').trim()).join(' ')),
  )
  const advice = await page.$$eval('.planner .begin, .planner li', (all) => all.map((one) => one.textContent ?? ''))
  return [...rows, ...advice.map((line) => line.trim())]
}

/** The same in those of the command line, which separates columns by more spaces. */
async function printed(...flags: string[]): Promise<string[]> {
  const { code, output } = await runCli('compare', '--plan', ...flags)
  expect(code).toBe(0)
  const lines = output.split('\n').map((line) => line.replaceAll(/ +/g, ' ').trim())
  return lines.filter((line) => /^(replication|affinity|cookieBased|dedicated|Begin|Against)/.test(line))
}

describe('the decision aid on the control page', () => {
  test('asks the questions of compare --plan, and answers with its figures and its advice', async () => {
    const asked = await page.$$eval('.planner label', (all) => all.map((one) => one.textContent))
    expect(asked).toEqual(QUESTIONS.map(({ asks }) => asks))
    expect(await shown()).toEqual(await printed())
    for (const answers of [
      { sessions: '50000000', 'session-bytes': '20000', servers: '20' },
      { servers: '2', deaths: '2', writes: '0' },
      { sessions: '1', 'session-bytes': '65536', rps: '999999', writes: '100', servers: '1000', deaths: '0' },
    ]) {
      for (const [name, answer] of Object.entries(answers)) await page.fill(`.planner input[name=${name}]`, answer)
      const flags = await Promise.all(
        QUESTIONS.map(async ({ name }) => [`--${name}`, await page.inputValue(`.planner input[name=${name}]`)]),
      )
      expect(await shown()).toEqual(await printed(...flags.flat()))
    }
    expect(await page.locator('.planner [data-chosen=true]').count()).toBe(1)
    expect(complaints).toEqual([])
  })

  test('an answer that does not fit is told at its field, and nothing is estimated', async () => {
    for (const wrong of ['0', '', '-3', '1.5', '1e3', '1000000000']) {
      await page.fill('.planner input[name=sessions]', wrong)
      await page.waitForSelector('.planner table', { state: 'detached' })
      expect(await page.getAttribute('#plan-sessions', 'aria-invalid')).toBe('true')
      expect(await page.textContent('#plan-sessions-wish')).toBe('A whole number from 1 to 999999999, please.')
      expect(await page.textContent('.planner [role=status]')).toBe('One of the answers does not fit.')
      expect([...(await checkAria(page)), ...(await checkComputedNames(page))]).toEqual([])
      await page.fill('.planner input[name=sessions]', '5')
      await page.waitForSelector('.planner table')
    }
    expect(complaints).toEqual([])
  })

  test('works by keyboard alone', async () => {
    await page.focus('#plan-sessions')
    for (const { fallback, name } of QUESTIONS) {
      expect(await page.evaluate('document.activeElement.name')).toBe(name)
      if (name === 'servers') for (let step = fallback; step < 20; step++) await page.keyboard.press('ArrowUp')
      await page.keyboard.press(name === 'deaths' ? 'Enter' : 'Tab')
    }
    expect(await page.textContent('.planner .begin')).toContain('Begin with affinity')
    // Enter sends nothing anywhere.
    expect(new URL(page.url()).search).toBe('')
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe('Estimates')
    expect(complaints).toEqual([])
  })

  test.each(['light', 'dark'] as const)('fits a phone and can be read: %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme })
    await page.fill('.planner input[name=servers]', '0')
    expect(await checkContrast(page)).toEqual([])
    await page.fill('.planner input[name=servers]', '20')
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 844 })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
      expect([...(await checkLayout(page)), ...(await checkContrast(page))]).toEqual([])
    }
    await page.setViewportSize({ width: 1280, height: 800 })
  })
})
