/**
 * One time for all servers, so that sessions expire alike on each, whatever their wall clocks say. A server counts by its
 * monotonic clock from a time agreed with the others. Servers without sessions agree on the median of all wall clocks; one that
 * joins takes the time of those that hold some. From then on the time only slews towards the median (Marzullo and Owicki, "Maintaining the
 * time in a distributed system", 1983, for why the median; RFC 5905 for slewing): a clock that jumps, or the only good one leaving, expires nobody.
 */
import type { Runtime } from '../seam.ts'

/** What a server says of its clocks, both in Unix ms. */
export interface ClockReading {
  /** Its wall clock. */
  readonly wall: number
  /** The time it goes by. */
  readonly agreed: number
  /** It holds sessions whose times are by `agreed`. */
  readonly isSettled: boolean
}

export interface Clock {
  /** Unix ms, as the servers agree. */
  now(): number
  reading(): ClockReading
  /** A server has been linked: it counts once it has told its time. */
  up(incarnation: string): void
  down(incarnation: string): void
  /** What it said, and when it was asked (monotonic ms). */
  heard(incarnation: string, askedAt: number, reading: ClockReading): void
}

/** Of the time that passes, at most this share is added or left out. Far below what a session's touch interval allows for. */
const SLEW = 0.01
/** A server this far from what most of them agree on was asleep, or cut off since its start: it follows at once. */
const STEP_MS = 1_000
/** An answer that took longer says little about the time; it counts after so many answers without a better one. */
const QUICK_MS = 100
const MOST_TRIES = 8
/** A sample is replaced by a worse one when it is this old: the other's wall clock may have been set since. */
const SAMPLE_MS = 5_000

/** Positions: a clock's time less this server's monotonic clock. They stand still where nobody sets a clock. */
interface Sample {
  wall: number
  agreed: number
  isSettled: boolean
  tripMs: number
  at: number
  tries: number
}

export function createClock(runtime: Runtime, holdsSessions: () => boolean): Clock {
  const linked = new Map<string, Sample | undefined>()
  /** Undefined while there has never been another server: the wall clock alone. */
  let agreed: number | undefined
  let isSettled = false
  let lastAt = 0

  const ownWall = (): number => runtime.now() - runtime.monotonic()
  const samples = (): Sample[] => [...linked.values()].filter((sample) => sample !== undefined)

  /** Sessions held here go by the agreed time from now on: unless it is not known yet. */
  function settle(): void {
    const isKnown = [...linked.values()].every(
      (sample) => sample !== undefined && (sample.tripMs <= QUICK_MS || sample.tries >= MOST_TRIES),
    )
    if (!isSettled && isKnown && holdsSessions()) isSettled = true
  }

  function adjust(): void {
    const known = samples()
    const now = runtime.monotonic()
    const passed = now - lastAt
    lastAt = now
    const settled = known.filter((sample) => sample.isSettled).map((sample) => sample.agreed)
    const wanted = median([ownWall(), ...known.map((sample) => sample.wall)])
    if (!isSettled) {
      agreed = settled.length > 0 ? median(settled) : wanted
      return
    }
    const own = agreed ?? ownWall()
    const all = [own, ...settled]
    const common = median(all)
    const agreeing = all.filter((position) => Math.abs(position - common) <= STEP_MS)
    if (Math.abs(own - common) > STEP_MS && agreeing.length * 2 > all.length) agreed = common
    else agreed = own + Math.max(-passed * SLEW, Math.min(passed * SLEW, wanted - own))
  }

  return {
    now: () => (agreed === undefined ? runtime.now() : agreed + runtime.monotonic()),
    reading() {
      settle()
      return { wall: runtime.now(), agreed: this.now(), isSettled }
    },
    up(incarnation) {
      settle()
      if (agreed === undefined) {
        agreed = ownWall()
        lastAt = runtime.monotonic()
      }
      linked.set(incarnation, undefined)
    },
    down: (incarnation) => void linked.delete(incarnation),
    heard(incarnation, askedAt, reading) {
      if (!linked.has(incarnation)) return
      const before = linked.get(incarnation)
      const at = runtime.monotonic()
      const tripMs = at - askedAt
      const tries = (before?.tries ?? 0) + 1
      // Most likely it answered in the middle of the time.
      const middle = (at + askedAt) / 2
      const isBetter = before === undefined || tripMs <= before.tripMs + 1 || at - before.at > SAMPLE_MS
      const sample = { wall: reading.wall - middle, agreed: reading.agreed - middle, isSettled: reading.isSettled, tripMs, at, tries }
      linked.set(incarnation, isBetter ? sample : { ...before, isSettled: reading.isSettled, tries })
      settle()
      adjust()
    },
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2
}
