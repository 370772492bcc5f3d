/** What the lab knows of its visitors' sessions, whatever the strategy says: which live, which were ended, which were lost. */
import type { SessionEvent } from '../types.ts'

/** Beyond this the oldest keys are forgotten. */
const KEYS_MAX = 200_000

export interface Ledger {
  event(event: SessionEvent): void
  /** A visitor presented this session and was answered a new one. */
  stranger(key: string): void
  /** A visitor presented this session, and it had been ended on purpose. */
  ended(key: string): void
  /** Live sessions, the newest first. */
  newest(count: number): { key: string; userId: string | null }[]
  /** What became of a session that this lab made. */
  fateOf(key: string): { fate: 'live' | 'ended' | 'lost' | 'unknown'; userId: string | null }
  counts(): { sessions: number; lost: number; lostUpdates: number }
  reset(): void
}

export function createLedger(): Ledger {
  const live = new Map<string, string | undefined>()
  const ended = new Map<string, true>()
  const lost = new Map<string, true>()
  const regressed = new Map<string, true>()

  function end(key: string): void {
    live.delete(key)
    remember(ended, key, true)
    // The news of an end may come after its echo: a visitor who came back to another server.
    lost.delete(key)
  }

  function lose(key: string): void {
    if (ended.has(key)) return
    live.delete(key)
    regressed.delete(key)
    remember(lost, key, true)
  }

  function endAllOf(userId: string): void {
    for (const [key, owner] of live) if (owner === userId) end(key)
  }

  return {
    event({ type, key, userId }) {
      if (type === 'revoked' && key === undefined && userId !== undefined) endAllOf(userId)
      if (key === undefined) return
      if (type === 'created' || type === 'regenerated') remember(live, key, userId)
      else if (type === 'destroyed' || type === 'replaced' || type === 'expired' || type === 'revoked') end(key)
      // A session with a user is refused when writes of it were lost; an anonymous one goes on with what is left.
      else if (type === 'regressed' && userId !== undefined) lose(key)
      else if (type === 'regressed' && !lost.has(key)) remember(regressed, key, true)
    },
    stranger: lose,
    ended: end,
    newest: (count) =>
      [...live.entries()]
        .slice(-count)
        .reverse()
        .map(([key, userId]) => ({ key, userId: userId ?? null })),
    fateOf(key) {
      const fate = live.has(key) ? 'live' : ended.has(key) ? 'ended' : lost.has(key) ? 'lost' : 'unknown'
      return { fate, userId: live.get(key) ?? null }
    },
    counts: () => ({ sessions: live.size, lost: lost.size, lostUpdates: regressed.size }),
    reset() {
      for (const keys of [live, ended, lost, regressed]) keys.clear()
    },
  }
}

function remember<T>(keys: Map<string, T>, key: string, value: T): void {
  keys.set(key, value)
  if (keys.size <= KEYS_MAX) return
  for (const oldest of keys.keys()) {
    keys.delete(oldest)
    return
  }
}
