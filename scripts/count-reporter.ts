/** A vitest reporter that writes how many tests passed, failed and were skipped to the file that HOLDFAST_TEST_COUNTS names. */
import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      for (const { state } of [...module.children.allTests()].map((test) => test.result())) {
        if (state === 'passed' || state === 'failed' || state === 'skipped') counts[state] += 1
        else counts.failed += 1
      }
      // A file that does not load, or a hook that throws, has no failed test to show for it.
      const failedTests = [...module.children.allTests('failed')].length
      if (module.state() === 'failed' && failedTests === 0) counts.failed += 1
    }
    const file = process.env.HOLDFAST_TEST_COUNTS
    if (file !== undefined) writeFileSync(file, JSON.stringify(counts))
  }
}

export default CountReporter
