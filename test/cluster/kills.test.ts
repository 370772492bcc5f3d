import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../setup/virtual-runtime.ts'
import { type Crowd, crowdOf } from './crowd.ts'
import { type Server, SessionCluster, STRATEGIES, TITLES } from './session-cluster.ts'

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? Date.now() % 1_000_000)
const DEADLINE_MS = 240_000
const SESSIONS = 300
const AT_ONCE = 16
/** Acknowledged writes before the earliest and the latest death, and after it. */
const WRITES_BEFORE = [200, 600] as const
const WRITES_AFTER = 400
const PAUSE_MS = 3_000

/** Resolves once so many more writes are acknowledged. */
function acknowledged(crowd: Crowd, writes: number): { wait: Promise<void>; count: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const target = crowd.acknowledged + writes
  return { wait: promise, count: () => void (crowd.acknowledged >= target && resolve()) }
}

for (const strategy of STRATEGIES) {
  describe(`${TITLES[strategy]}, three server processes, ${SESSIONS} sessions under continuous writes`, () => {
    const random = seededRandom(SEED)
    const seeded = `${TITLES[strategy]}, seed ${SEED} (HOLDFAST_TEST_SEED)`
    let cluster: SessionCluster
    let crowd: Crowd
    let victim = 0
    beforeAll(async () => {
      cluster = await SessionCluster.start(strategy)
      crowd = crowdOf({ visitors: SESSIONS, atOnce: AT_ONCE, random })
      await crowd.arrive(cluster.servers)
    })
    afterAll(() => cluster?.stop())

    const others = (without: number): Server[] => cluster.servers.filter((_, index) => index !== without)

    test('SIGKILL of one server loses no acknowledged write', { timeout: DEADLINE_MS }, async () => {
      victim = random.between(0, 2)
      const dying = cluster.server(victim)
      const target = crowd.acknowledged + random.between(...WRITES_BEFORE)
      let dead = false
      const after = Promise.withResolvers<void>()
      let enough = Number.POSITIVE_INFINITY
      await crowd.writeUntil(() => (dead ? others(victim) : cluster.servers), after.promise, {
        onAnswer(server) {
          // In the very moment of an answer: what it acknowledged must be elsewhere by now.
          if (!dead && crowd.acknowledged >= target && server === dying) {
            dead = true
            enough = crowd.acknowledged + WRITES_AFTER
            dying.process.kill().catch(after.reject)
          }
          if (crowd.acknowledged >= enough) after.resolve()
        },
      })
      for (const server of others(victim)) expect(await crowd.lostAt(server), `${seeded}`).toEqual([])
    })

    test('the server comes back and serves every session', { timeout: DEADLINE_MS }, async () => {
      await cluster.restart(victim)
      expect(await crowd.lostAt(cluster.server(victim)), `${seeded}`).toEqual([])
      const more = acknowledged(crowd, WRITES_AFTER)
      await crowd.writeUntil(() => cluster.servers, more.wait, { onAnswer: more.count })
      for (const server of cluster.servers) expect(await crowd.lostAt(server), `${seeded}`).toEqual([])
    })

    test('after the return of the first, the death of a second loses nothing either', { timeout: DEADLINE_MS }, async () => {
      const second = (victim + 1) % 3
      await cluster.server(second).process.kill()
      for (const server of others(second)) expect(await crowd.lostAt(server), `${seeded}`).toEqual([])
      await cluster.restart(second)
      expect(await crowd.lostAt(cluster.server(second)), `${seeded}`).toEqual([])
    })

    test(`a server paused for ${PAUSE_MS / 1_000} s serves nothing stale when it resumes`, { timeout: DEADLINE_MS }, async () => {
      const paused = random.between(0, 2)
      const server = cluster.server(paused)
      const before = crowd.acknowledged
      server.process.pause()
      try {
        await crowd.writeUntil(() => others(paused), sleep(PAUSE_MS))
        expect(crowd.acknowledged, 'writes while it stood still').toBeGreaterThan(before)
        // Sent while it stands still: it finds them before anything else it missed.
        const lost = crowd.lostAt(server)
        await sleep(50)
        server.process.resume()
        expect(await lost, `${seeded}`).toEqual([])
      } finally {
        server.process.resume()
      }
      for (const one of cluster.servers) expect(await crowd.lostAt(one), `${seeded}`).toEqual([])
    })
  })
}
