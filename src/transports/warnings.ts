import type { ErrorCode } from '../errors.ts'
import type { Runtime } from '../seam.ts'

const QUIET_MS = 60_000
const MAX_REMEMBERED = 1000

/** One line to the log, at most once a minute per code and address. */
export type Warn = (code: ErrorCode, address: string, message: string) => void

export function warnings(runtime: Runtime, logger: Pick<Console, 'warn'>): Warn {
  const warnedAt = new Map<string, number>()
  return (code, address, message) => {
    const key = `${code} ${address}`
    const now = runtime.monotonic()
    const last = warnedAt.get(key)
    if (last !== undefined && now - last < QUIET_MS) return
    // A flood of addresses must not become a flood of memory: forget the oldest.
    warnedAt.delete(key)
    for (const oldest of warnedAt.keys()) {
      if (warnedAt.size < MAX_REMEMBERED) break
      warnedAt.delete(oldest)
    }
    warnedAt.set(key, now)
    logger.warn(`holdfast ${code}: server at ${address}: ${message}`)
  }
}
