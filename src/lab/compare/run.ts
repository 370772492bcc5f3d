/** One strategy with one number of servers: visitors, faults, and what they met. */
import { Agent } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { LABELS_GRACE_MS } from '../../gateway/picker.ts'
import { type Cluster, createCluster } from '../cluster.ts'
import { inParallel } from '../in-parallel.ts'
import { freePort } from '../ports.ts'
import { playFaults } from './faults.ts'
import { createClient } from './http-client.ts'
import { cpuMicros } from './process-cpu.ts'
import type { CompareResult } from './result.ts'
import type { SessionServer } from './session-server.ts'
import { createShopper, type Shopper } from './shopper.ts'
import { createTally, type Tally } from './tally.ts'
import type { Variant } from './variants.ts'
import type { Action, Workload } from './workload.ts'

const AT_ONCE = 16
/** From then on the gateway sticks by a cookie of its own. */
const STICKS_AFTER_MS: number = LABELS_GRACE_MS + 100
/** One visitor in twenty has cookies off and sends the session's token in a header. */
const HEADER_EVERY = 20
/** Time for repair and membership before the last look. */
const QUIET_MS = 500
const IDLE_MS = 400

export interface RunOptions {
  readonly variant: Variant
  readonly nodes: number
  readonly workload: Workload
  /** Of `dedicated`. */
  readonly store: SessionServer | undefined
  readonly stopping: AbortSignal
  log(line: string): void
}

export async function runVariant({ variant, nodes, workload, store, stopping, log }: RunOptions): Promise<CompareResult> {
  const port = await freePort()
  const { label, options, strategy } = variant
  const tally = createTally()
  const agent = new Agent({ keepAlive: true, maxSockets: workload.visitors * 2 })
  const cluster = createCluster({
    nodes,
    port,
    controlUrl: '',
    choice: { strategy, options: store?.url === undefined ? options : { ...options, store: store.url } },
    log,
    event: () => undefined,
    changed: () => undefined,
  })
  try {
    await cluster.start()
    stopping.throwIfAborted()
    const shoppers = createShoppers(port, agent, tally, workload)
    // Before, visitors would take a home only after they are measured, and the moves would be counted as the cost of writes.
    if (options.policy === 'sticky') await sleep(STICKS_AFTER_MS, undefined, { signal: stopping })
    await inParallel(shoppers, (shopper) => shopper.enter(), AT_ONCE)
    // Each at home where it will stay: what a first write there costs is not what the next ones do.
    for (const kind of ['write', 'read', 'write'] as const)
      await inParallel(shoppers, (shopper) => shopper.perform({ atMs: 0, kind, fields: [0, 1] }), AT_ONCE)
    const idle = await idleBytesPerMs(cluster, stopping)
    const before = await figures(cluster, store)
    let after = before
    const measured = async (): Promise<void> => void (after = await figures(cluster, store))
    tally.beginMeasuring()
    let isOver = false
    const faults = playFaults({ cluster, store, tally, seconds: workload.seconds, stopping, measured }).finally(() => (isOver = true))
    const [recoveryMs] = await Promise.all([faults, play(shoppers, workload, stopping, () => isOver)])
    await sleep(QUIET_MS, undefined, { signal: stopping })
    await inParallel(shoppers, (shopper) => shopper.check(), AT_ONCE)
    const { measuredRequests, measuredWrites, cookieBytes, ...counts } = tally.counts()
    const per = (total: number | undefined, count: number): number | null => (total === undefined ? null : total / Math.max(1, count))
    return {
      label,
      strategy,
      options,
      nodes,
      ...counts,
      cpuMicrosPerRequest: per(difference(before.cpu, after.cpu), measuredRequests),
      betweenNodesBytesPerWrite:
        Math.max(0, after.sentBytes - before.sentBytes - idle * (after.at - before.at)) / Math.max(1, measuredWrites),
      storeBytesPerRequest: per(difference(before.storeBytes, after.storeBytes), measuredRequests),
      cookieBytesPerRequest: cookieBytes / Math.max(1, measuredRequests),
      rssBytesPerNode: after.rssBytes / nodes,
      recoveryMs,
    }
  } finally {
    agent.destroy()
    await cluster.close()
  }
}

function createShoppers(port: number, agent: Agent, tally: Tally, workload: Workload): Shopper[] {
  return workload.actions.map((_, index) => {
    const carrier = index % HEADER_EVERY === HEADER_EVERY - 1 ? 'header' : 'cookie'
    const user = index % 2 === 0 ? `visitor-${index}` : undefined
    return createShopper({ send: createClient(port, agent, carrier), tally, user }, workload)
  })
}

/**
 * Each visitor does one thing after the other, each at its time or as soon as the one before is done. Where servers take long to
 * start they begin again: a fault that nobody is there to meet shows nothing.
 */
async function play(shoppers: readonly Shopper[], workload: Workload, stopping: AbortSignal, isOver: () => boolean): Promise<void> {
  const startedAt = performance.now()
  await Promise.all(
    shoppers.map(async (shopper, index) => {
      for (const { action, atMs, isAgain } of endless(workload, index)) {
        const left = startedAt + atMs - performance.now()
        if (left > 0) await sleep(left, undefined, { signal: stopping })
        if (isAgain && isOver()) return
        // A token in a header is one value: two answers at once would need the browser helper to be joined.
        await shopper.perform(index % HEADER_EVERY === HEADER_EVERY - 1 && action.kind === 'pair' ? { ...action, kind: 'write' } : action)
      }
    }),
  )
}

interface Turn {
  readonly action: Action
  /** After the start of the run. */
  readonly atMs: number
  /** The workload itself is done. */
  readonly isAgain: boolean
}

function* endless({ actions, seconds }: Workload, index: number): Generator<Turn> {
  const own = actions[index] ?? []
  for (let round = 0; own.length > 0; round++)
    for (const action of own) yield { action, atMs: action.atMs + round * seconds * 1_000, isAgain: round > 0 }
}

/** Heartbeats and the like, which do not grow with the load: taken off what a write costs. */
async function idleBytesPerMs(cluster: Cluster, stopping: AbortSignal): Promise<number> {
  const before = await figures(cluster, undefined)
  await sleep(IDLE_MS, undefined, { signal: stopping })
  const after = await figures(cluster, undefined)
  return (after.sentBytes - before.sentBytes) / (after.at - before.at)
}

interface Figures {
  /** `performance.now()`. */
  readonly at: number
  readonly cpu: number | undefined
  readonly sentBytes: number
  readonly rssBytes: number
  readonly storeBytes: number | undefined
}

async function figures(cluster: Cluster, store: SessionServer | undefined): Promise<Figures> {
  await cluster.refresh()
  const { nodes } = cluster.view()
  const pids = [...nodes.flatMap(({ pid }) => pid ?? []), ...(store?.pids ?? [])]
  const sum = (pick: (node: (typeof nodes)[number]) => number): number => nodes.reduce((total, node) => total + pick(node), 0)
  return {
    at: performance.now(),
    cpu: cpuMicros(pids),
    sentBytes: sum((node) => node.sentBytes),
    rssBytes: sum((node) => node.rssBytes),
    storeBytes: await store?.traffic(),
  }
}

function difference(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}
