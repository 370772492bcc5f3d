/** The gateway's choice of servers for visitors who come and go, on a clock of the test's own. */
import { expect, test } from 'vitest'
import { createPicker } from '../../../src/gateway/picker.ts'
import { createServers, type Server } from '../../../src/gateway/servers.ts'
import { createVirtualWorld, type Random } from '../../setup/virtual-runtime.ts'

const SESSIONS = 10_000
/** The mean of a session's life: an idle end of 30 minutes, say. */
const LIFETIME_MS = 1_800_000
/** So that as many come as go. */
const ARRIVAL_MS = LIFETIME_MS / SESSIONS
/** A health check of each server, in which it tells how many sessions it has. */
const TELL_MS = 500

const settings = (slowStartMs: number) => ({
  connectTimeoutMs: 1_000,
  headersTimeoutMs: 1_000,
  idleTimeoutMs: 1_000,
  clientBodyTimeoutMs: 1_000,
  slowStartMs,
  limits: { perServer: 1_024, queue: 0, queueMs: 1_000 },
})

/** How long a session lives, and how long one still has that is met at some time. */
interface Lives {
  readonly whole: (random: Random) => number
  readonly rest: (random: Random) => number
}

const exponential = (random: Random): number => -Math.log(1 - random.float()) * LIFETIME_MS
const LIVES: Readonly<Record<string, Lives>> = {
  'of any length': { whole: exponential, rest: exponential },
  'of equal length': { whole: () => LIFETIME_MS, rest: (random) => random.float() * LIFETIME_MS },
}

function traffic(lives: Lives, slowStartMs: number) {
  const world = createVirtualWorld({ seed: 5 })
  const now = world.elapsed
  const servers = createServers({ ...settings(slowStartMs), now }, () => undefined)
  const picker = createPicker({ policy: 'sticky', routeCookie: 'session-route', slowStartMs, secure: false, now }, servers)
  const sessions = new Map<Server, number>()
  const ending = new Map<number, Server[]>()
  let arrivals = 0

  function count(server: Server, by: number): void {
    sessions.set(server, (sessions.get(server) ?? 0) + by)
  }
  function arrive(lifeMs: number): void {
    const server = picker.pick({ address: '10.0.0.1', cookie: undefined, hasToken: false }, []) as Server
    const at = arrivals + Math.max(1, Math.round(lifeMs / ARRIVAL_MS))
    count(server, 1)
    ending.set(at, [...(ending.get(at) ?? []), server])
  }
  function tell(): void {
    for (const server of servers.list) {
      server.sessions = sessions.get(server) ?? 0
      server.newcomers = 0
    }
  }
  function join(label: string): Server {
    const server = servers.add({ id: label, url: `http://127.0.0.1:${1_000 + servers.list.length}` }, servers.list.length >= 4)
    servers.checked(server, 'up', '')
    servers.learn(server, label)
    tell()
    return server
  }

  for (let at = 0; at < 4; at++) join(`n${at}`)
  for (let at = 0; at < SESSIONS; at++) arrive(lives.rest(world.random))
  return {
    servers,
    join,
    of: (server: Server): number => sessions.get(server) ?? 0,
    where: (label: string) => picker.pick({ address: '10.0.0.1', cookie: `session=s; session-route=${label}`, hasToken: false }, []),
    mean: (): number => [...sessions.values()].reduce((sum, one) => sum + one, 0) / servers.list.length,
    peak: (): number => Math.max(...sessions.values()),
    elapsed: now,
    async step(): Promise<void> {
      const before = now()
      await world.advance(ARRIVAL_MS)
      arrivals++
      for (const server of ending.get(arrivals) ?? []) count(server, -1)
      ending.delete(arrivals)
      if (Math.floor(now() / TELL_MS) > Math.floor(before / TELL_MS)) tell()
      arrive(lives.whole(world.random))
    },
  }
}

test.each([
  ['of any length', 0],
  ['of equal length', 0],
  ['of any length', 30_000],
] as const)(
  'sticky - sessions %s, slow start %i ms: a server added under traffic has nine tenths of the mean within 0.3 lifetimes, then no server has more than 1.05 of it',
  async (lives, slowStartMs) => {
    const run = traffic(LIVES[lives] as Lives, slowStartMs)
    expect(run.peak() / run.mean()).toBeLessThanOrEqual(1.05)
    for (let at = 0; at < 1_000; at++) await run.step()
    expect(run.peak() / run.mean()).toBeLessThanOrEqual(1.05)

    const addedAt = run.elapsed()
    const homes = run.servers.list.map((server, at) => [`n${at}`, server] as const)
    const added = run.join('n4')
    while (run.of(added) < 0.9 * run.mean()) {
      expect(run.elapsed() - addedAt).toBeLessThan(0.3 * LIFETIME_MS)
      await run.step()
      // Visitors with a session stay where it is.
      for (const [label, server] of homes) expect(run.where(label)).toBe(server)
    }
    while (run.elapsed() - addedAt < LIFETIME_MS) await run.step()
    expect(run.mean() * 5).toBeGreaterThan(0.9 * SESSIONS)
    expect(run.peak() / run.mean()).toBeLessThanOrEqual(1.05)
  },
)
