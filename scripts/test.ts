/**
 * `npm test`: checks, then every test. Ends with one line `N passed, N failed`, the sum of both, and leaves the same numbers in
 * `.cache/test-results.json`. With arguments, they go to vitest and only it runs.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { runChecks } from './lib/checks.ts'
import { run } from './lib/process.mjs'

const RESULTS = '.cache/test-results.json'
const COUNTS = '.cache/vitest-counts.json'
const DEADLINE_MS = 27 * 60_000

interface Counts {
  passed: number
  failed: number
  skipped: number
}

function countsOfVitest(): Counts {
  try {
    return JSON.parse(readFileSync(COUNTS, 'utf8')) as Counts
  } catch {
    return { passed: 0, failed: 0, skipped: 0 }
  }
}

async function runTests(args: readonly string[]): Promise<Counts> {
  rmSync(COUNTS, { force: true })
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=./scripts/count-reporter.ts', ...args]
  const env = { ...process.env, NODE_ENV: 'test', HOLDFAST_TEST_COUNTS: COUNTS }
  const { code } = await run(process.execPath, vitest, { env, show: true, deadlineMs: DEADLINE_MS })
  const counts = countsOfVitest()
  // Vitest may fail where no test did: an unhandled error, a crash, its deadline, no test found.
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  if (counts.passed + counts.failed === 0) counts.failed = 1
  return counts
}

const args = process.argv.slice(2)
mkdirSync('.cache', { recursive: true })
rmSync(RESULTS, { force: true })
const checks = args.length > 0 ? { passed: [], failed: [] } : await runChecks()
const tests = await runTests(args)
const sum = { passed: checks.passed.length + tests.passed, failed: checks.failed.length + tests.failed, skipped: tests.skipped }
writeFileSync(RESULTS, JSON.stringify(sum))
if (checks.failed.length > 0) console.log(`failed: ${checks.failed.join(', ')}`)
if (sum.skipped > 0) console.log(`${sum.skipped} skipped`)
console.log(`${sum.passed} passed, ${sum.failed} failed`)
process.exit(sum.failed > 0 ? 1 : 0)
