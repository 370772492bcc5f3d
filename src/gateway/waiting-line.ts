/** Requests that wait because their server has as many under way as it may. */
export interface Waiter {
  /** Its turn has come. */
  admitted(): void
  /** It waited too long. */
  gaveUp(): void
  /** The server takes no more requests: choose another. */
  sentAway(): void
}

export interface WaitingLine {
  readonly size: number
  /** Returns what leaves the line, or undefined when it is full. */
  join(waiter: Waiter): (() => void) | undefined
  /** Lets the first go ahead. */
  admitOne(): void
  sendAway(): void
}

export function createWaitingLine(max: number, deadlineMs: number): WaitingLine {
  const line = new Map<Waiter, NodeJS.Timeout>()

  function leave(waiter: Waiter): void {
    clearTimeout(line.get(waiter))
    line.delete(waiter)
  }

  return {
    get size() {
      return line.size
    },
    join(waiter) {
      if (line.size >= max) return undefined
      const timer = setTimeout(() => {
        leave(waiter)
        waiter.gaveUp()
      }, deadlineMs)
      line.set(waiter, timer)
      return () => leave(waiter)
    },
    admitOne() {
      const [first] = line.keys()
      if (first === undefined) return
      leave(first)
      first.admitted()
    },
    sendAway() {
      const all = [...line.keys()]
      for (const waiter of all) leave(waiter)
      for (const waiter of all) waiter.sentAway()
    },
  }
}
