/** The rows of every form of the report: one way to name and to write a figure. */
import type { CompareResult } from './result.ts'

export interface Metric {
  readonly name: keyof CompareResult
  readonly title: string
  readonly unit: '' | 'ms' | 'µs' | 'B' | 'MB'
  /** More than 0 breaks a promise. */
  readonly isLoss?: true
}

export const METRICS: readonly Metric[] = [
  { name: 'sessionsLost', title: 'sessions lost', unit: '', isLoss: true },
  { name: 'lostUpdates', title: 'updates lost', unit: '', isLoss: true },
  { name: 'staleReads', title: 'stale reads', unit: '', isLoss: true },
  { name: 'failedRequests', title: 'failed requests', unit: '' },
  { name: 'failedWhileStoreStopped', title: '  while store stopped', unit: '' },
  { name: 'recoveryMs', title: 'recovery', unit: 'ms' },
  { name: 'p50Ms', title: 'p50', unit: 'ms' },
  { name: 'p99Ms', title: 'p99', unit: 'ms' },
  { name: 'cpuMicrosPerRequest', title: 'CPU / request', unit: 'µs' },
  { name: 'betweenNodesBytesPerWrite', title: 'mesh / write', unit: 'B' },
  { name: 'storeBytesPerRequest', title: 'store / request', unit: 'B' },
  { name: 'cookieBytesPerRequest', title: 'cookies / request', unit: 'B' },
  { name: 'rssBytesPerNode', title: 'memory / server', unit: 'MB' },
]

/** `–`: nothing to measure, or the system does not tell. */
export function figure(metric: Metric, result: CompareResult): string {
  const value = result[metric.name]
  if (typeof value !== 'number') return '–'
  if (metric.unit === 'MB') return (value / 1e6).toFixed(0)
  if (metric.unit === 'ms' && value < 10) return value.toFixed(1)
  return value.toFixed(0)
}

export const titleOf = ({ title, unit }: Metric): string => (unit === '' ? title : `${title}, ${unit}`)

/** What the measured figures say against what each configuration promises; empty: every promise held. */
export function brokenPromises(results: readonly CompareResult[]): string[] {
  return results.flatMap((result) => {
    if (!promisesNoLoss(result)) return []
    const losses = METRICS.filter(({ isLoss, name }) => isLoss === true && result[name] !== 0)
    const broken = losses.map((metric) => `${result.label}, ${result.nodes} servers: ${figure(metric, result)} ${metric.title}`)
    return result.recoveryMs <= 1_000
      ? broken
      : [...broken, `${result.label}, ${result.nodes} servers: recovery took ${figure(RECOVERY, result)} ms`]
  })
}

const RECOVERY = METRICS.find(({ name }) => name === 'recoveryMs') as Metric

/** Without sharing, or without a backup, the death of a server takes its sessions. */
function promisesNoLoss({ strategy, options }: CompareResult): boolean {
  return strategy !== 'isolated' && !(strategy === 'affinity' && options.backups === 0)
}
