/** What happens to the servers during one run, the same for every strategy. */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../cluster.ts'
import type { SessionServer } from './session-server.ts'
import type { Tally } from './tally.ts'

/** Parts of the run's time: the earliest moments, for each fault waits until the one before is over. */
const KILL_AT = 0.4
const RETURN_AT = 0.5
const REMOVE_AT = 0.75
const ADD_AT = 0.8
const STORE_STOPS_AT = 0.9
/** Longer than `dedicated` waits for its store by default (2 s): shorter stops are waited out, and nobody sees them. */
const STORE_STOPPED_MS = 2_500
/** What was waiting then may still be refused. */
const STORE_SETTLES_MS = 500

export interface FaultPlan {
  readonly cluster: Cluster
  readonly store: SessionServer | undefined
  readonly tally: Tally
  readonly seconds: number
  readonly stopping: AbortSignal
  /** Called before the first fault: until then all is well, and cost can be measured. */
  measured(): Promise<void>
}

/** Resolves, when all faults are over, to the time that failures lasted from the kill on, the server's return included. */
export async function playFaults({ cluster, store, tally, seconds, stopping, measured }: FaultPlan): Promise<number> {
  const startedAt = performance.now()
  const until = async (part: number): Promise<void> => {
    const left = startedAt + part * seconds * 1_000 - performance.now()
    if (left > 0) await sleep(left, undefined, { signal: stopping })
  }
  const [first, second] = cluster.view().nodes.map(({ id }) => id) as [string, string]

  await until(KILL_AT)
  tally.endMeasuring()
  await measured()
  const killedAt = performance.now()
  await cluster.act(first, 'kill')
  await until(RETURN_AT)
  await cluster.act(first, 'start')
  await until(REMOVE_AT)
  const recoveryMs = Math.max(0, tally.lastFailureAt - killedAt)
  await cluster.remove(second)
  await until(ADD_AT)
  await cluster.add()
  if (store?.pause === undefined) return recoveryMs
  await until(STORE_STOPS_AT)
  tally.storeStopped(true)
  store.pause(true)
  try {
    await sleep(STORE_STOPPED_MS, undefined, { signal: stopping })
  } finally {
    store.pause(false)
  }
  await sleep(STORE_SETTLES_MS, undefined, { signal: stopping })
  tally.storeStopped(false)
  return recoveryMs
}
