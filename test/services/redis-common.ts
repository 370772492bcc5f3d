import { expect } from 'vitest'
import { deriveKeys } from '../../src/core/keys.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import { SessionError } from '../../src/errors.ts'
import type { ChangeWatch, Draft, RunningStrategy, SessionStore, StoreContext, StorePatch } from '../../src/seam.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import type { DedicatedOptions } from '../../src/strategies/dedicated.ts'
import { within } from '../setup/servers.ts'

/** Short where a test waits for it, long where a busy machine must not miss it. */
export const DEADLINE_MS = 1_500
export const LONG_MS = 10_000

export function context(over: Partial<StoreContext> = {}): StoreContext {
  return { runtime: systemRuntime(), logger: console, deadlineMs: LONG_MS, stateChanged: () => {}, ...over }
}

export function draft(fields: Record<string, string> = {}, userId?: string): Draft {
  const now = Date.now()
  const times = { createdAt: now, lastActiveAt: now, idleMs: 600_000, touchEveryMs: 30_000, absoluteAt: now + 3_600_000 }
  return { meta: { userId, ...times, persistent: false }, fields: new Map(Object.entries(fields)) }
}

export function set(field: string, value: string, writeId: string): StorePatch {
  return { set: new Map([[field, value]]), add: new Map(), touchAt: 0, writeId }
}

export function add(field: string, by: number, writeId: string): StorePatch {
  return { set: new Map(), add: new Map([[field, { by, from: 0 }]]), touchAt: 0, writeId }
}

export const jar = (key: string) => ({ id: 'secret', key, absoluteAt: 0, notes: [], headerBytes: 0 })
export const id = (key: string) => ({ id: 'secret', key, absoluteAt: 0 })

export function strategyOver(store: SessionStore, events: string[], options: Partial<DedicatedOptions> = {}): RunningStrategy {
  return dedicated({ store, deadlineMs: DEADLINE_MS, ...options }).start({
    node: 'n1',
    runtime: systemRuntime(),
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: (type) => void events.push(type),
    ended: () => {},
    logger: console,
  })
}

/** What a promise is rejected with: within 5 s, and a `SessionError`. */
export async function failure(promise: unknown): Promise<SessionError> {
  const error: unknown = await within(Promise.resolve(promise), 5_000, 'the rejection').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toSatisfy(SessionError.is)
  return error as SessionError
}

export interface Heard {
  readonly watch: ChangeWatch
  /** Keys as announced, in order. */
  readonly changed: string[]
  lost: number
}

export function hear(store: SessionStore): Heard {
  const changed: string[] = []
  const heard: Heard = {
    changed,
    lost: 0,
    watch: store.watch?.({
      changed: (key) => void changed.push(key),
      lost: () => void (heard.lost += 1),
    }) as ChangeWatch,
  }
  return heard
}
