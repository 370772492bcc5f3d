import { describe, expect, test } from 'vitest'
import type { Mutation } from './mutation.ts'
import { MUTATIONS } from './mutations.ts'
import { drawPlan, STRATEGIES } from './plan.ts'
import { simulate } from './run.ts'

/** A mutation has to be caught within so many seeds. */
const MOST_SEEDS = 60

async function firstCaught(mutation: Mutation): Promise<number | undefined> {
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    const drawn = drawPlan(seed, { profile: mutation.profile })
    if ((await simulate(mutation.plan?.(drawn) ?? drawn, mutation)).violations.length > 0) return seed
  }
  return undefined
}

describe('simulation - the checker', () => {
  test.each(MUTATIONS.map((mutation) => [mutation.name, mutation] as const))('catches %s', async (_, mutation) => {
    expect(await firstCaught(mutation)).toBeDefined()
  })
})

describe('simulation - replay', () => {
  test.each(STRATEGIES)('%s: one seed gives one history', async (strategy) => {
    for (const profile of ['mixed', 'lossy', 'expiry'] as const) {
      const plan = drawPlan(7, { strategy, profile })
      const first = await simulate(plan)
      const second = await simulate(plan)
      expect(first.history.requests.length).toBeGreaterThan(20)
      expect(second.digest).toBe(first.digest)
    }
  })

  test('another seed gives another history', async () => {
    const plan = drawPlan(7, { strategy: 'replication' })
    expect((await simulate(plan)).digest).not.toBe((await simulate({ ...plan, seed: 8 })).digest)
  })
})
