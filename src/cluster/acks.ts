import type { Runtime, Timer } from '../seam.ts'

/** `acked`: enough holders have it. `short`: too few are left. `late`: too few said so in time. */
export type AckOutcome = 'acked' | 'short' | 'late'

export interface AckRequest {
  readonly key: string
  readonly sequence: number
  /** Acknowledgements needed; Infinity: one of each server, those that go away excepted. */
  readonly needed: number
  readonly servers: Iterable<string>
  /** Called when a server went away: sends to further servers and names them. */
  readonly more?: (tried: ReadonlySet<string>) => readonly string[]
}

export interface Acks {
  sequence(): number
  /** Rejects only when the key ended meanwhile. */
  wait(request: AckRequest): Promise<AckOutcome>
  acked(incarnation: string, sequence: number): void
  /** Those that have neither acknowledged nor gone away. */
  outstanding(sequence: number): readonly string[]
  down(incarnation: string): void
  /** The session ended: who still waits for its write learns it. */
  fail(key: string, error: () => Error): void
  /** Resolves when nobody waits. */
  idle(): Promise<void>
}

interface Waiter {
  readonly request: AckRequest
  readonly outstanding: Set<string>
  readonly tried: Set<string>
  readonly deadlineAt: number
  count: number
  settle(outcome: AckOutcome): void
  reject(error: Error): void
}

export function createAcks(runtime: Runtime, deadlineMs: number): Acks {
  // In order of their deadlines, as all wait equally long: one timer serves all.
  const waiters = new Map<number, Waiter>()
  const idlers: (() => void)[] = []
  let last = 0
  let timer: Timer | undefined

  function done(waiter: Waiter): void {
    waiters.delete(waiter.request.sequence)
    if (waiters.size === 0) for (const idle of idlers.splice(0)) idle()
  }

  function judge(waiter: Waiter): void {
    const { needed } = waiter.request
    const everyone = needed === Infinity
    if (everyone ? waiter.outstanding.size === 0 : waiter.count >= needed) waiter.settle('acked')
    else if (!everyone && waiter.count + waiter.outstanding.size < needed) waiter.settle('short')
  }

  function arm(): void {
    const first = waiters.values().next().value
    if (timer !== undefined || first === undefined) return
    timer = runtime.setTimer(Math.max(0, first.deadlineAt - runtime.monotonic()), expire)
  }

  function expire(): void {
    timer = undefined
    const now = runtime.monotonic()
    for (const waiter of waiters.values()) {
      if (waiter.deadlineAt > now) break
      waiter.settle('late')
    }
    arm()
  }

  return {
    sequence: () => ++last,
    wait(request) {
      const { promise, resolve, reject } = Promise.withResolvers<AckOutcome>()
      const outstanding = new Set(request.servers)
      const waiter: Waiter = {
        request,
        outstanding,
        tried: new Set(outstanding),
        deadlineAt: runtime.monotonic() + deadlineMs,
        count: 0,
        settle(outcome) {
          done(waiter)
          resolve(outcome)
        },
        reject(error) {
          done(waiter)
          reject(error)
        },
      }
      waiters.set(request.sequence, waiter)
      judge(waiter)
      arm()
      return promise
    },
    acked(incarnation, sequence) {
      const waiter = waiters.get(sequence)
      if (waiter?.outstanding.delete(incarnation) !== true) return
      waiter.count++
      judge(waiter)
    },
    outstanding: (sequence) => [...(waiters.get(sequence)?.outstanding ?? [])],
    down(incarnation) {
      for (const waiter of [...waiters.values()]) {
        if (!waiter.outstanding.delete(incarnation)) continue
        for (const next of waiter.request.more?.(waiter.tried) ?? []) {
          waiter.tried.add(next)
          waiter.outstanding.add(next)
        }
        judge(waiter)
      }
    },
    fail(key, error) {
      for (const waiter of [...waiters.values()]) if (waiter.request.key === key) waiter.reject(error())
    },
    idle() {
      if (waiters.size === 0) return Promise.resolve()
      return new Promise((resolve) => idlers.push(resolve))
    },
  }
}
