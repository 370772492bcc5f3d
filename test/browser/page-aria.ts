/** What a screen reader is told, as Chromium itself computes it, and whether the roles and attributes behind it are valid. */
import type { Page } from 'playwright-core'

/** Roles that WAI-ARIA 1.2 wants a name for, of those that the pages may use. */
const NAMED = [
  'button',
  'link',
  'textbox',
  'spinbutton',
  'slider',
  'combobox',
  'checkbox',
  'radio',
  'image',
  'img',
  'region',
  'form',
  'heading',
]

interface AxNode {
  readonly ignored: boolean
  readonly role?: { readonly value: string }
  readonly name?: { readonly value: string }
  readonly backendDOMNodeId?: number
}

/** Every control, picture, region and heading has a name: button-name, link-name, label, select-name, svg-img-alt, empty-heading. */
export async function checkComputedNames(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page)
  try {
    const { nodes } = (await session.send('Accessibility.getFullAXTree')) as unknown as { nodes: AxNode[] }
    const told = nodes.filter(({ ignored, role }) => !ignored && NAMED.includes(role?.value ?? ''))
    if (told.length < 5) return [`only ${told.length} parts are told to a screen reader`]
    const nameless = told.filter(({ name }) => (name?.value ?? '').trim() === '')
    return Promise.all(
      nameless.map(async ({ backendDOMNodeId, role }) => `${role?.value} without a name: ${await outerHtml(backendDOMNodeId)}`),
    )
  } finally {
    await session.detach()
  }

  async function outerHtml(backendNodeId: number | undefined): Promise<string> {
    if (backendNodeId === undefined) return '?'
    const { outerHTML } = (await session.send('DOM.getOuterHTML', { backendNodeId })) as { outerHTML: string }
    return outerHTML.slice(0, 120)
  }
}

/** WAI-ARIA 1.2, the attributes that the pages may use, with the values they take. */
const ATTRIBUTES = {
  'aria-label': '.+',
  'aria-labelledby': 'id',
  'aria-describedby': 'id',
  'aria-controls': 'id',
  'aria-hidden': 'true|false',
  'aria-live': 'off|polite|assertive',
  'aria-atomic': 'true|false',
  'aria-busy': 'true|false',
  'aria-disabled': 'true|false',
  'aria-expanded': 'true|false',
  'aria-pressed': 'true|false|mixed',
  'aria-invalid': 'true|false|grammar|spelling',
  'aria-current': 'true|false|page|step|location|date|time',
  'aria-valuetext': '.+',
}
const ROLES = ['img', 'group', 'region', 'alert', 'status', 'list', 'presentation', 'none']
/** These say something of some elements only. */
const ONLY_ON = { 'aria-pressed': 'button', 'aria-valuetext': 'input', 'aria-invalid': 'input, select, textarea' }

const VALIDITY = `(() => {
  const attributes = ${JSON.stringify(ATTRIBUTES)}, roles = ${JSON.stringify(ROLES)}, onlyOn = ${JSON.stringify(ONLY_ON)}
  const complaints = []
  const show = (one) => one.outerHTML.slice(0, 100)
  const controls = 'a[href], button, input, select, textarea, summary, [tabindex]'
  for (const one of document.querySelectorAll('*')) {
    for (const { name, value } of one.attributes) {
      if (name === 'role' && !roles.includes(value)) complaints.push('role ' + value + ': ' + show(one))
      if (name === 'tabindex' && Number(value) > 0) complaints.push('tabindex ' + value + ': ' + show(one))
      if (name === 'accesskey' || name === 'autofocus') complaints.push(name + ': ' + show(one))
      if (name === 'for' && document.getElementById(value) === null) complaints.push('a label for nothing: ' + show(one))
      if (!name.startsWith('aria-')) continue
      const wanted = attributes[name]
      if (wanted === undefined) complaints.push('unknown attribute ' + name + ': ' + show(one))
      else if (wanted === 'id') {
        for (const id of value.split(' ')) if (document.getElementById(id) === null) complaints.push(name + ' of nothing: ' + show(one))
      } else if (!new RegExp('^(' + wanted + ')$', 's').test(value)) complaints.push(name + '=' + value + ': ' + show(one))
      if (onlyOn[name] !== undefined && !one.matches(onlyOn[name])) complaints.push(name + ' says nothing of this: ' + show(one))
      if (name === 'aria-hidden' && value === 'true' && (one.matches(controls) || one.querySelector(controls) !== null)) complaints.push('hidden and yet reached: ' + show(one))
      if (name === 'aria-label' && one.matches('div, span, p, li, b, i') && !one.hasAttribute('role')) complaints.push('a name on what has no role: ' + show(one))
    }
    if (one.matches(controls) && one.parentElement?.closest('a[href], button, summary') !== null && !one.matches('[tabindex="-1"]')) complaints.push('a control within another: ' + show(one))
    // WCAG 2.2, 2.5.3: whoever speaks what is written has to reach it.
    const label = one.getAttribute('aria-label')
    const seen = one.matches('button, a[href]') ? one.textContent.trim().toLowerCase() : ''
    if (label !== null && /[a-z0-9]/.test(seen) && !label.toLowerCase().includes(seen)) complaints.push('named otherwise than it reads: ' + show(one))
  }
  return complaints
})()`

/** Roles, attributes, references: aria-valid-attr, aria-valid-attr-value, aria-roles, aria-hidden-focus, nested-interactive, tabindex, label-content-name-mismatch. */
export const checkAria = (page: Page): Promise<string[]> => page.evaluate<string[]>(VALIDITY)

const LAYOUT = `(() => {
  const complaints = []
  const show = (one) => one.outerHTML.slice(0, 100)
  const isSeen = (one) => one.getClientRects().length > 0
  const landmarks = 'header, main, footer, nav, aside'
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement
    if (walker.currentNode.textContent.trim() !== '' && isSeen(one) && one.closest(landmarks + ', noscript') === null) complaints.push('outside of every landmark: ' + show(one))
  }
  const names = [...document.querySelectorAll('section, [role=region]')].map((one) => one.getAttribute('aria-label'))
  for (const name of names) if (names.indexOf(name) !== names.lastIndexOf(name)) complaints.push('two regions of one name: ' + name)
  for (const one of document.querySelectorAll('li')) if (!one.parentElement.matches('ul, ol')) complaints.push('li outside of a list: ' + show(one))
  for (const one of document.querySelectorAll('dl > *')) if (!one.matches('dt, dd, div')) complaints.push('dl with ' + one.tagName)
  for (const one of document.querySelectorAll('dt, dd')) if (!one.matches('dl > *, dl > div > *')) complaints.push('outside of a dl: ' + show(one))
  for (const one of document.querySelectorAll('th')) if (!one.matches('[scope]') || one.textContent.trim() === '') complaints.push('a table head for nothing: ' + show(one))
  for (const one of document.querySelectorAll('table')) if (one.caption === null) complaints.push('a table without a caption')
  const viewport = document.querySelector('meta[name=viewport]')?.content ?? ''
  if (/user-scalable\\s*=\\s*no|maximum-scale/.test(viewport)) complaints.push('zoom is forbidden')
  for (const one of document.querySelectorAll('body *')) {
    const style = getComputedStyle(one)
    const scrolls = (/auto|scroll/.test(style.overflowY) && one.scrollHeight > one.clientHeight + 1) || (/auto|scroll/.test(style.overflowX) && one.scrollWidth > one.clientWidth + 1)
    if (scrolls && one.tabIndex < 0) complaints.push('scrolls, but not by keyboard: ' + show(one))
    // WCAG 2.2, 2.5.8: 24 by 24 pixels, but for what stands within a line of text.
    if (!one.matches('button, a[href], input, select, summary') || !isSeen(one) || style.display === 'inline' || one.matches('.link, .chip')) continue
    const { width, height } = one.getBoundingClientRect()
    if (width < 24 || height < 24) complaints.push('too small to hit, ' + Math.round(width) + ' by ' + Math.round(height) + ': ' + show(one))
  }
  return complaints
})()`

/** Where things are: region, landmark-unique, list, listitem, definition-list, th-has-data-cells, meta-viewport, scrollable-region-focusable, target-size. */
export const checkLayout = (page: Page): Promise<string[]> => page.evaluate<string[]>(LAYOUT)
