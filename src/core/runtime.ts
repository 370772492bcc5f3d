import { randomFillSync } from 'node:crypto'
import type { Runtime, Timer } from '../seam.ts'

const POOL_BYTES = 4096
const LONGEST_TIMER_MS = 2_147_483_647

/** The real clock, timers and randomness. Tests and simulations inject their own. */
export function systemRuntime(): Runtime {
  // One call to the CSPRNG serves many ids: a call per id costs more than the id is worth.
  let pool = Buffer.alloc(0)
  let used = 0
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    randomBytes(size: number): Buffer {
      if (used + size > pool.length) {
        pool = randomFillSync(Buffer.allocUnsafeSlow(Math.max(POOL_BYTES, size)))
        used = 0
      }
      used += size
      return pool.subarray(used - size, used)
    },
    setTimer(ms: number, run: () => void): Timer {
      const timer = setTimeout(run, ms)
      timer.unref()
      return { cancel: () => clearTimeout(timer) }
    },
    defer: (run: () => void) => void setImmediate(run),
    keepAlive(): () => void {
      const timer = setInterval(() => undefined, LONGEST_TIMER_MS)
      return () => clearInterval(timer)
    },
  }
}
