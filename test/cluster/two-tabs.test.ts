import { describe, expect, test } from 'vitest'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { replication } from '../../src/strategies/replication.ts'
import { runTabs, type TabsOptions, type TabsResult } from './tabs.ts'
import { ScalarFloorJar, SingleTokenJar } from './token-jars.ts'

type Strategy = (transport: () => Transport) => SessionStrategy

const ROUNDS_PER_SEED = 500
const DEADLINE_MS = 180_000

interface Sum {
  rounds: number
  reads: number
  staleRounds: number
  /** The first stale read, with the seed that replays it. */
  first: string | undefined
}

/** As many seeds as the rounds need, each a cluster of its own. */
async function sumOf(rounds: number, strategyOf: () => Strategy, jar?: TabsOptions['jar']): Promise<Sum> {
  const sum: Sum = { rounds: 0, reads: 0, staleRounds: 0, first: undefined }
  for (let seed = 1; sum.rounds < rounds; seed++) {
    const run = { seed, rounds: Math.min(ROUNDS_PER_SEED, rounds - sum.rounds), strategy: strategyOf() }
    const result: TabsResult = await runTabs({ ...run, ...(jar !== undefined && { jar }) }).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    })
    sum.rounds += result.rounds
    sum.reads += result.reads
    sum.staleRounds += result.staleRounds
    if (result.stale.length > 0) sum.first ??= `seed ${seed}: ${JSON.stringify(result.stale[0])}`
  }
  return sum
}

const SERVER_SIDE: readonly (readonly [string, () => Strategy])[] = [
  ['replication', () => (transport) => replication({ transport: transport() })],
  ['affinity', () => (transport) => affinity({ transport: transport() })],
]

const SHARED: readonly (readonly [string, () => Strategy])[] = [
  ['cookieBased', () => () => cookieBased()],
  [
    'dedicated',
    () => {
      const store = memoryStore()
      return () => dedicated({ store })
    },
  ],
]

describe('two tabs write at two servers, then a third reads', () => {
  for (const [rounds, strategies] of [
    [10_000, SERVER_SIDE],
    [2_000, SHARED],
  ] as const) {
    for (const [name, strategyOf] of strategies) {
      test(`${name} - 0 stale of ${rounds} rounds`, { timeout: DEADLINE_MS }, async () => {
        const sum = await sumOf(rounds, strategyOf)
        expect(sum.first).toBeUndefined()
        expect(sum).toMatchObject({ rounds, staleRounds: 0 })
        // Each round has two writes, which read first, and one read.
        expect(sum.reads).toBe(3 * rounds)
      })
    }
  }
})

describe('the same run with a weaker jar fails: the check can see a stale read', () => {
  for (const [name, strategyOf] of SERVER_SIDE) {
    test(`${name} - one mutable token cookie`, { timeout: DEADLINE_MS }, async () => {
      const sum = await sumOf(300, strategyOf, () => new SingleTokenJar())
      expect(sum.staleRounds).toBeGreaterThan(0)
    })

    test(`${name} - a scalar floor`, { timeout: DEADLINE_MS }, async () => {
      const sum = await sumOf(300, strategyOf, (runtime) => new ScalarFloorJar(runtime))
      expect(sum.staleRounds).toBeGreaterThan(0)
    })
  }
})
