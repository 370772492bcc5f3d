import type { Runtime } from '../seam.ts'

export interface WaitingList {
  /** Resolves once `isReady`, at the next `wake` or after `ms`, to whether it is. */
  wait(ms: number, isReady: () => boolean): Promise<boolean>
  wake(): void
}

export function waitingList(runtime: Runtime): WaitingList {
  const waiters = new Set<() => void>()
  return {
    wait(ms, isReady): Promise<boolean> {
      if (isReady()) return Promise.resolve(true)
      return new Promise((resolve) => {
        const end = (): void => {
          timer.cancel()
          waiters.delete(end)
          resolve(isReady())
        }
        const timer = runtime.setTimer(Math.max(0, ms), end)
        waiters.add(end)
      })
    },
    wake(): void {
      for (const end of [...waiters]) end()
    },
  }
}
