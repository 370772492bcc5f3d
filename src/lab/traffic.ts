/** A standing crowd that asks at a steady rate: what the control page's traffic control sets. */
import { wholeNumber } from './choice.ts'
import { inParallel, unlessFailed } from './in-parallel.ts'
import type { JsonObject } from './json-body.ts'
import { createVisitor, type Visitor } from './visitor.ts'

export interface TrafficSettings {
  /** 0: no traffic. At most 200. */
  readonly visitors: number
  /** Of all of them together, at most 200. */
  readonly requestsPerSecond: number
  /** Of the requests, how many write: 0 to 100. */
  readonly writePercent: number
  /** Of each session, at most 8,192. */
  readonly sessionBytes: number
}

export interface Traffic {
  settings(): TrafficSettings
  set(settings: TrafficSettings): void
  find(key: string): Visitor | undefined
  /** While the cluster starts anew nobody asks; then others come, for these had sessions of a cluster that is gone. */
  renew(restart: Promise<void>): Promise<void>
  close(): void
}

const BOUNDS: Readonly<Record<keyof TrafficSettings, readonly [min: number, max: number]>> = {
  visitors: [0, 200],
  requestsPerSecond: [1, 200],
  writePercent: [0, 100],
  sessionBytes: [0, 8_192],
}
const NO_TRAFFIC: TrafficSettings = { visitors: 0, requestsPerSecond: 20, writePercent: 30, sessionBytes: 500 }
const TICK_MS = 50
/** Servers that do not answer must not pile up requests. */
const UNDER_WAY_MAX = 64

/** Settings left out stay as they are. Throws OPTION_INVALID. */
export function checkTraffic(body: JsonObject, now: TrafficSettings): TrafficSettings {
  const checked: Record<string, number> = { ...now }
  for (const [name, [min, max]] of Object.entries(BOUNDS)) {
    if (body[name] !== undefined) checked[name] = wholeNumber(body[name], name, min, max)
  }
  return checked as unknown as TrafficSettings
}

interface Regular {
  readonly visitor: Visitor
  busy: boolean
}

export function createTraffic(baseUrl: string): Traffic {
  let settings = NO_TRAFFIC
  let crowd: Regular[] = []
  let due = 0
  let writesDue = 0
  let turn = 0
  let underWay = 0
  let entering = false
  let held = false
  let generation = 0

  const timer = setInterval(tick, TICK_MS)
  timer.unref()

  function tick(): void {
    if (settings.visitors === 0 || held) return
    if (crowd.length < settings.visitors) void enter()
    due = Math.min(due + (settings.requestsPerSecond * TICK_MS) / 1000, settings.requestsPerSecond)
    for (; due >= 1; due--) {
      if (underWay < UNDER_WAY_MAX) next()
    }
  }

  async function enter(): Promise<void> {
    if (entering) return
    entering = true
    const [wanted, era, bytes] = [settings.visitors - crowd.length, generation, settings.sessionBytes]
    const come = unlessFailed(async () => {
      if (era !== generation) return
      const visitor = createVisitor(baseUrl)
      await visitor.visit()
      if (bytes > 0) await visitor.fill(bytes)
      if (era === generation && crowd.length < settings.visitors) crowd.push({ visitor, busy: false })
    })
    await inParallel([...Array(wanted).keys()], come)
    entering = false
  }

  /** The next one who is not waiting for an answer. */
  function next(): void {
    for (let tried = 0; tried < crowd.length; tried++) {
      const regular = crowd[turn++ % crowd.length] as Regular
      if (!regular.busy) return void ask(regular)
    }
  }

  async function ask(regular: Regular): Promise<void> {
    regular.busy = true
    underWay += 1
    writesDue += settings.writePercent / 100
    const writes = writesDue >= 1
    if (writes) writesDue -= 1
    await (writes ? regular.visitor.visit() : regular.visitor.look()).catch(() => undefined)
    regular.busy = false
    underWay -= 1
  }

  return {
    settings: () => settings,
    set(wanted) {
      if (wanted.sessionBytes !== settings.sessionBytes) {
        const filled = crowd.map(({ visitor }) => visitor)
        const fill = unlessFailed((visitor: (typeof filled)[number]) => visitor.fill(wanted.sessionBytes))
        void inParallel(filled, fill)
      }
      settings = wanted
      crowd = crowd.slice(0, wanted.visitors)
    },
    find: (key) => crowd.find(({ visitor }) => visitor.key() === key)?.visitor,
    async renew(restart) {
      generation += 1
      held = true
      crowd = []
      await restart.finally(() => (held = false))
    },
    close() {
      clearInterval(timer)
      settings = NO_TRAFFIC
      crowd = []
    },
  }
}
