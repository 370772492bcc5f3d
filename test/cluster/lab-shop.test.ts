import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunningLab, ShopVisitor, startLab } from './lab-process.ts'

describe('the shop over HTTP', () => {
  let lab: RunningLab
  beforeAll(async () => {
    lab = await startLab('--strategy', 'dedicated', '--nodes', '2')
  })
  afterAll(() => lab?.stop())

  const guest = (): ShopVisitor => new ShopVisitor(lab.shop)
  async function refusal(
    method: string,
    path: string,
    body: string | null,
    type = 'application/json',
  ): Promise<[status: number, code: string]> {
    const headers = body === null ? {} : { 'content-type': type }
    const response = await fetch(`${lab.shop}${path}`, { method, body, headers })
    const { error } = (await response.json()) as { error: { code: string; message: string } }
    expect(error.message).not.toBe('')
    return [response.status, error.code]
  }

  test('reading creates nothing', async () => {
    const response = await fetch(`${lab.shop}/session`)
    expect(response.headers.getSetCookie()).toEqual([])
    expect(await response.json()).toEqual({ node: expect.stringMatching(/^n[12]$/), isNew: true, user: null, key: null, data: {} })
  })

  test('fields are set, changed and removed', async () => {
    const visitor = guest()
    const made = await visitor.ask('PATCH', '/session', { colour: 'red', cart: ['mug'], __proto__: null })
    expect(made).toMatchObject({ isNew: true, user: null, key: expect.any(String), data: { colour: 'red', cart: ['mug'] } })
    const changed = await visitor.ask('PATCH', '/session', { colour: null, size: 3 })
    expect(changed).toMatchObject({ isNew: false, key: made.key })
    expect(changed.data).toEqual({ cart: ['mug'], size: 3 })
    expect((await visitor.ask('GET', '/session')).data).toEqual({ cart: ['mug'], size: 3 })
  })

  test('the cookie is named after the gateway, and plain HTTP keeps it', async () => {
    const response = await fetch(`${lab.shop}/session`, {
      method: 'PATCH',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    })
    const [cookie = ''] = response.headers.getSetCookie()
    expect(cookie).toMatch(new RegExp(`^lab-${new URL(lab.shop).port}=`))
    expect(cookie).toContain('HttpOnly')
    expect(cookie).not.toContain('Secure')
  })

  test('parallel additions sum', async () => {
    const visitor = guest()
    await visitor.ask('PATCH', '/session', { a: 1 })
    await Promise.all(Array.from({ length: 10 }, () => visitor.ask('POST', '/session/add', { visits: 1, stars: -2 })))
    expect((await visitor.ask('GET', '/session')).data).toEqual({ a: 1, visits: 10, stars: -20 })
  })

  test('logging in keeps the data and changes the key; logging out forgets', async () => {
    const visitor = guest()
    const before = await visitor.ask('PATCH', '/session', { a: 1 })
    const after = await visitor.ask('POST', '/login', { user: 'ada' })
    expect(after).toMatchObject({ user: 'ada', data: { a: 1 } })
    expect(after.key).not.toBe(before.key)
    expect((await visitor.request('POST', '/logout')).status).toBe(204)
    expect(await visitor.ask('GET', '/session')).toMatchObject({ isNew: true, user: null, key: null, data: {} })
  })

  test('logging out everywhere ends all sessions of the user and of nobody else', async () => {
    const [here, there, other] = [guest(), guest(), guest()]
    await here.ask('POST', '/login', { user: 'cleo' })
    await there.ask('POST', '/login', { user: 'cleo' })
    await other.ask('POST', '/login', { user: 'dev' })
    expect((await here.request('POST', '/logout-everywhere')).status).toBe(204)
    expect((await here.ask('GET', '/session')).user).toBeNull()
    expect((await there.ask('GET', '/session')).user).toBeNull()
    expect((await other.ask('GET', '/session')).user).toBe('dev')
    expect((await lab.cluster()).totals.lost).toBe(0)
  })

  test('a delayed write to a session that was ended meanwhile is 409 and brings nothing back', async () => {
    const visitor = guest()
    await visitor.ask('PATCH', '/session', { a: 1 })
    const late = visitor.request('PATCH', '/session?delay=1500', { a: 2 })
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect((await visitor.request('POST', '/logout')).status).toBe(204)
    expect((await late).status).toBe(409)
    expect(await visitor.ask('GET', '/session')).toMatchObject({ user: null, key: null, data: {} })
  })

  test('a delay lets the answer wait', async () => {
    const startedAt = performance.now()
    await guest().ask('GET', '/session?delay=300')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(295)
    expect(await refusal('GET', '/session?delay=10001', null)).toEqual([400, 'DELAY_INVALID'])
    expect(await refusal('GET', '/session?delay=-1', null)).toEqual([400, 'DELAY_INVALID'])
  })

  test('the token also travels in a header', async () => {
    const made = await fetch(`${lab.shop}/session`, {
      method: 'PATCH',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json', 'x-session-token': '' },
    })
    const token = made.headers.get('x-session-token') ?? ''
    expect(made.headers.getSetCookie()).toEqual([])
    const read = await fetch(`${lab.shop}/session`, { headers: { 'x-session-token': token } })
    expect(await read.json()).toMatchObject({ isNew: false, data: { a: 1 } })
  })

  test('bodies are bounded JSON objects', async () => {
    expect(await refusal('PATCH', '/session', '{"a":1}', 'text/plain')).toEqual([415, 'JSON_ONLY'])
    expect(await refusal('PATCH', '/session', '{"a":', 'application/json')).toEqual([400, 'JSON_INVALID'])
    expect(await refusal('PATCH', '/session', '[1]')).toEqual([400, 'JSON_INVALID'])
    expect(await refusal('PATCH', '/session', JSON.stringify({ a: 'x'.repeat(70_000) }))).toEqual([413, 'BODY_TOO_LARGE'])
    expect(await refusal('PATCH', '/session', JSON.stringify({ ['x'.repeat(200)]: 1 }))).toEqual([400, 'FIELD_NAME_INVALID'])
    expect(await refusal('POST', '/session/add', '{"a":"1"}')).toEqual([400, 'AMOUNT_INVALID'])
    expect(await refusal('POST', '/login', '{"user":""}')).toEqual([400, 'USER_INVALID'])
    expect(await refusal('GET', '/nowhere', null)).toEqual([404, 'NOT_FOUND'])
    expect(await refusal('PUT', '/session', '{}')).toEqual([405, 'METHOD_NOT_ALLOWED'])
  })

  test('each server answers directly too, and says whether it takes visitors', async () => {
    for (const { id, url } of (await lab.cluster()).nodes) {
      expect(await new ShopVisitor(url).ask('GET', '/session')).toMatchObject({ node: id })
      expect((await fetch(`${url}/health`)).status).toBe(200)
      const page = await fetch(url)
      expect(page.headers.get('content-security-policy')).toContain("script-src 'self'")
      expect(await page.text()).toContain('Tidewater')
    }
  })

  test('what a visitor has seen and was promised is checked against what the server has', async () => {
    const visitor = guest()
    const { key } = await visitor.ask('POST', '/session/add', { visits: 3 })
    expect(key).toEqual(expect.any(String))
    const made = await fetch(`${lab.shop}/session`, {
      method: 'PATCH',
      body: '{"visits":3}',
      headers: { 'content-type': 'application/json' },
    })
    const cookie = made.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; ')
    const { stale, lostUpdates } = (await lab.cluster()).totals
    await fetch(`${lab.shop}/session`, { headers: { cookie, 'x-lab-seen': '5', 'x-lab-acknowledged': '5' } })
    await fetch(`${lab.shop}/session`, { headers: { cookie, 'x-lab-seen': '3', 'x-lab-acknowledged': '5' } })
    await fetch(`${lab.shop}/session`, { headers: { cookie, 'x-lab-seen': '3', 'x-lab-acknowledged': '3' } })
    expect((await lab.cluster()).totals).toMatchObject({ stale: stale + 1, lostUpdates: lostUpdates + 2 })
  })
})
