/**
 * A virtual clock for tests and simulations: time moves only when the test says so, randomness comes from a seed, and two
 * runs with one seed do the same things in the same order.
 *
 * ```ts
 * const runtime = createVirtualRuntime({ seed: 7 })
 * const store = memoryStore({ runtime })
 * await runtime.advance(30 * 60_000)        // runs every timer due in the next half hour, in order
 * ```
 *
 * Several servers on one timeline, each with a clock and random bytes of its own:
 *
 * ```ts
 * const world = createVirtualWorld({ seed: 7 })
 * const a = world.runtime()
 * const b = world.runtime({ skewMs: 3_000 }) // b's wall clock is three seconds ahead
 * await world.advance(1_000)
 * ```
 */
import type { Runtime, Timer } from '../../src/seam.ts'

/** 2026-01-01T00:00:00Z: where virtual wall clocks start unless told otherwise. */
export const VIRTUAL_EPOCH = 1_767_225_600_000

export interface Random {
  /** A whole number, 0 … 2^32 - 1. */
  uint32(): number
  /** 0 ≤ x < 1. */
  float(): number
  /** A whole number, `from` ≤ n ≤ `to`. */
  between(from: number, to: number): number
  /** One of the items; throws when there is none. */
  pick<T>(items: readonly T[]): T
  /** True with this probability. */
  chance(probability: number): boolean
  bytes(size: number): Buffer
}

/** Seeded pseudo-random numbers (Small Fast Counter, 32 bits: Doty-Humphrey, PractRand). Not for secrets. */
export function seededRandom(seed: number): Random {
  let a = 0
  let b = seed | 0
  let c = (seed / 0x1_0000_0000) | 0
  let counter = 1
  const uint32 = (): number => {
    const result = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + result
    return result >>> 0
  }
  for (let round = 0; round < 12; round++) uint32()
  const float = (): number => uint32() / 0x1_0000_0000
  const between = (from: number, to: number): number => from + Math.floor(float() * (to - from + 1))
  return {
    uint32,
    float,
    between,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new RangeError('nothing to pick from')
      return items[between(0, items.length - 1)] as T
    },
    chance: (probability) => float() < probability,
    bytes: (size) => {
      const bytes = Buffer.allocUnsafe(size)
      for (let at = 0; at < size; at++) bytes[at] = uint32() & 0xff
      return bytes
    },
  }
}

interface Scheduled {
  readonly dueAt: number
  readonly order: number
  readonly run: () => void
}

export interface VirtualRuntimeOptions {
  /** Added to this server's wall clock; may be negative. Default 0. */
  skewMs?: number
}

export interface VirtualRuntime extends Runtime {
  /** Moves this server's wall clock, as a wrong administrator or NTP would. `monotonic()` is not touched. */
  setSkew(ms: number): void
  /** Cancels everything this server has scheduled: its process died. */
  crash(): void
  /** While paused, timers that come due wait for `resume()`, as after SIGSTOP. */
  pause(): void
  resume(): void
}

export interface VirtualWorld {
  readonly random: Random
  /** Milliseconds since the world began. */
  elapsed(): number
  runtime(options?: VirtualRuntimeOptions): VirtualRuntime
  /** Runs what was deferred and the promises that hang on it, until nothing is left to do at this instant. */
  settle(): Promise<void>
  /** Lets `ms` of virtual time pass: every timer due runs at its time, each followed by `settle()`. */
  advance(ms: number): Promise<void>
  /** Advances from timer to timer until the condition holds; throws when it does not within `deadlineMs` of virtual time. */
  advanceUntil(condition: () => boolean, deadlineMs: number, what: string): Promise<void>
  /** Timers and deferred calls that wait to run. */
  pending(): number
}

export interface WorldOptions {
  /** Default 1. */
  seed?: number
  /** Unix ms at the beginning. Default {@link VIRTUAL_EPOCH}. */
  startAt?: number
}

/** A chain of promises is followed this many turns before it counts as endless. */
const MOST_TURNS = 100_000

export function createVirtualWorld(options: WorldOptions = {}): VirtualWorld {
  const startAt = options.startAt ?? VIRTUAL_EPOCH
  const random = seededRandom(options.seed ?? 1)
  const timers = new Set<Scheduled>()
  let deferred: Scheduled[] = []
  let elapsed = 0
  let order = 0

  const nextDue = (until: number): Scheduled | undefined => {
    let first: Scheduled | undefined
    for (const timer of timers) {
      if (timer.dueAt > until) continue
      if (first === undefined || timer.dueAt < first.dueAt || (timer.dueAt === first.dueAt && timer.order < first.order)) first = timer
    }
    return first
  }

  const settle = async (): Promise<void> => {
    for (let turn = 0; ; turn++) {
      if (turn > MOST_TURNS) throw new Error('the virtual world does not come to rest: something defers itself for ever')
      // A real turn of the event loop lets every promise that can settle do so.
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (deferred.length === 0) return
      const batch = deferred
      deferred = []
      for (const call of batch) call.run()
    }
  }

  const step = async (until: number): Promise<boolean> => {
    const timer = nextDue(until)
    if (timer === undefined) return false
    timers.delete(timer)
    elapsed = Math.max(elapsed, timer.dueAt)
    timer.run()
    await settle()
    return true
  }

  const advance = async (ms: number): Promise<void> => {
    const until = elapsed + ms
    await settle()
    while (await step(until));
    elapsed = until
  }

  const runtime = ({ skewMs = 0 }: VirtualRuntimeOptions = {}): VirtualRuntime => {
    const bytes = seededRandom(random.uint32())
    let skew = skewMs
    let life = 0
    let paused = false
    let waiting: (() => void)[] = []
    // A call made in an earlier life of this server, or while it is paused, must not run now.
    const guarded = (run: () => void): (() => void) => {
      const born = life
      return () => {
        if (born !== life) return
        if (paused) waiting.push(run)
        else run()
      }
    }
    return {
      now: () => startAt + elapsed + skew,
      monotonic: () => elapsed,
      randomBytes: (size) => bytes.bytes(size),
      setTimer: (ms, run): Timer => {
        let cancelled = false
        const call = guarded(() => {
          if (!cancelled) run()
        })
        const timer: Scheduled = { dueAt: elapsed + Math.max(0, ms), order: order++, run: call }
        timers.add(timer)
        return {
          cancel: () => {
            cancelled = true
            timers.delete(timer)
          },
        }
      },
      defer: (run) => {
        deferred.push({ dueAt: elapsed, order: order++, run: guarded(run) })
      },
      setSkew: (ms) => {
        skew = ms
      },
      crash: () => {
        life += 1
        waiting = []
        paused = false
      },
      pause: () => {
        paused = true
      },
      resume: () => {
        paused = false
        const calls = waiting
        waiting = []
        for (const call of calls) deferred.push({ dueAt: elapsed, order: order++, run: guarded(call) })
      },
    }
  }

  return {
    random,
    elapsed: () => elapsed,
    runtime,
    settle,
    advance,
    advanceUntil: async (condition, deadlineMs, what) => {
      const until = elapsed + deadlineMs
      await settle()
      while (!condition()) {
        if (!(await step(until))) throw new Error(`did not happen within ${deadlineMs} virtual ms: ${what}`)
      }
    },
    pending: () => timers.size + deferred.length,
  }
}

/** One server in a world of its own: a `Runtime` with `advance` and `settle` on it. */
export function createVirtualRuntime(options: WorldOptions & VirtualRuntimeOptions = {}): VirtualRuntime & Omit<VirtualWorld, 'runtime'> {
  const world = createVirtualWorld(options)
  return { ...world, ...world.runtime(options) }
}
