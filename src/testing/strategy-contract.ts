import type { Capability, Lifetime, Sessions } from '../types.ts'
import type { Contract, ContractCase } from './contract.ts'
import { administrationCases } from './strategy-administration.ts'
import { concurrencyCases } from './strategy-concurrency.ts'
import { identityCases } from './strategy-identity.ts'
import { lifetimeCases } from './strategy-lifetime.ts'
import { dataCases } from './strategy-data.ts'
import type { Data } from './visit.ts'

/** A running cluster over the strategy under test. */
export interface StrategyCluster {
  /** At least three servers; fewer only where nothing is shared. */
  readonly servers: readonly Sessions<Data>[]
  close(): Promise<void>
}

export interface StrategyUnderTest {
  /** Starts servers with these lifetimes and defaults; ready when it resolves. */
  start(options: { lifetime?: Lifetime; initial?: () => Data }): Promise<StrategyCluster>
  readonly capabilities: ReadonlySet<Capability>
  /** Reasons why a group of cases does not apply. */
  readonly cannot?: {
    /** Other servers do not see the session. */
    share?: string
    /** No server state: an old jar lives on after logout and login. */
    end?: string
    /** Sessions lie in browsers: no server knows whose a key is, how many there are, or what another request stored. */
    know?: string
  }
}

export interface StrategyCase {
  readonly name: string
  readonly needs?: readonly ('share' | 'end' | 'know' | Capability)[]
  readonly options?: { lifetime?: Lifetime; initial?: () => Data }
  run(servers: readonly Sessions<Data>[]): Promise<void>
}

/** What every strategy promises, as cases for any runner. */
export function strategyContract(subject: StrategyUnderTest): Contract {
  const cases = [...dataCases, ...identityCases, ...concurrencyCases, ...lifetimeCases, ...administrationCases]
  return cases.map((one) => toCase(one, subject))
}

function toCase(one: StrategyCase, subject: StrategyUnderTest): ContractCase {
  const reasons = (one.needs ?? []).map((need) => {
    if (need === 'share' || need === 'end' || need === 'know') return subject.cannot?.[need]
    return subject.capabilities.has(need) ? undefined : `the strategy cannot ${need}`
  })
  const skip = reasons.find((reason) => reason !== undefined)
  return {
    name: one.name,
    ...(skip !== undefined && { skip }),
    async run() {
      const cluster = await subject.start(one.options ?? {})
      try {
        await one.run(cluster.servers)
      } finally {
        await cluster.close()
      }
    },
  }
}
