/** Every server is ended by SIGTERM and started anew, one after the other, while visitors write. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../setup/virtual-runtime.ts'
import { crowdOf } from './crowd.ts'
import { type Server, SessionCluster, TITLES } from './session-cluster.ts'

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? Date.now() % 1_000_000)
const DEADLINE_MS = 240_000
const SESSIONS = 150
const AT_ONCE = 8

describe.each(['replication', 'affinity'] as const)('%s, three server processes under continuous writes', (strategy) => {
  test('a rolling restart of all servers loses no session and fails no request', { timeout: DEADLINE_MS }, async () => {
    const random = seededRandom(SEED)
    const cluster = await SessionCluster.start(strategy)
    try {
      const crowd = crowdOf({ visitors: SESSIONS, atOnce: AT_ONCE, random })
      await crowd.arrive(cluster.servers)
      let serving: readonly Server[] = cluster.servers

      /** Every lane of the crowd has sent its next request to somebody else. */
      async function moveOn(): Promise<void> {
        const target = crowd.acknowledged + 10 * AT_ONCE
        while (crowd.acknowledged < target) await sleep(10)
      }

      async function roll(): Promise<void> {
        for (let index = 0; index < cluster.servers.length; index++) {
          const leaving = cluster.server(index)
          // As a balancer does: it sends nobody to a server that is about to end, and nobody to one that is not ready.
          serving = cluster.servers.filter((server) => server !== leaving)
          await moveOn()
          await leaving.process.stop()
          await cluster.restart(index)
          serving = cluster.servers
          await moveOn()
        }
      }

      await crowd.writeUntil(() => serving, roll())
      const seeded = `${TITLES[strategy]}, seed ${SEED} (HOLDFAST_TEST_SEED)\n${cluster.output()}`
      expect(crowd.retried, seeded).toBe(0)
      for (const server of cluster.servers) expect(await crowd.lostAt(server), seeded).toEqual([])
    } finally {
      await cluster.stop()
    }
  })
})
