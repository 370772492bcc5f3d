import type { Runtime } from '../seam.ts'
import type { CompareOutcome } from './message-codes.ts'
import type { Message } from './messages.ts'

/** What came of asking one server for a copy. A copy or a tombstone has been taken in before this resolves. */
export type FetchOutcome = 'record' | 'not-held' | 'tombstone' | 'silent'

export interface Requests {
  /**
   * Asks for a copy; one fetch per key and server is under way at a time. `joined`: it was under way already, so that what
   * it brings may be older than this call.
   */
  fetch(incarnation: string, key: string, deadlineMs: number): { readonly outcome: Promise<FetchOutcome>; readonly joined: boolean }
  compare(incarnation: string, deadlineMs: number, message: (request: number) => Message): Promise<CompareOutcome | 'silent'>
  answered(incarnation: string, request: number, outcome: FetchOutcome | CompareOutcome): void
  /** A number for requests with an answer in parts. */
  next(): number
  down(incarnation: string): void
}

interface Pending {
  readonly incarnation: string
  settle(outcome: never): void
}

export function createRequests(runtime: Runtime, post: (incarnation: string, message: Message) => void): Requests {
  const pending = new Map<number, Pending>()
  const fetches = new Map<string, Promise<FetchOutcome>>()
  let last = 0

  function ask<T>(incarnation: string, deadlineMs: number, message: (request: number) => Message): Promise<T | 'silent'> {
    const request = ++last
    return new Promise((resolve) => {
      const settle = (outcome: T | 'silent'): void => {
        if (!pending.delete(request)) return
        timer.cancel()
        resolve(outcome)
      }
      const timer = runtime.setTimer(deadlineMs, () => settle('silent'))
      pending.set(request, { incarnation, settle })
      post(incarnation, message(request))
    })
  }

  return {
    fetch(incarnation, key, deadlineMs) {
      const id = `${key}${incarnation}`
      const known = fetches.get(id)
      if (known !== undefined) return { outcome: known, joined: true }
      const outcome = ask<FetchOutcome>(incarnation, deadlineMs, (request) => ({ kind: 'fetch', request, key })).finally(() =>
        fetches.delete(id),
      )
      fetches.set(id, outcome)
      return { outcome, joined: false }
    },
    compare: (incarnation, deadlineMs, message) => ask<CompareOutcome>(incarnation, deadlineMs, message),
    answered(incarnation, request, outcome) {
      const waiting = pending.get(request)
      if (waiting?.incarnation === incarnation) waiting.settle(outcome as never)
    },
    next: () => ++last,
    down(incarnation) {
      for (const waiting of [...pending.values()]) if (waiting.incarnation === incarnation) waiting.settle('silent' as never)
    },
  }
}
