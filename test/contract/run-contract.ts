import { describe, test } from 'vitest'
import type { Contract } from '../../src/testing/contract.ts'

/** Runs a published contract under vitest; skipped cases carry their reason. */
export function runContract(name: string, contract: Contract, timeoutMs = 60_000): void {
  describe(name, () => {
    for (const one of contract) {
      if (one.skip === undefined) test(one.name, ({ skip }) => one.run(skip), timeoutMs)
      // The reason stands in the name: a strategy that truly cannot.
      else test.skip(`${one.name} [${one.skip}]`, () => undefined)
    }
  })
}
