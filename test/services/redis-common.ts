import { deriveKeys } from '../../src/core/keys.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { ChangeWatch, RunningStrategy, SessionStore } from '../../src/seam.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import type { DedicatedOptions } from '../../src/strategies/dedicated.ts'
import { DEADLINE_MS } from './store-common.ts'

export { add, context, draft, failure, LONG_MS, set } from './store-common.ts'
export { DEADLINE_MS }

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
