/** Checks of the source as a whole; each counts as one in the sum that `npm test` prints. */
import { existsSync } from 'node:fs'
import { run } from './process.mjs'

const DEADLINE_MS = 5 * 60_000

/** Each runs under this Node, from the project's folder. */
const CHECKS: Readonly<Record<string, readonly string[]>> = {
  'types of the package': ['node_modules/typescript/bin/tsc', '--noEmit', '-p', '.'],
  'types of tests and scripts': ['node_modules/typescript/bin/tsc', '-p', 'test'],
  // What the benchmarks measure beside Holdfast is installed by the benchmarks.
  ...(existsSync('bench/node_modules') && { 'types of the benchmarks': ['node_modules/typescript/bin/tsc', '-p', 'bench'] }),
  'types of the pages': ['node_modules/typescript/bin/tsc', '-p', 'ui'],
  lint: ['node_modules/oxlint/bin/oxlint', '--type-aware', '--max-warnings', '0'],
  format: ['node_modules/@biomejs/biome/bin/biome', 'format', '--max-diagnostics', '20'],
}

export interface CheckResults {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
}

/** Runs all of them, prints a line for each and the output of those that fail. */
export async function runChecks(): Promise<CheckResults> {
  const passed: string[] = []
  const failed: string[] = []
  for (const [name, args] of Object.entries(CHECKS)) {
    const startedAt = performance.now()
    const { code, output } = await run(process.execPath, args, { deadlineMs: DEADLINE_MS })
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    ;(code === 0 ? passed : failed).push(name)
    console.log(`${code === 0 ? '✓' : '✗'} ${name} (${seconds} s)`)
    if (code !== 0) console.log(output.trim())
  }
  return { passed, failed }
}
