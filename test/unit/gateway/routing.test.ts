import type { IncomingMessage, ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { addressBytes } from '../../../src/gateway/address.ts'
import { ipHash } from '../../../src/gateway/policies/ip-hash.ts'
import { ask, gatewayTo, stateOf, upstream, waitFor, type RunningGateway, type Upstream } from './harness.ts'

const named = (name: string) => (_incoming: IncomingMessage, response: ServerResponse) => void response.end(name)

async function three(): Promise<[Upstream, Upstream, Upstream]> {
  return [await upstream('a', named('a')), await upstream('b', named('b')), await upstream('c', named('c'))]
}

async function route(gateway: RunningGateway, cookie?: string): Promise<string> {
  return (await ask(gateway.port, cookie === undefined ? {} : { headers: { cookie } })).text
}

test('round-robin - every server in turn', async () => {
  const gateway = await gatewayTo(await three())
  const seen: string[] = []
  for (let at = 0; at < 6; at++) seen.push(await route(gateway))
  expect(seen).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
})

test('ip-hash - a visitor stays, and moves as nginx would when the server is down', async () => {
  const servers = await three()
  const gateway = await gatewayTo(servers, { policy: 'ip-hash', trustForwarded: true })
  const expected = (address: string, down: number[]): string =>
    'abc'[ipHash(addressBytes(address), 3, (index) => !down.includes(index))] as string
  const addresses = Array.from({ length: 12 }, (_, at) => `10.${at}.7.1`)
  const routes = async (): Promise<string[]> => {
    const answers: string[] = []
    for (const address of addresses) answers.push((await ask(gateway.port, { headers: { 'x-forwarded-for': address } })).text)
    return answers
  }
  expect(new Set(await routes()).size).toBe(3)
  expect(await routes()).toEqual(addresses.map((address) => expected(address, [])))
  await servers[1].kill()
  await waitFor('b is down', () => stateOf(gateway, 'b') === 'down')
  expect(await routes()).toEqual(addresses.map((address) => expected(address, [1])))
})

test('sticky - the route cookie leads to the owner, then to its backups in order; forged labels lead nowhere', async () => {
  const servers = await three()
  for (const server of servers) server.health.label = `n-${server.id}`
  const gateway = await gatewayTo(servers, { policy: 'sticky', routeCookie: 'shop-route' })
  for (let at = 0; at < 4; at++) expect(await route(gateway, 'x=1; shop-route=n-b.n-c')).toBe('b')
  expect(await route(gateway, 'shop-route=evil.n-c')).toBe('c')
  expect(['a', 'b', 'c']).toContain(await route(gateway, 'shop-route=127.0.0.1:22.http://evil'))
  await servers[1].kill()
  await waitFor('b is down', () => stateOf(gateway, 'b') === 'down')
  for (let at = 0; at < 4; at++) expect(await route(gateway, 'shop-route=n-b.n-c.n-a')).toBe('c')
  const moved = await ask(gateway.port)
  expect(moved.headers['set-cookie']).toBeUndefined()
  await upstream('b', named('b again'), servers[1].port).then((again) => (again.health.label = 'n-b'))
  await waitFor('b is up', () => stateOf(gateway, 'b') === 'up')
  await waitFor('its label is known', async () => (await route(gateway, 'shop-route=n-b.n-c')) === 'b again')
})

test('sticky - a label on any answer is learnt and never shown', async () => {
  const labelled = (name: string) => (_incoming: IncomingMessage, response: ServerResponse) =>
    void response.setHeader('x-holdfast-route', name).end(name)
  const servers = [await upstream('a', labelled('la')), await upstream('b', labelled('lb'))]
  const gateway = await gatewayTo(servers, { policy: 'sticky' })
  for (let at = 0; at < 4; at++) expect((await ask(gateway.port)).headers['x-holdfast-route']).toBeUndefined()
  for (let at = 0; at < 4; at++) expect(await route(gateway, 'session-route=lb')).toBe('lb')
})

test('sticky - visitors without a cookie go to the least busy server', async () => {
  const held: ServerResponse[] = []
  const hold = (name: string) => (incoming: IncomingMessage, response: ServerResponse) =>
    void (incoming.url === '/hold' ? held.push(response) : response.end(name))
  const servers = [await upstream('a', hold('a')), await upstream('b', hold('b'))]
  const gateway = await gatewayTo(servers, { policy: 'sticky' })
  const waiting = ask(gateway.port, { path: '/hold' })
  await waitFor('one is busy', () => held.length === 1)
  const busy = gateway.servers().find(({ active }) => active === 1)?.id
  const seen = new Set<string>()
  for (let at = 0; at < 4; at++) seen.add(await route(gateway))
  expect(seen).toEqual(new Set(['a', 'b'].filter((id) => id !== busy)))
  held[0]?.end()
  await waiting
})

test('sticky - without labels the gateway sticks by a cookie of its own, which says nothing and cannot be made up', async () => {
  const servers = await three()
  const gateway = await gatewayTo(servers, { policy: 'sticky', routeCookie: 'r' })
  let first = await ask(gateway.port)
  await waitFor('the gateway sets its cookie', async () => (first = await ask(gateway.port)).headers['set-cookie'] !== undefined)
  const cookie = first.headers['set-cookie']?.[0] as string
  expect(cookie).toMatch(/^r-gw=[A-Za-z0-9_-]{22}; Path=\/; HttpOnly; SameSite=Lax$/)
  const pair = cookie.split(';')[0] as string
  for (let at = 0; at < 5; at++) {
    const answer = await ask(gateway.port, { headers: { cookie: pair } })
    expect([answer.text, answer.headers['set-cookie']]).toEqual([first.text, undefined])
  }
  const others = new Set<string>()
  for (let at = 0; at < 6; at++) others.add(await route(gateway, `r-gw=${first.text}`))
  expect(others.size).toBe(3)
  await servers['abc'.indexOf(first.text)]?.kill()
  const moved = await ask(gateway.port, { headers: { cookie: pair } })
  expect(moved.text).not.toBe(first.text)
  expect(moved.headers['set-cookie']).toHaveLength(1)
})

test('consistent-hash and least-connections serve', async () => {
  for (const policy of ['consistent-hash', 'least-connections'] as const) {
    const gateway = await gatewayTo(await three(), { policy })
    const seen = new Set<string>()
    for (let at = 0; at < 6; at++) seen.add(await route(gateway))
    expect(seen.size).toBe(policy === 'consistent-hash' ? 1 : 3)
  }
})
