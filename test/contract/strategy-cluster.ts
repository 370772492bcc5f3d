import type { SessionStrategy } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import type { StrategyCluster, StrategyUnderTest } from '../../src/testing/strategy-contract.ts'

export const SECRET = 'a secret for tests, long enough to be one'
export const SERVERS = 3

export type Options = Parameters<StrategyUnderTest['start']>[0]

/** Servers of one process, each with its own strategy; `release` ends what they shared. */
export async function cluster(
  options: Options,
  strategies: readonly SessionStrategy[],
  release?: () => Promise<void>,
): Promise<StrategyCluster> {
  const servers = strategies.map((strategy, index) => createSessions({ secrets: SECRET, strategy, node: `n${index + 1}`, ...options }))
  await Promise.all(servers.map((server) => server.ready()))
  return {
    servers,
    async close() {
      await Promise.all(servers.map((server) => server.close()))
      await release?.()
    },
  }
}

export const times = <T>(make: (index: number) => T): T[] => Array.from({ length: SERVERS }, (_, index) => make(index))
