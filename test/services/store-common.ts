/** What the tests of stores share, whichever the store. */
import { expect } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import { SessionError } from '../../src/errors.ts'
import type { Draft, StoreContext, StorePatch } from '../../src/seam.ts'
import { within } from '../setup/waiting.ts'

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

/** What a promise is rejected with: within 15 s or as said, and a `SessionError`. */
export async function failure(promise: unknown, deadlineMs = 15_000): Promise<SessionError> {
  const error: unknown = await within(Promise.resolve(promise), deadlineMs, 'the rejection').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toSatisfy(SessionError.is)
  return error as SessionError
}
