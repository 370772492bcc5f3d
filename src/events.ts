import type { Settings } from './options.ts'
import type { Runtime } from './seam.ts'
import type { SessionEvent, SessionEventType } from './types.ts'

export interface EventHub {
  readonly emit: (type: SessionEventType, event?: Omit<SessionEvent, 'type' | 'at' | 'node'>) => void
  readonly on: (type: SessionEventType, listener: (event: SessionEvent) => void) => () => void
}

/** Tells listeners what happened. A listener that throws harms no request: it is logged. */
export function eventHub(settings: Settings, runtime: Runtime): EventHub {
  const listeners = new Map<SessionEventType, Set<(event: SessionEvent) => void>>()

  function tell(listener: (event: SessionEvent) => void, event: SessionEvent): void {
    try {
      listener(event)
    } catch (error) {
      settings.logger.error(`holdfast: a listener for "${event.type}" threw: ${String(error)}`)
    }
  }

  return {
    emit(type, about = {}) {
      const interested = listeners.get(type)
      if (interested === undefined && settings.onEvent === undefined) return
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
