import type { Runtime } from '../seam.ts'
import type { Link } from './tcp-link.ts'

const PING_MS = 1000
const SILENCE_MS = 5000
/** A timer this late means that this process was stalled. */
const STALL_MS = 1000

export interface SilenceOptions {
  readonly runtime: Runtime
  links(): Iterable<Link>
  ping(link: Link): void
}

/** Pings every link once a second and closes those silent for five. Returns what stops it. */
export function watchSilence({ runtime, links, ping }: SilenceOptions): () => void {
  let due = runtime.monotonic() + PING_MS
  let timer = runtime.setTimer(PING_MS, tick)
  let stopped = false

  function tick(): void {
    const now = runtime.monotonic()
    const stalled = now - due > STALL_MS
    for (const link of [...links()]) {
      // A process that was stalled itself accuses nobody: what came meanwhile is still unread.
      if (stalled) link.heardAt = now
      if (now - link.heardAt > SILENCE_MS) link.close(`silent for ${SILENCE_MS / 1000} s`)
      else ping(link)
    }
    due = now + PING_MS
    if (!stopped) timer = runtime.setTimer(PING_MS, tick)
  }

  return () => {
    stopped = true
    timer.cancel()
  }
}
