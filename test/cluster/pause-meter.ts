/** Finds how long this process's event loop stood still. */
import { PerformanceObserver } from 'node:perf_hooks'

export interface Pauses {
  /** Longest time between two turns. */
  readonly longestMs: number
  /** The same, but at most the processor time of this thread in it: what the machine gave to other processes counts not. */
  readonly longestBusyMs: number
  /** Longest stop by the garbage collector. */
  readonly longestCollectionMs: number
}

export interface PauseMeter {
  /** Since the last call. */
  take(): Pauses
}

const EVERY_MS = 1

export function pauseMeter(): PauseMeter {
  let pauses = { longestMs: 0, longestBusyMs: 0, longestCollectionMs: 0 }
  let lastAt = performance.now()
  let lastBusy = busyMs()
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) pauses.longestCollectionMs = Math.max(pauses.longestCollectionMs, duration)
  })
  observer.observe({ entryTypes: ['gc'] })

  setInterval(() => {
    const at = performance.now()
    const busy = busyMs()
    const gap = at - lastAt
    pauses.longestMs = Math.max(pauses.longestMs, gap)
    pauses.longestBusyMs = Math.max(pauses.longestBusyMs, Math.min(gap, busy - lastBusy))
    lastAt = at
    lastBusy = busy
  }, EVERY_MS).unref()

  return {
    take() {
      const taken = pauses
      pauses = { longestMs: 0, longestBusyMs: 0, longestCollectionMs: 0 }
      return taken
    },
  }
}

function busyMs(): number {
  const { system, user } = process.threadCpuUsage()
  return (system + user) / 1000
}
