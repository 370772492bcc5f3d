import type { StrategyName, StrategyOptions } from '../choice.ts'

/** What one strategy cost and lost with one number of servers. */
export interface CompareResult {
  readonly label: string
  readonly strategy: StrategyName
  readonly options: StrategyOptions
  readonly nodes: number
  readonly sessionsLost: number
  readonly failedRequests: number
  /** Refused while the session server was stopped on purpose. */
  readonly failedWhileStoreStopped: number
  /** Acknowledged writes that were gone at the end. */
  readonly lostUpdates: number
  /** Reads that showed less than the visitor had been told was stored. */
  readonly staleReads: number
  readonly requests: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the servers and the session server; null where the system does not tell. */
  readonly cpuMicrosPerRequest: number | null
  /** Between servers, acknowledgements and fetches included, less what they say when idle. */
  readonly betweenNodesBytesPerWrite: number
  /** To and from the session server; null: there is none, or it does not tell. */
  readonly storeBytesPerRequest: number | null
  readonly cookieBytesPerRequest: number
  readonly rssBytesPerNode: number
  /** From the kill of a server to the last failed request before the next one is taken away, its return included; 0: none failed. */
  readonly recoveryMs: number
}

export interface CompareMeta {
  readonly version: string
  readonly node: string
  readonly machine: string
  readonly startedAt: string
  readonly seconds: number
  readonly seed: number
  readonly workload: {
    readonly fingerprint: string
    readonly visitors: number
    readonly secondsEach: number
    readonly actionsPerSecond: number
    readonly writeShare: number
    readonly sessionBytes: number
  }
  /** What `dedicated` kept its sessions in. */
  readonly store: string
  /** Ended before all runs were made. */
  readonly partial: boolean
}

export interface CompareReport {
  readonly meta: CompareMeta
  readonly results: readonly CompareResult[]
}
