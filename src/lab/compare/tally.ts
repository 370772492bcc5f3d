/** What the visitors of one run met. */
export interface Tally {
  /** A failure tells whether the store was stopped on purpose. */
  answered(request: { ms: number; cookieBytes: number; isWrite: boolean }): void
  failed(): void
  sessionLost(): void
  updateLost(): void
  staleRead(): void
  /** From now on requests count for latency and cost. */
  beginMeasuring(): void
  endMeasuring(): void
  /** The store is stopped: refusals are what its policy says. */
  storeStopped(isStopped: boolean): void
  /** `performance.now()` of the last failure. */
  readonly lastFailureAt: number
  counts(): Counts
}

export interface Counts {
  readonly sessionsLost: number
  readonly failedRequests: number
  readonly failedWhileStoreStopped: number
  readonly lostUpdates: number
  readonly staleReads: number
  readonly requests: number
  /** In the measured part. */
  readonly measuredRequests: number
  readonly measuredWrites: number
  readonly cookieBytes: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export function createTally(): Tally {
  const latencies: number[] = []
  let measuring = false
  let stopped = false
  let lastFailureAt = Number.NEGATIVE_INFINITY
  const counted = { sessionsLost: 0, failedRequests: 0, failedWhileStoreStopped: 0, lostUpdates: 0, staleReads: 0, requests: 0 }
  let writes = 0
  let cookieBytes = 0

  return {
    answered(request) {
      counted.requests += 1
      if (!measuring) return
      latencies.push(request.ms)
      cookieBytes += request.cookieBytes
      if (request.isWrite) writes += 1
    },
    failed() {
      counted.requests += 1
      lastFailureAt = performance.now()
      if (stopped) counted.failedWhileStoreStopped += 1
      else counted.failedRequests += 1
    },
    sessionLost: () => void (counted.sessionsLost += 1),
    updateLost: () => void (counted.lostUpdates += 1),
    staleRead: () => void (counted.staleReads += 1),
    beginMeasuring: () => void (measuring = true),
    endMeasuring: () => void (measuring = false),
    storeStopped: (isStopped) => void (stopped = isStopped),
    get lastFailureAt() {
      return lastFailureAt
    },
    counts() {
      const sorted = latencies.toSorted((a, b) => a - b)
      const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
      const measuredRequests = sorted.length
      return { ...counted, measuredRequests, measuredWrites: writes, cookieBytes, p50Ms: at(0.5), p99Ms: at(0.99) }
    },
  }
}
