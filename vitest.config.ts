import { defineConfig } from 'vitest/config'

interface Suite {
  readonly name: string
  readonly folders: readonly string[]
  /** Only these files of them; without it, all that no other suite takes. */
  readonly only?: string
  /** Suites run one after the other in this order: real processes and browsers must not fight the others for the processor. */
  readonly order: number
  readonly workers: number
  readonly testTimeout: number
}

/** They measure how soon a store is noticed and back: beside others that would say something about the others. */
const OUTAGES = '*outage*'
/** Of the tests with processes those that measure no time. */
const UNHURRIED = '{cli-*,compare-*,lab-options,parallel-writes,two-tabs,cookie-guarded}'

const SUITES: readonly Suite[] = [
  { name: 'unit', folders: ['unit', 'contract', 'setup'], order: 0, workers: 2, testTimeout: 30_000 },
  { name: 'simulation', folders: ['simulation'], order: 1, workers: 2, testTimeout: 300_000 },
  { name: 'package', folders: ['package'], order: 2, workers: 1, testTimeout: 120_000 },
  { name: 'services', folders: ['services'], order: 3, workers: 2, testTimeout: 60_000 },
  { name: 'outages', folders: ['services'], only: OUTAGES, order: 4, workers: 1, testTimeout: 60_000 },
  { name: 'processes', folders: ['cluster'], only: UNHURRIED, order: 5, workers: 2, testTimeout: 120_000 },
  { name: 'cluster', folders: ['cluster'], order: 6, workers: 1, testTimeout: 120_000 },
  { name: 'browser', folders: ['browser'], order: 7, workers: 1, testTimeout: 120_000 },
]

export default defineConfig({
  test: {
    projects: SUITES.map(({ name, folders, only, order, workers, testTimeout }) => ({
      test: {
        name,
        include: folders.map((folder) => `test/${folder}/**/${only ?? '*'}.test.ts`),
        exclude: only === undefined ? [`test/services/**/${OUTAGES}.test.ts`, `test/cluster/**/${UNHURRIED}.test.ts`] : [],
        environment: 'node',
        pool: 'forks',
        maxWorkers: workers,
        sequence: { groupOrder: order },
        testTimeout,
        hookTimeout: 120_000,
        teardownTimeout: 20_000,
      },
    })),
  },
})
