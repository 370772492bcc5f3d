import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from '../setup/servers.ts'
import { type LabNode, type RunningLab, ShopVisitor, startLab } from './lab-process.ts'

/** Fetch sends no foreign Host, so this one is made by hand. */
function statusWith(url: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    asked.once('error', reject)
    asked.end()
  })
}

describe('lab control', () => {
  let lab: RunningLab
  beforeAll(async () => {
    lab = await startLab('--strategy', 'dedicated', '--nodes', '2')
  })
  afterAll(() => lab?.stop())

  const nodeOf = async (id: string): Promise<LabNode | undefined> => (await lab.cluster()).nodes.find((node) => node.id === id)

  test('the cluster is described with all its figures', async () => {
    const cluster = await lab.cluster()
    expect(cluster).toMatchObject({
      strategy: 'dedicated',
      gateway: { url: lab.shop, policy: 'round-robin' },
      totals: { sessions: expect.any(Number), lost: 0, lostUpdates: 0, stale: 0, failed: 0 },
    })
    expect(cluster.nodes.map((node) => node.id)).toEqual(['n1', 'n2'])
    for (const node of cluster.nodes) {
      expect(node).toMatchObject({ state: 'up', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), pid: expect.any(Number) })
      expect(node.rssBytes).toBeGreaterThan(10_000_000)
      expect([node.sessions, node.sentBytes, node.receivedBytes]).toEqual([0, 0, 0])
    }
  })

  test('a server can be killed and started; each answers when it is so', async () => {
    const before = await nodeOf('n1')
    const killed = await lab.api<LabNode>('POST', '/api/nodes/n1/kill')
    expect(killed.status).toBe(200)
    expect(killed.body).toMatchObject({ id: 'n1', state: 'down', pid: null })
    expect(() => process.kill(before?.pid ?? 0, 0)).toThrow('ESRCH')
    const started = await lab.api<LabNode>('POST', '/api/nodes/n1/start')
    expect(started.body).toMatchObject({ id: 'n1', state: 'up', url: before?.url })
    expect((await fetch(`${before?.url}/health`)).status).toBe(200)
  })

  test('a server can be paused and resumed', async () => {
    expect((await lab.api<LabNode>('POST', '/api/nodes/n2/pause')).body).toMatchObject({ state: 'paused' })
    expect((await nodeOf('n2'))?.state).toBe('paused')
    expect((await lab.api<LabNode>('POST', '/api/nodes/n2/resume')).body).toMatchObject({ state: 'up' })
  })

  test('servers can be added, drained and removed', async () => {
    const added = await lab.api<LabNode>('POST', '/api/nodes')
    expect(added.status).toBe(201)
    expect(added.body).toMatchObject({ state: 'up' })
    const { id, url } = added.body
    expect((await lab.api<LabNode>('POST', `/api/nodes/${id}/drain`)).body).toMatchObject({ state: 'draining' })
    expect((await fetch(`${url}/health`)).status).toBe(503)
    expect((await lab.api('DELETE', `/api/nodes/${id}`)).status).toBe(204)
    expect(await nodeOf(id)).toBeUndefined()
    expect((await lab.api('DELETE', `/api/nodes/${id}`)).status).toBe(404)
  })

  test('an unknown server is 404, a wrong state 409, an unknown address 404, a wrong method 405', async () => {
    const status = async (method: string, path: string): Promise<number> => (await lab.api(method, path)).status
    expect(await status('POST', '/api/nodes/n99/kill')).toBe(404)
    expect(await status('POST', '/api/nodes/n1/start')).toBe(409)
    expect(await status('POST', '/api/nodes/n1/resume')).toBe(409)
    expect(await status('POST', '/api/nodes/n1/explode')).toBe(404)
    expect(await status('GET', '/api/nothing')).toBe(404)
    expect(await status('GET', '/api/nodes/n1/kill')).toBe(405)
    await lab.api('POST', '/api/nodes/n1/kill')
    for (const action of ['kill', 'pause', 'drain', 'resume']) expect(await status('POST', `/api/nodes/n1/${action}`)).toBe(409)
    await lab.api('POST', '/api/nodes/n1/start')
  })

  test('foreign hosts and origins are refused, the page itself is not', async () => {
    const url = `${lab.control}/api/cluster`
    const host = new URL(lab.control).host
    expect(await statusWith(url, { host: 'attacker.example' })).toBe(403)
    expect(await statusWith(url, { host: 'attacker.example' }, 'POST')).toBe(403)
    expect(await statusWith(`${lab.control}/`, { host: 'localhost' })).toBe(403)
    expect(await statusWith(url, { host, origin: 'http://attacker.example' })).toBe(403)
    expect(await statusWith(url, { host, origin: lab.shop })).toBe(403)
    expect(await statusWith(url, { host, origin: 'null' })).toBe(403)
    expect(await statusWith(url, { host, origin: lab.control })).toBe(200)
  })

  test('bodies are JSON objects, bounded and checked', async () => {
    const put = async (body: string, type: string): Promise<number> =>
      (await fetch(`${lab.control}/api/strategy`, { method: 'PUT', body, headers: { 'content-type': type } })).status
    expect(await put('{"strategy":"isolated"}', 'text/plain')).toBe(415)
    expect(await put('{"strategy":', 'application/json')).toBe(400)
    expect(await put('[]', 'application/json')).toBe(400)
    expect(await put('{"strategy":"telepathy"}', 'application/json')).toBe(400)
    expect(await put('{"strategy":"isolated","options":{"copies":2}}', 'application/json')).toBe(400)
    expect(await put('{"strategy":"replication","options":{"copies":2,"acks":2}}', 'application/json')).toBe(400)
    expect(await put(`{"strategy":"${'x'.repeat(20_000)}"}`, 'application/json')).toBe(413)
    expect((await lab.cluster()).strategy).toBe('dedicated')
  })

  test('the page forbids inline scripts and frames', async () => {
    const page = await fetch(`${lab.control}/`)
    const policy = page.headers.get('content-security-policy')
    expect(policy).toContain("script-src 'self'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe-inline')
    expect(await page.text()).toContain('Holdfast lab')
    expect((await fetch(`${lab.control}/assets/..%2f..%2fcli/main.js`)).status).toBe(404)
  })

  test('events tell of the cluster and of sessions as they happen', async () => {
    const stopping = new AbortController()
    const response = await fetch(`${lab.control}/api/events`, { signal: stopping.signal })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    let text = ''
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    })().catch(() => undefined)
    await waitFor(() => text.includes('event: cluster'))
    const { key } = await new ShopVisitor(lab.shop).ask('PATCH', '/session', { colour: 'red' })
    const line = await waitFor(() => text.split('\n').find((one) => one.startsWith('data: ') && one.includes(`"key":"${key}"`)))
    expect(JSON.parse(line.slice(6))).toMatchObject({ type: 'created', node: expect.stringMatching(/^n[12]$/), key })
    stopping.abort()
    await reading
  })

  test('the strategy can be switched; the answer comes when the cluster is ready', async () => {
    const switched = await lab.api('PUT', '/api/strategy', { strategy: 'isolated', options: { policy: 'least-connections' } })
    expect(switched.status).toBe(200)
    expect(switched.body).toMatchObject({
      strategy: 'isolated',
      gateway: { policy: 'least-connections' },
      totals: { sessions: 0, lost: 0 },
    })
    expect(switched.body.nodes.map((node) => node.state)).toEqual(['up', 'up'])
    expect((await new ShopVisitor(lab.shop).ask('GET', '/session')).isNew).toBe(true)
    expect((await lab.api('PUT', '/api/strategy', { strategy: 'cookie-based' })).body).toMatchObject({ strategy: 'cookieBased' })
  })

  test('a bounded crowd of visitors fills the cluster', async () => {
    expect((await lab.api('PUT', '/api/strategy', { strategy: 'replication' })).status).toBe(200)
    expect((await lab.api('POST', '/api/visitors', { count: 201 })).status).toBe(400)
    expect((await lab.api('POST', '/api/visitors', { count: 12 })).body).toMatchObject({ created: 12 })
    const cluster = await lab.cluster()
    expect(cluster.totals).toMatchObject({ sessions: 12, lost: 0, failed: 0 })
    expect(cluster.nodes[0]?.sessions).toBe(12)
    expect(cluster.nodes[0]?.sentBytes).toBeGreaterThan(0)
  })
})
