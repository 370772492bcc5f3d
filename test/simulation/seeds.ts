/** Runs many seeds of one strategy as tests: a failing one prints itself and how to replay it. */
import { expect, test } from 'vitest'
import { describePlan, drawPlan, type StrategyName } from './plan.ts'
import { simulate } from './run.ts'

/** Of each strategy. */
const SEEDS = 510
/** So that a failing seed is reported soon and no test outlives its limit. */
const SLICE = 51

export function testSeeds(strategy: StrategyName): void {
  const slices = Array.from({ length: SEEDS / SLICE }, (_, at) => 1 + at * SLICE)
  test.each(slices)(`simulation - ${strategy} keeps its promises for ${SLICE} seeds from %i on`, async (from) => {
    for (let seed = from; seed < from + SLICE; seed++) {
      const plan = drawPlan(seed, { strategy })
      const { violations } = await simulate(plan)
      const said = violations.map(({ promise, what }) => `promise ${promise}: ${what}`)
      expect(said, `${describePlan(plan)}\nreplay: npm run simulate -- --seed ${seed} --strategy ${strategy} --trace\n`).toEqual([])
    }
  })
}
