/** What every session store must do, as runnable cases: for authors of stores, with any test runner. */
import { systemRuntime } from '../core/runtime.ts'
import type { SessionStore, StoreContext } from '../seam.ts'
import type { Contract, ContractCase } from './contract.ts'
import type { StoreAbility, StoreCase } from './store-case-tools.ts'
import { storeEndCases } from './store-cases-end.ts'
import { storeParallelCases } from './store-cases-parallel.ts'
import { storeBaseCases } from './store-cases-base.ts'
import { storePatchCases } from './store-cases-patch.ts'
import { storePushCases } from './store-cases-push.ts'
import { storeServerCases } from './store-cases-servers.ts'
import { storeUserCases } from './store-cases-users.ts'
import { storeValueCases } from './store-cases-values.ts'

export type { StoreAbility } from './store-case-tools.ts'

/** A store with no records in it, not yet ready; `end` is called when the case is over, after all its stores were closed. */
export interface StoreUnderTest {
  readonly store: SessionStore
  /** A second store on the same data, as another server would have it, not yet ready. The contract closes it. */
  another?(): SessionStore
  end?(): Promise<void>
}

export interface StoreContractOptions {
  /** What this store cannot do, and why, in a few words: the reason with which the cases that need it are skipped. */
  readonly cannot?: Partial<Readonly<Record<StoreAbility, string>>>
}

const CASES: readonly StoreCase[] = [
  ...storePatchCases,
  ...storeBaseCases,
  ...storeEndCases,
  ...storeUserCases,
  ...storeValueCases,
  ...storeParallelCases,
  ...storeServerCases,
  ...storePushCases,
]

/**
 * Cases for one store. `make` is called once per case and must give an empty store each time. Cases that need what `cannot` names carry
 * `skip`; those that need what the store itself says it cannot do are skipped when they run, by the `skip` that `run` is given.
 */
export function storeContract(make: () => Promise<StoreUnderTest>, { cannot = {} }: StoreContractOptions = {}): Contract {
  return CASES.map((one): ContractCase => {
    const [name, , ...needs] = one
    const reason = needs.map((need) => cannot[need]).find((why) => why !== undefined)
    return { name, run: (skip) => run(one, make, skip), ...(reason === undefined ? {} : { skip: reason }) }
  })
}

async function run([, body, ...needs]: StoreCase, make: () => Promise<StoreUnderTest>, skip?: (why: string) => void): Promise<void> {
  const given = await make()
  const { store } = given
  const others: SessionStore[] = []
  const lacking = needs.map((need) => lackOf(need, given)).find((why) => why !== undefined)
  try {
    if (lacking !== undefined) return
    await store.ready(contextFor())
    await body(store, async () => {
      const other = (given.another as () => SessionStore)()
      others.push(other)
      await other.ready(contextFor())
      return other
    })
  } finally {
    await Promise.all([store, ...others].map((each) => each.close()))
    await given.end?.()
    // Last, because some runners throw here.
    if (lacking !== undefined) skip?.(lacking)
  }
}

/** Why a case with this need does not apply; undefined: it does. */
function lackOf(need: StoreAbility, { store, another }: StoreUnderTest): string | undefined {
  if (need === 'another') return another === undefined ? 'this test gives no second store on the same data' : undefined
  if (need === 'list' || need === 'users') return store.capabilities.has(need) ? undefined : `not among its capabilities: ${need}`
  if (need === 'endUser') return store.endUser === undefined ? 'it has no endUser' : undefined
  if (need === 'push') return store.freshness === 'push' ? undefined : 'it announces no changes'
  return undefined
}

function contextFor(): StoreContext {
  return { runtime: systemRuntime(), logger: console, deadlineMs: 5_000, stateChanged: () => {} }
}
