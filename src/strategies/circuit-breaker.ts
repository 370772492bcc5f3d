import type { Runtime, Timer } from '../seam.ts'

/** Failures in a row after which nobody waits for the store any more. Only slow ones count: quick ones cost nobody anything. */
const SLOW_FAILURES = 3
/** How often a store behind an open breaker is asked whether it answers again. */
const PROBE_EVERY_MS = 250

/** Circuit breaker (Nygard, "Release It!", 2007): closed, open, and half-open while a probe is under way. */
export interface CircuitBreaker {
  readonly isOpen: boolean
  succeeded(): void
  failed(isSlow: boolean): void
  close(): void
}

/**
 * `probe` asks the store something cheap and rejects when it cannot be reached; visitors never pay for a probe.
 * `changed` tells when the breaker opens and when it closes again.
 */
export function circuitBreaker(runtime: Runtime, probe: () => Promise<unknown>, changed: (isOpen: boolean) => void): CircuitBreaker {
  let slowFailures = 0
  let isOpen = false
  let isClosed = false
  let timer: Timer | undefined

  function succeeded(): void {
    slowFailures = 0
    if (!isOpen) return
    isOpen = false
    timer?.cancel()
    changed(false)
  }

  function probeLater(): void {
    timer = runtime.setTimer(PROBE_EVERY_MS, () => void probe().then(succeeded, () => isOpen && probeLater()))
  }

  return {
    get isOpen(): boolean {
      return isOpen
    },
    succeeded,
    failed(isSlow): void {
      if (!isSlow || isOpen || isClosed) return
      slowFailures += 1
      if (slowFailures < SLOW_FAILURES) return
      isOpen = true
      changed(true)
      probeLater()
    },
    close(): void {
      isOpen = false
      isClosed = true
      timer?.cancel()
    },
  }
}
