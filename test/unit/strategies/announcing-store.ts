/**
 * One store that several servers reach over virtual networks: what is asked takes its time there and back, and replies,
 * announcements and pings of one server share one ordered channel, as on a Redis connection. Faults are chosen by name, so
 * that the checker of the simulation can be shown to catch them.
 */
import type { ChangeListener, SessionStore, StoreContext } from '../../../src/seam.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import type { VirtualWorld } from '../../setup/virtual-runtime.ts'

export type Fault =
  /** Announcements take a way of their own and may come after the ping that should follow them. */
  | 'unordered'
  /** Some announcements never arrive, and nobody is told. */
  | 'dropped'
  /** The channel is always said to be alive. */
  | 'unconfirmed'
  /** The channel breaks and nobody is told. */
  | 'silentBreak'

export interface StoreWorld {
  /** The store as one server sees it. */
  server(): SessionStore
  /** All channels break at once, with what is on its way. */
  breakChannels(): void
  /** Versions as they were at each moment: `[elapsed, version]`; 0: ended. */
  history(key: string): readonly (readonly [number, number])[]
}

const SLOWEST_MS = 12

export function storeWorld(world: VirtualWorld, faults: ReadonlySet<Fault> = new Set()): StoreWorld {
  const records = memoryStore()
  const histories = new Map<string, [number, number][]>()
  const servers = new Set<{ listener: ChangeListener | undefined; tracked: Set<string>; send(run: () => void): void; reconnect(): void }>()
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

  function server(): SessionStore {
    const runtime = world.runtime()
    let life = 0
    let lastArrival = 0
    const self = {
      listener: undefined as ChangeListener | undefined,
      tracked: new Set<string>(),
      /** In order: nothing overtakes what was sent before. */
      send(run: () => void): void {
        const born = life
        lastArrival = Math.max(lastArrival, world.elapsed() + world.random.between(0, SLOWEST_MS))
        runtime.setTimer(lastArrival - world.elapsed(), () => born === life && run())
      },
      reconnect(): void {
        life += 1
        lastArrival = 0
        self.tracked.clear()
        if (!faults.has('silentBreak')) runtime.setTimer(world.random.between(0, 5), () => self.listener?.lost())
      },
    }
    servers.add(self)

    function ask<R>(work: () => Promise<R>): Promise<R> {
      return new Promise((resolve, reject) => {
        const born = life
        runtime.setTimer(world.random.between(0, SLOWEST_MS), () => {
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
        return {
          confirm: () =>
            new Promise((resolve) => {
              if (faults.has('unconfirmed')) return resolve(true)
              runtime.setTimer(world.random.between(0, SLOWEST_MS), () => self.send(() => resolve(true)))
              runtime.setTimer(200, () => resolve(false))
            }),
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
    history: (key) => histories.get(key) ?? [],
  }
}
