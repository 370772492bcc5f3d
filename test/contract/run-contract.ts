import { describe, test } from 'vitest'
import type { Contract } from '../../src/testing/contract.ts'

/** Runs a published contract under vitest; skipped cases carry their reason. */
export function runContract(name: string, contract: Contract, timeoutMs = 60_000): void {
  describe(name, () => {
    for (const one of contract) {
      test(one.name, ({ skip }) => (one.skip === undefined ? one.run(skip) : skip(one.skip)), timeoutMs)
    }
  })
}
