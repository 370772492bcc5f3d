/** What everybody needs of a page, checked inside it. Each returns complaints: an empty list is good. */
import type { Page } from 'playwright-core'

const CONTROLS = 'a[href], button, input, select, textarea, summary, [tabindex="0"]'

const STRUCTURE = `(() => {
  const complaints = []
  if (!document.documentElement.lang) complaints.push('no language')
  if (document.title === '') complaints.push('no title')
  if (document.querySelectorAll('h1').length !== 1) complaints.push('not one h1')
  if (document.querySelectorAll('main').length !== 1) complaints.push('not one main')
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))
  levels.forEach((level, at) => { if (at > 0 && level > levels[at - 1] + 1) complaints.push('heading level ' + level + ' after ' + levels[at - 1]) })
  for (const one of document.querySelectorAll('section')) if (!one.getAttribute('aria-label')) complaints.push('a section without a name: ' + one.className)
  for (const one of document.querySelectorAll('svg')) {
    const isNamed = one.getAttribute('role') === 'img' && one.getAttribute('aria-label')
    if (!isNamed && one.getAttribute('aria-hidden') !== 'true') complaints.push('a picture neither named nor hidden')
  }
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id)
  if (new Set(ids).size !== ids.length) complaints.push('an id twice')
  for (const one of document.querySelectorAll('ul, ol')) for (const child of one.children) if (child.tagName !== 'LI') complaints.push('a list with ' + child.tagName)
  if (document.querySelectorAll('[aria-live]').length === 0) complaints.push('nothing is announced')
  return complaints
})()`

/** WCAG 2.2, 1.4.3 and 1.4.11: 4.5 to 1, or 3 to 1 for large text and for edges. Colours are drawn on a canvas, so that any notation counts. */
const CONTRAST = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3]))
  const back = (one) => {
    const layers = []
    for (let at = one; at !== null; at = at.parentElement) layers.push(read(getComputedStyle(at).backgroundColor))
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255])
  }
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a)
    return (high + 0.05) / (low + 0.05)
  }
  const complaints = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  let checked = 0
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim()
    const one = walker.currentNode.parentElement
    if (text === '' || one.closest('noscript, option, :disabled, .hidden') !== null || one.getClientRects().length === 0) continue
    const style = getComputedStyle(one)
    const inPicture = one.closest('svg') !== null
    const shape = one.closest('.badge, .gateway, .store, .server')?.querySelector('rect, path, .body')
    const below = inPicture && shape ? over(read(getComputedStyle(shape).fill), back(one)) : back(one)
    const colour = over(read(inPicture ? style.fill : style.color), below)
    const size = parseFloat(style.fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    checked += 1
    if (ratio(colour, below) < (isLarge ? 3 : 4.5)) complaints.push(text.slice(0, 30) + ': ' + ratio(colour, below).toFixed(2))
  }
  // 1.4.11: where one writes or chooses has to be seen.
  for (const one of document.querySelectorAll('input:not([type=range]), select')) {
    const around = back(one.parentElement)
    const edge = over(read(getComputedStyle(one).borderTopColor), around)
    if (ratio(edge, around) < 3) complaints.push('the edge of ' + (one.name || one.getAttribute('aria-label')) + ': ' + ratio(edge, around).toFixed(2))
  }
  if (checked < 20) complaints.push('only ' + checked + ' texts were found')
  return complaints
})()`

const FOCUSED = `(() => {
  const one = document.activeElement
  if (one === null || one === document.body) return undefined
  const style = getComputedStyle(one)
  const all = [...document.querySelectorAll(${JSON.stringify(CONTROLS)})]
  return { at: all.indexOf(one), name: one.getAttribute('aria-label') ?? one.textContent.trim().slice(0, 30), isShown: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2 }
})()`

const FOCUSABLE = `[...document.querySelectorAll(${JSON.stringify(CONTROLS)})].filter((one) => !one.disabled && one.getClientRects().length > 0).length`

interface Focused {
  readonly at: number
  readonly name: string
  readonly isShown: boolean
}

export const checkStructure = (page: Page): Promise<string[]> => page.evaluate<string[]>(STRUCTURE)
export const checkContrast = (page: Page): Promise<string[]> => page.evaluate<string[]>(CONTRAST)

/** Tab goes once through everything in the order of the page, shows where it is, and comes out at the end. */
export async function checkTabbing(page: Page): Promise<string[]> {
  const complaints: string[] = []
  const expected = await page.evaluate<number>(FOCUSABLE)
  await page.evaluate(`[...document.querySelectorAll(${JSON.stringify(CONTROLS)})].find((one) => !one.disabled).focus()`)
  let before = (await page.evaluate<Focused>(FOCUSED)).at
  let visited = 1
  for (;;) {
    await page.keyboard.press('Tab')
    const focused = await page.evaluate<Focused | undefined>(FOCUSED)
    if (focused === undefined || focused.at === before || visited > expected + 5) break
    // From the last one a page without a browser around it begins anew.
    if (focused.at < before && visited >= expected) break
    if (focused.at < before) complaints.push(`back to ${focused.name}`)
    if (!focused.isShown) complaints.push(`focus is not seen on ${focused.name}`)
    before = focused.at
    visited += 1
  }
  if (visited < expected) complaints.push(`${visited} of ${expected} controls were reached`)
  if (visited > expected + 5) complaints.push('the keyboard is trapped')
  return complaints
}
