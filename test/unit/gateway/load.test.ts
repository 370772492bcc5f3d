import { describe, expect, test } from 'vitest'
import { createPicker, type PickRequest } from '../../../src/gateway/picker.ts'
import { createServers, type Server, type Servers } from '../../../src/gateway/servers.ts'
import type { PolicyName } from '../../../src/gateway/options.ts'

const SETTINGS = {
  connectTimeoutMs: 1_000,
  headersTimeoutMs: 1_000,
  idleTimeoutMs: 1_000,
  clientBodyTimeoutMs: 1_000,
  slowStartMs: 0,
  limits: { perServer: 1_024, queue: 0, queueMs: 1_000 },
}

interface World {
  readonly servers: Servers
  pick(request: Partial<PickRequest>): Server
}

/** Servers that are up; nothing is connected. */
function world(count: number, policy: PolicyName, slowStartMs = 0): World {
  const servers = createServers({ ...SETTINGS, slowStartMs }, () => undefined)
  for (let at = 0; at < count; at++) servers.add({ id: `s${at}`, url: `http://127.0.0.1:${1_000 + at}` })
  for (const server of servers.list) servers.checked(server, 'up', '')
  const picker = createPicker({ policy, routeCookie: 'session-route', slowStartMs, secure: false }, servers)
  return {
    servers,
    pick: (request) => picker.pick({ address: '10.0.0.1', cookie: undefined, hasToken: false, ...request }, []) as Server,
  }
}

const peakOfMean = (servers: Servers): number => {
  const counts = servers.list.map(({ sessions }) => sessions ?? 0)
  return Math.max(...counts) / (counts.reduce((sum, one) => sum + one, 0) / counts.length)
}

/** A health check: every server tells how many sessions it has. */
function tell(servers: Servers, sessions: ReadonlyMap<Server, number>): void {
  for (const server of servers.list) {
    server.sessions = sessions.get(server) ?? 0
    server.newcomers = 0
  }
}

describe('load', () => {
  test.each(['sticky', 'consistent-hash'] as const)('%s - 10,000 new sessions are spread evenly', (policy) => {
    const { servers, pick } = world(4, policy)
    const sessions = new Map<Server, number>()
    tell(servers, sessions)
    for (let at = 0; at < 10_000; at++) {
      const server = pick({ address: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}` })
      sessions.set(server, (sessions.get(server) ?? 0) + 1)
      if (at % 100 === 99) tell(servers, sessions)
    }
    tell(servers, sessions)
    expect(peakOfMean(servers)).toBeLessThanOrEqual(policy === 'sticky' ? 1.05 : 1.25)
  })

  test('consistent-hash - a full house sends newcomers on, and never a visitor who may have a session', () => {
    const { servers, pick } = world(5, 'consistent-hash')
    const home = pick({ address: '10.1.1.1' })
    tell(servers, new Map([[home, 1_000]]))
    for (const server of servers.list) if (server !== home) server.sessions = 100
    const elsewhere = pick({ address: '10.1.1.1' })
    expect(elsewhere).not.toBe(home)
    expect(pick({ address: '10.1.1.1', cookie: 'session=s' })).toBe(home)
    expect(pick({ address: '10.1.1.1', hasToken: true })).toBe(home)
    servers.learn(elsewhere, 'there')
    expect(pick({ address: '10.1.1.1', cookie: 'session=s; session-route=there' })).toBe(elsewhere)
  })

  test('consistent-hash - a new server moves at most its share', () => {
    const { servers, pick } = world(4, 'consistent-hash')
    const visitors = Array.from({ length: 4_000 }, (_, at) => ({ address: `10.${at & 255}.${at >> 8}.9`, cookie: 'session=s' }))
    const before = visitors.map((visitor) => pick(visitor))
    servers.checked(servers.add({ id: 'new', url: 'http://127.0.0.1:2000' }), 'up', '')
    const moved = visitors.filter((visitor, at) => pick(visitor) !== before[at]).length
    expect(moved / visitors.length).toBeLessThanOrEqual(1.1 / 5)
    expect(moved / visitors.length).toBeGreaterThan(0.8 / 5)
  })

  test('slow start - a new process gets a tenth first', () => {
    const { servers, pick } = world(3, 'round-robin', 600_000)
    const counts = (): Map<Server, number> => {
      const all = new Map<Server, number>()
      for (let at = 0; at < 2_100; at++) {
        const server = pick({})
        all.set(server, (all.get(server) ?? 0) + 1)
      }
      return all
    }
    expect([...counts().values()]).toEqual([700, 700, 700])
    const [cold] = servers.list as [Server, Server, Server]
    servers.checked(cold, 'gone', '')
    servers.checked(cold, 'up', '')
    expect(counts().get(cold)).toBeGreaterThan(70)
    expect(counts().get(cold)).toBeLessThan(150)
    cold.warmAt = 0
    expect(counts().get(cold)).toBe(700)
  })
})
