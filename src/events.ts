import { LRUCache } from 'lru-cache'
import type { Settings } from './options.ts'
import type { Runtime } from './seam.ts'
import type { SessionEvent, SessionEventType } from './types.ts'

export interface EventHub {
  readonly emit: (type: SessionEventType, event?: Omit<SessionEvent, 'type' | 'at' | 'node'>) => void
  readonly on: (type: SessionEventType, listener: (event: SessionEvent) => void) => () => void
}

/** What a visitor can bring about as often as it likes by sending one jar again is told once a minute and session. */
const REPEATABLE: ReadonlySet<SessionEventType> = new Set(['regressed', 'invalid', 'lateWrite', 'conflict'])
const REPEAT_AFTER_MS = 60_000
const REMEMBERED = 10_000

/** Tells listeners what happened. A listener that throws harms no request: it is logged. */
export function eventHub(settings: Settings, runtime: Runtime): EventHub {
  const listeners = new Map<SessionEventType, Set<(event: SessionEvent) => void>>()

  const toldAt = new LRUCache<string, number>({ max: REMEMBERED })

  function isRepeated(type: SessionEventType, key: string | undefined): boolean {
    if (key === undefined || !REPEATABLE.has(type)) return false
    const now = runtime.monotonic()
    const before = toldAt.get(`${type} ${key}`)
    if (before !== undefined && now - before < REPEAT_AFTER_MS) return true
    toldAt.set(`${type} ${key}`, now)
    return false
  }

  function tell(listener: (event: SessionEvent) => void, event: SessionEvent): void {
    const complain = (error: unknown): void => settings.logger.error(`holdfast: a listener for "${event.type}" threw: ${String(error)}`)
    try {
      // Typed as void, and yet often async.
      const result: unknown = listener(event)
      if (result instanceof Promise) result.catch(complain)
    } catch (error) {
      complain(error)
    }
  }

  return {
    emit(type, about = {}) {
      const interested = listeners.get(type)
      if ((interested === undefined && settings.onEvent === undefined) || isRepeated(type, about.key)) return
      const event: SessionEvent = { type, at: runtime.now(), node: settings.node, ...about }
      if (settings.onEvent !== undefined) tell(settings.onEvent, event)
      for (const listener of interested ?? []) tell(listener, event)
    },
    on(type, listener) {
      const interested = listeners.get(type) ?? new Set()
      listeners.set(type, interested.add(listener))
      return () => void interested.delete(listener)
    },
  }
}
