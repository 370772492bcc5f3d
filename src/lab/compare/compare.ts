/** `holdfast compare`: every strategy under the same load and the same faults, at several numbers of servers. */
import { setMaxListeners } from 'node:events'
import { cpus, release, totalmem } from 'node:os'
import { shownStoreUrl } from '../store-url.ts'
import { startWatchdog } from '../watchdog.ts'
import type { CompareReport, CompareResult } from './result.ts'
import { runVariant } from './run.ts'
import { givenServer, ownServer, type SessionServer } from './session-server.ts'
import { type Variant } from './variants.ts'
import { createWorkload, type WorkloadOptions } from './workload.ts'

export interface CompareOptions {
  readonly version: string
  readonly variants: readonly Variant[]
  readonly nodes: readonly number[]
  readonly workload: WorkloadOptions
  /** Of `dedicated`; undefined: one of our own. */
  readonly storeUrl: string | undefined
}

export interface CompareProgress {
  begin(run: { number: number; of: number; label: string; nodes: number }): void
  done(result: CompareResult): void
  /** What a server had to say. */
  log(line: string): void
}

/** What is finished when `stopping` is aborted or a run fails is not lost: the report is marked as partial. */
export interface Compared {
  readonly report: CompareReport
  /** What a run failed with. */
  readonly failure: Error | undefined
}

/** Never rejects. When it resolves, nothing that it started is left running. */
export async function compare(options: CompareOptions, progress: CompareProgress, stopping: AbortSignal): Promise<Compared> {
  const startedAt = new Date()
  // Every visitor waits for it.
  setMaxListeners(0, stopping)
  const workload = createWorkload(options.workload)
  const runs = options.nodes.flatMap((nodes) => options.variants.map((variant) => ({ variant, nodes })))
  const results: CompareResult[] = []
  const watchdog = startWatchdog()
  let store: SessionServer | undefined
  let failure: Error | undefined
  try {
    for (const [index, { variant, nodes }] of runs.entries()) {
      if (stopping.aborted) break
      progress.begin({ number: index + 1, of: runs.length, label: variant.label, nodes })
      const isDedicated = variant.strategy === 'dedicated'
      if (isDedicated) store ??= await openStore()
      const run = { variant, nodes, workload, store: isDedicated ? store : undefined, stopping, log: progress.log }
      const result = await runVariant(run)
      results.push(result)
      progress.done(result)
    }
  } catch (error) {
    if (!stopping.aborted) failure = error instanceof Error ? error : new Error(String(error))
  } finally {
    store?.close()
    await watchdog.close()
  }
  return { report: { meta: meta(), results }, failure }

  function openStore(): Promise<SessionServer> | SessionServer {
    const { storeUrl } = options
    return storeUrl === undefined ? ownServer(watchdog) : givenServer(storeUrl, shownStoreUrl(storeUrl))
  }

  function meta(): CompareReport['meta'] {
    const { actionsPerSecond, fieldBytes, fields, seconds, seed, visitors, writeShare } = options.workload
    const processors = cpus()
    return {
      version: options.version,
      node: process.version,
      machine: `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}`,
      startedAt: startedAt.toISOString(),
      seconds: Math.round((Date.now() - startedAt.getTime()) / 100) / 10,
      seed,
      workload: {
        fingerprint: workload.fingerprint,
        visitors,
        secondsEach: seconds,
        actionsPerSecond,
        writeShare,
        sessionBytes: fields * fieldBytes,
      },
      store: store?.name ?? 'not used',
      partial: results.length < runs.length,
    }
  }
}
