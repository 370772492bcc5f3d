/** Ending sessions: what has ended is accepted by no server any more, whatever copies there were. */
import { SessionError } from '../errors.ts'
import type { DedicatedParts } from './dedicated-parts.ts'
import { endUserSessions } from './end-user.ts'
import { existingNearCache, type NearCache } from './near-cache.ts'

/** A late writer learns for this long, at least, why nothing was stored. */
const MARK_MS = 600_000

export class DedicatedEndings {
  readonly #parts: DedicatedParts

  constructor(parts: DedicatedParts) {
    this.#parts = parts
  }

  /** True: a live session was ended, false: somebody else was faster. */
  async destroy(key: string, reason: 'destroyed' | 'revoked', filter: { userId?: string } = {}): Promise<boolean> {
    const { store } = this.#parts.settings
    const ended = await this.ask([key], () => store.destroy(key, 'destroyed', this.#markUntil(), filter))
    if (!ended && reason === 'destroyed') await this.#refuseIfReplaced(key)
    // Also when nothing was ended: a lost reply may hide that the first try has.
    await this.everywhere(ended || reason === 'destroyed' ? [key] : [], reason)
    return ended
  }

  async revokeUser(userId: string, filter: { except?: string }): Promise<number> {
    const { access, settings } = this.#parts
    await access.started()
    const keys = await endUserSessions(settings.store, { ask: (work) => this.ask([], work) }, userId, this.#markUntil(), filter)
    await this.everywhere(keys, 'revoked')
    return keys.length
  }

  /** What got no answer may have been carried out all the same: then no copy of it may stay. No keys: any session may be meant. */
  async ask<R>(keys: readonly string[], work: () => Promise<R>): Promise<R> {
    try {
      return await this.#parts.access.ask(work)
    } catch (error) {
      const cache = this.#cache()
      for (const key of keys) cache?.drop(key)
      if (keys.length === 0) cache?.distrust()
      throw error
    }
  }

  /** The store has ended these sessions. Resolves once no server accepts them any more: mostly at once, after the lease at the latest. */
  async everywhere(keys: readonly string[], reason: 'destroyed' | 'replaced' | 'revoked'): Promise<void> {
    const cache = this.#cache()
    for (const key of keys) {
      cache?.drop(key)
      this.#parts.context.ended(key, reason)
    }
    await cache?.heardByAll()
  }

  /** A login or regenerate has made a new id, which this logout does not know. */
  async #refuseIfReplaced(key: string): Promise<void> {
    const { access, settings, context } = this.#parts
    const found = await access.ask(() => settings.store.read(key))
    if (found === undefined || !('gone' in found) || found.gone !== 'replaced') return
    this.#parts.cache?.drop(key)
    context.ended(key, 'replaced')
    throw replacedError()
  }

  #cache(): NearCache | undefined {
    return this.#parts.cache ?? existingNearCache(this.#parts.settings.store)
  }

  #markUntil(): number {
    return this.#parts.context.runtime.now() + MARK_MS
  }
}

export function replacedError(): SessionError {
  return new SessionError('SESSION_REPLACED', 'The session has a new id: nothing was stored. Send the request again.')
}
