import { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'

/** Timers count in 32 bits of milliseconds. */
const TIMER_MAX_MS = 2_147_483_647

/** The abort signals of sessions in use on this server. */
export interface Signals {
  /** `expiresAt` is asked again each time it has passed, as a session in use moves it on; undefined: it is gone. */
  open(key: string, expiresAt: () => Promise<number | undefined>): { signal: AbortSignal; close(): void }
  abort(key: string): void
  /** Somebody on this server holds the signal of this session. */
  isOpen(key: string): boolean
  /** Asks for each whether its session is still there. */
  review(): void
  abortAll(): void
}

export function signals(runtime: Runtime): Signals {
  const open = new Map<string, Set<AbortController>>()
  const looks = new Set<() => void>()

  function abort(key: string): void {
    const controllers = open.get(key)
    open.delete(key)
    for (const controller of controllers ?? [])
      controller.abort(new SessionError('SESSION_GONE', 'The session has ended: close what belongs to it.'))
  }

  return {
    open(key, expiresAt) {
      const controller = new AbortController()
      const controllers = open.get(key) ?? new Set()
      open.set(key, controllers.add(controller))
      let timer: Timer | undefined
      const watch = (until: number | undefined): void => {
        if (controller.signal.aborted) return
        if (until === undefined) return abort(key)
        timer?.cancel()
        timer = runtime.setTimer(Math.min(Math.max(until - runtime.now(), 1), TIMER_MAX_MS), again)
      }
      // A store that is down ends nobody: the next look decides.
      const again = (): void => void expiresAt().then(watch, () => watch(runtime.now() + 1000))
      again()
      looks.add(again)
      return {
        signal: controller.signal,
        close() {
          timer?.cancel()
          looks.delete(again)
          controllers.delete(controller)
          if (controllers.size === 0 && open.get(key) === controllers) open.delete(key)
        },
      }
    },
    abort,
    isOpen: (key) => open.has(key),
    review() {
      for (const look of [...looks]) look()
    },
    abortAll() {
      for (const key of [...open.keys()]) abort(key)
    },
  }
}
