/**
 * One store that several servers reach over virtual networks: what is asked takes its time there and back, and replies,
 * announcements and pings of one server share one ordered channel, as on a Redis connection; the roll of endings lies in the store.
 * Faults are chosen by name, so that the checker of the simulation can be shown to catch them.
 */
import type { ChangeListener, SessionStore, StoreContext } from '../../../src/seam.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { type Roll, type RollCall, type RollTimes, rollCall } from '../../../src/stores/roll-call.ts'
import type { VirtualRuntime, VirtualWorld } from '../../setup/virtual-runtime.ts'

export type Fault =
  /** Announcements take a way of their own and may come after the ping that should follow them. */
  | 'unordered'
  /** Some announcements never arrive, and nobody is told. */
  | 'dropped'
  /** The channel is always said to be alive. */
  | 'unconfirmed'
  /** The channel breaks and nobody is told. */
  | 'silentBreak'
  /** An ending does not wait for all answers, one is enough. */
  | 'firstAnswer'
  /** A server answers the newest call, whatever it has heard itself. */
  | 'earlyAnswer'
  /** Only servers that are connected are waited for. */
  | 'connectedOnly'
  /** A server without a connection or an answer is given up for dead at once, and whoever is on the roll trusts it at once. */
  | 'hasty'
  /** Servers show themselves once. */
  | 'unrenewed'

export interface StoreWorld {
  /** The store as one server sees it. */
  server(runtime: VirtualRuntime): SessionStore
  /** What is sent to the server of this number is on its way for longer, for so long. */
  delay(index: number, ms: number): void
  /** As Redis does when it has no room: without a word. */
  loseRoll(): void
  /** All channels break at once, with what is on its way. */
  breakChannels(): void
  /** That of the server of this number. */
  breakChannel(index: number): void
  /** Versions as they were at each moment: `[elapsed, version]`; 0: ended. */
  history(key: string): readonly (readonly [number, number])[]
}

const SLOWEST_MS = 5
const DELAYED_MS = 60
/** For leases of 80 ms. */
const TIMES: RollTimes = { renewMs: 60, goneMs: 160 }

export function storeWorld(world: VirtualWorld, faults: ReadonlySet<Fault> = new Set()): StoreWorld {
  const records = memoryStore()
  const histories = new Map<string, [number, number][]>()
  const servers = new Set<{
    listener: ChangeListener | undefined
    part: RollCall | undefined
    hears: boolean
    slowUntil: number
    tracked: Set<string>
    send(run: () => void): void
    reconnect(): void
  }>()
  const roll = { calls: 0, answers: new Map<string, number>(), beats: new Map<string, string>() }
  const times = {
    ...TIMES,
    ...(faults.has('hasty') && { goneMs: 1 }),
    ...(faults.has('unrenewed') && { renewMs: Number.POSITIVE_INFINITY }),
  }
  const clock = world.runtime()
  void records.ready({ runtime: clock, logger: console, deadlineMs: 1_000, stateChanged: () => {} })

  const note = (key: string, version: number): void =>
    void (histories.get(key) ?? histories.set(key, []).get(key))?.push([world.elapsed(), version])

  function announce(from: object, key: string): void {
    for (const other of servers) {
      if (other === from || !other.tracked.delete(key)) continue
      if (faults.has('dropped') && world.random.chance(0.3)) continue
      const tell = (): void => other.listener?.changed(key)
      if (faults.has('unordered')) clock.setTimer(world.random.between(0, 200), tell)
      else other.send(tell)
    }
  }

  function server(runtime: VirtualRuntime): SessionStore {
    let life = 0
    let lastArrival = 0
    const self = {
      listener: undefined as ChangeListener | undefined,
      part: undefined as RollCall | undefined,
      hears: false,
      slowUntil: 0,
      id: '',
      tracked: new Set<string>(),
      /** In order: nothing overtakes what was sent before. */
      send(run: () => void): void {
        const born = life
        const most = world.elapsed() < self.slowUntil ? DELAYED_MS : SLOWEST_MS
        lastArrival = Math.max(lastArrival, world.elapsed() + world.random.between(0, most))
        // A server that is paused finds it when it wakes up.
        clock.setTimer(lastArrival - world.elapsed(), () => runtime.defer(() => born === life && run()))
      },
      reconnect(): void {
        life += 1
        lastArrival = 0
        self.tracked.clear()
        self.hears = false
        if (faults.has('connectedOnly')) roll.answers.delete(self.id)
        if (!faults.has('silentBreak'))
          runtime.setTimer(world.random.between(0, 5), () => {
            self.part?.lost()
            self.listener?.lost()
          })
      },
    }
    servers.add(self)

    function ask<R>(work: () => Promise<R>): Promise<R> {
      return new Promise((resolve, reject) => {
        const born = life
        clock.setTimer(world.random.between(0, SLOWEST_MS), () => {
          void work().then((result) => {
            if (born === life) self.send(() => resolve(result))
            // The reply is lost with its channel; the command was carried out.
            else runtime.setTimer(1, () => reject(new Error('connection lost')))
          }, reject)
        })
        // Whatever broke meanwhile: the driver tells the asker after a while.
        runtime.setTimer(100, () => reject(new Error('connection lost')))
      })
    }

    const mine: Roll = {
      enroll: (id, beat) =>
        ask(async () => {
          self.id = id
          self.hears = true
          const isNew = !roll.answers.has(id)
          if (isNew) roll.answers.set(id, roll.calls)
          roll.beats.set(id, String(beat))
          return { call: roll.calls, isNew }
        }),
      renew: (id, beat) =>
        ask(async () => {
          if (!roll.answers.has(id)) return false
          roll.beats.set(id, String(beat))
          return true
        }),
      answer: (id, call) =>
        ask(async () => {
          self.hears = true
          const before = roll.answers.get(id)
          if (before !== undefined) roll.answers.set(id, faults.has('earlyAnswer') ? roll.calls : Math.max(before, call))
          return roll.calls
        }),
      call: (id) =>
        ask(async () => {
          if (!roll.answers.has(id)) return undefined
          roll.calls = Math.max(roll.calls, ...roll.answers.values()) + 1
          for (const each of servers) {
            if (each.hears) each.send(() => each.part?.called())
            each.hears = false
          }
          return roll.calls
        }),
      answered: (id) =>
        ask(async () => {
          if (!roll.answers.has(id)) return undefined
          const all = [...roll.answers.values()]
          return faults.has('firstAnswer') ? Math.max(...all) : Math.min(...all)
        }),
      silent: (call) =>
        ask(async () => new Map([...roll.answers].filter(([, answer]) => answer < call).map(([id]) => [id, roll.beats.get(id) ?? '']))),
      strike: (id, beat) =>
        ask(async () => {
          if (beat === undefined || roll.beats.get(id) === beat) roll.answers.delete(id)
        }),
    }

    return {
      ...records,
      name: 'announcing',
      freshness: 'push',
      ready: async (context: StoreContext) => {
        context.stateChanged('up', 'here')
      },
      close: async () => {},
      read: (key) =>
        ask(async () => {
          self.tracked.add(key)
          return records.read(key)
        }),
      create: (key, draft, writeId) =>
        ask(async () => {
          const created = await records.create(key, draft, writeId)
          if (created) note(key, 1)
          self.tracked.add(key)
          return created
        }),
      patch: (key, patch) =>
        ask(async () => {
          const result = await records.patch(key, patch)
          if (result.outcome === 'applied' && result.after > result.before) {
            note(key, result.after)
            announce(self, key)
          }
          self.tracked.add(key)
          return result
        }),
      destroy: (key, reason, markUntil) =>
        ask(async () => {
          const ended = await records.destroy(key, reason, markUntil)
          if (ended) note(key, 0)
          announce(self, key)
          return ended
        }),
      watch(listener) {
        self.listener = listener
        const part = rollCall(mine, runtime, times)
        self.part = part
        const ping = (): Promise<boolean> =>
          new Promise((resolve) => {
            if (faults.has('unconfirmed')) return resolve(true)
            clock.setTimer(world.random.between(0, SLOWEST_MS), () => self.send(() => resolve(true)))
            runtime.setTimer(200, () => resolve(false))
          })
        return {
          confirm: () => part.confirm(ping),
          heardByAll: (ms) => part.heardByAll(ms),
          close: () => {
            self.listener = undefined
          },
        }
      },
    }
  }

  return {
    server,
    breakChannels(): void {
      for (const each of servers) each.reconnect()
    },
    delay(index, ms): void {
      const slow = [...servers][index]
      if (slow !== undefined) slow.slowUntil = world.elapsed() + ms
    },
    breakChannel: (index) => [...servers][index]?.reconnect(),
    loseRoll(): void {
      roll.answers.clear()
      roll.beats.clear()
      if (world.random.chance(0.5)) roll.calls = 0
    },
    history: (key) => histories.get(key) ?? [],
  }
}
