import type { Runtime, Timer } from '../seam.ts'

/** `acked`: enough holders have it. `short`: too few are left. `late`: too few said so in time. */
export type AckOutcome = 'acked' | 'short' | 'late'

export interface AckRequest {
  readonly key: string
  readonly sequence: number
  /** Acknowledgements needed; Infinity: one of each server, those that go away excepted. */
  readonly needed: number
  readonly servers: readonly string[]
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
  /** A few: an array is smaller than a set, and as quick. */
  readonly outstanding: string[]
  /** All that were ever asked; undefined while that is all of the request's. */
  tried: Set<string> | undefined
  readonly deadlineAt: number
  count: number
  readonly resolve: (outcome: AckOutcome) => void
  readonly reject: (error: Error) => void
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

  function settle(waiter: Waiter, outcome: AckOutcome): void {
    done(waiter)
    waiter.resolve(outcome)
  }

  function judge(waiter: Waiter): void {
    const { needed } = waiter.request
    const everyone = needed === Infinity
    const left = waiter.outstanding.length
    if (everyone ? left === 0 : waiter.count >= needed) settle(waiter, 'acked')
    else if (!everyone && waiter.count + left < needed) settle(waiter, 'short')
  }

  function arm(): void {
    if (timer !== undefined) return
    const first = waiters.values().next().value
    if (first !== undefined) timer = runtime.setTimer(Math.max(0, first.deadlineAt - runtime.monotonic()), expire)
  }

  /** False: it was not waited for. */
  function strike({ outstanding }: Waiter, incarnation: string): boolean {
    const at = outstanding.indexOf(incarnation)
    if (at === -1) return false
    outstanding.splice(at, 1)
    return true
  }

  function askMore(waiter: Waiter): void {
    const { more, servers } = waiter.request
    if (more === undefined) return
    waiter.tried ??= new Set(servers)
    for (const next of more(waiter.tried)) {
      waiter.tried.add(next)
      waiter.outstanding.push(next)
    }
  }

  function expire(): void {
    timer = undefined
    const now = runtime.monotonic()
    for (const waiter of waiters.values()) {
      if (waiter.deadlineAt > now) break
      settle(waiter, 'late')
    }
    arm()
  }

  return {
    sequence: () => ++last,
    wait(request) {
      const { promise, resolve, reject } = Promise.withResolvers<AckOutcome>()
      const deadlineAt = runtime.monotonic() + deadlineMs
      const waiter: Waiter = { request, outstanding: [...request.servers], tried: undefined, deadlineAt, count: 0, resolve, reject }
      waiters.set(request.sequence, waiter)
      judge(waiter)
      arm()
      return promise
    },
    acked(incarnation, sequence) {
      const waiter = waiters.get(sequence)
      if (waiter === undefined || !strike(waiter, incarnation)) return
      waiter.count++
      judge(waiter)
    },
    outstanding: (sequence) => [...(waiters.get(sequence)?.outstanding ?? [])],
    down(incarnation) {
      for (const waiter of [...waiters.values()]) {
        if (!strike(waiter, incarnation)) continue
        askMore(waiter)
        judge(waiter)
      }
    },
    fail(key, error) {
      for (const waiter of [...waiters.values()]) {
        if (waiter.request.key !== key) continue
        done(waiter)
        waiter.reject(error())
      }
    },
    idle() {
      if (waiters.size === 0) return Promise.resolve()
      return new Promise((resolve) => idlers.push(resolve))
    },
  }
}
