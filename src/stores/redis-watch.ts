/** What others change, as the near copies of this server hear of it, and the part that this server takes in endings. */
import type { ChangeListener, ChangeWatch, Runtime } from '../seam.ts'
import type { RedisCommands } from './redis-commands.ts'
import type { RedisNames } from './redis-names.ts'
import { redisRoll, rollNames } from './redis-roll.ts'
import type { RedisServers } from './redis-servers.ts'
import { rollCall } from './roll-call.ts'
import type { RollCall } from './roll-call.ts'

export interface RedisWatch {
  readonly isWatched: boolean
  watch(listener: ChangeListener): ChangeWatch
  /** Somebody else wrote what has this name. */
  changed(name: string): void
  lost(): void
  /** Resolves when the other servers need not wait for this one any more, or soon in any case. Never rejects. */
  left(): Promise<void>
}

export interface WatchPlan {
  readonly prefix: string
  readonly names: RedisNames
  /** `given`: changes are not announced. In a `cluster` a roll would have to be kept on each master: endings wait for the lease. */
  readonly kind: 'one' | 'cluster' | 'given'
  readonly commands: RedisCommands
  servers(): RedisServers | undefined
  runtime(): Runtime
}

/** Others strike out a server that could not say goodbye. */
const LEAVE_MS = 250

export function redisWatch({ prefix, names, kind, commands, servers, runtime }: WatchPlan): RedisWatch {
  const watchers = new Set<ChangeListener>()
  const roll = rollNames(prefix)
  let part: RollCall | undefined
  let leaving: Promise<void> = Promise.resolve()

  const send = (command: string[]): Promise<unknown> => commands.command(command, roll.calls, commands.until())

  async function inOrder(command: string[]): Promise<unknown> {
    const reply = await servers()?.confirm(command)
    if (reply === undefined) throw new Error('the channel is broken')
    return reply
  }

  function takePart(): RollCall {
    const isDeaf = kind === 'given'
    part ??= rollCall(redisRoll(roll, { send, inOrder: isDeaf ? send : inOrder }, isDeaf), runtime())
    return part
  }

  async function ping(): Promise<boolean> {
    return kind === 'given' || (await servers()?.confirm()) !== undefined
  }

  function leave(): void {
    if (part === undefined) return
    const left = part.leave()
    part = undefined
    const late = new Promise<void>((done) => void runtime().setTimer(LEAVE_MS, done))
    leaving = Promise.race([left, late])
  }

  return {
    get isWatched(): boolean {
      return watchers.size > 0
    },
    watch(listener): ChangeWatch {
      const mine: ChangeListener = { changed: (key) => listener.changed(key), lost: () => listener.lost() }
      watchers.add(mine)
      servers()?.track()
      return {
        async confirm(): Promise<boolean> {
          if (!watchers.has(mine)) return false
          return kind === 'cluster' ? ping() : takePart().confirm(ping)
        },
        ...(kind === 'one' && { heardByAll: async (ms: number) => watchers.has(mine) && takePart().heardByAll(ms) }),
        close(): void {
          if (watchers.delete(mine) && watchers.size === 0) leave()
        },
      }
    },
    changed(name): void {
      if (names.isSession(name)) for (const watcher of watchers) watcher.changed(names.keyOf(name))
      else if (name === roll.calls) part?.called()
    },
    lost(): void {
      part?.lost()
      for (const watcher of watchers) watcher.lost()
    },
    left: () => leaving,
  }
}
