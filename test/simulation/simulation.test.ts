import { describe, expect, test } from 'vitest'
import type { Mutation } from './mutation.ts'
import { MUTATIONS } from './mutations.ts'
import { describePlan, drawPlan, type StrategyName, STRATEGIES } from './plan.ts'
import { type Run, simulate } from './run.ts'

/** In slices, so that a failing seed is reported soon and no test outlives its limit. */
const SEEDS = 510
const SLICE = 51
/** A mutation has to be caught within so many seeds. */
const MOST_SEEDS = 60

function said(run: Run): string[] {
  return run.violations.map(({ promise, what }) => `promise ${promise}: ${what}`)
}

async function firstCaught(mutation: Mutation): Promise<number | undefined> {
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    const drawn = drawPlan(seed, { profile: mutation.profile })
    if ((await simulate(mutation.plan?.(drawn) ?? drawn, mutation)).violations.length > 0) return seed
  }
  return undefined
}

describe.each(STRATEGIES)('simulation - %s', (strategy: StrategyName) => {
  const slices = Array.from({ length: SEEDS / SLICE }, (_, at) => 1 + at * SLICE)
  test.each(slices)('keeps its promises for the seeds from %i on', async (from) => {
    for (let seed = from; seed < from + SLICE; seed++) {
      const plan = drawPlan(seed, { strategy })
      const run = await simulate(plan)
      expect(said(run), `${describePlan(plan)}\nreplay: npm run simulate -- --seed ${seed} --strategy ${strategy} --trace\n`).toEqual([])
    }
  })
})

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
