import { expiresAt, recordOf, summaryOf } from '../core/stored-record.ts'
import { Turns } from '../core/turns.ts'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, SessionStore, StoreContext, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, recordInvalid } from './availability.ts'
import { codeOf, expressStoreCalls } from './express-store-calls.ts'
import type { ExpressStoreLike } from './express-store-calls.ts'
import { packMark, packSession, unpackAny, unpackSession } from './express-store-record.ts'
import type { KeptMark } from './express-store-record.ts'
import { MARK_MS, patchRecord } from './row.ts'
import type { GoneMark } from './row.ts'

export type { ExpressStoreLike } from './express-store-calls.ts'

/** The key of no session: asking for it shows whether the store answers. */
const PROBE_KEY = 'probe'.padEnd(43, '-')

/** Writes to one session wait for each other, whoever in this process writes through the same store. */
const turnsOf = new WeakMap<ExpressStoreLike, Map<string, Turns>>()

/**
 * Keeps sessions in a store made for express-session, such as `new (connectPgSimple(session))(…)`: one that has `get`, `set` and
 * `destroy` with callbacks. Each session is one entry `{ cookie, holdfast }` under its key; sessions of express-session itself are left
 * alone. Lists sessions, and ends those of a user, where the store has `all`. The store stays yours: it is not closed.
 *
 * Such a store can only be read and overwritten, so a write here is both, one after the other, and `status()` says what that does not
 * protect. Use a store of Holdfast's own where several servers write to one session. Throws CONFIG_INVALID for what is no such store.
 * Rejects with STORE_UNAVAILABLE when the store reports an error or does not call back within the deadline. A record that does not
 * parse is STORE_RECORD_INVALID, names its key and stays;
 * a counter that cannot be summed is FIELD_INVALID, and nothing is written.
 */
export function expressStore(store: ExpressStoreLike): SessionStore {
  const shown = `expressStore: ${checkedName(store)}`
  const state = availability('expressStore')
  const calls = expressStoreCalls(store, shown, state)
  const canList = typeof store.all === 'function'
  const turns = turnsOf.get(store) ?? new Map<string, Turns>()
  turnsOf.set(store, turns)

  const listeners: Readonly<Record<string, (...args: unknown[]) => void>> = {
    connect: () => state.set('up', shown),
    disconnect: () => state.set('down', `${shown} lost its connection: check its database`),
    // Without a listener it would end the process.
    error: (error) => {
      for (const { logger } of state.contexts) logger.warn(`${shown} reported an error (${codeOf(error)}): check its database`)
    },
  }

  /** Waiting for earlier writes counts: all calls of one operation share its deadline. */
  function deadline(): number {
    const { runtime, deadlineMs } = state.context()
    return runtime.monotonic() + deadlineMs
  }

  const now = (): number => state.context().runtime.now()

  async function load(key: string, until: number): Promise<StoredRecord | KeptMark | undefined> {
    const found = await calls.get(key, until)
    if (found === undefined || found === null || found === false) return undefined
    const entry = unpackSession(found, key)
    if (entry === undefined) throw recordInvalid('expressStore', key)
    const end = 'gone' in entry ? entry.until : expiresAt(entry.meta)
    return end > now() ? entry : undefined
  }

  const save = (key: string, record: StoredRecord, until: number): Promise<void> => calls.set(key, packSession(key, record, now()), until)

  function mark(key: string, { meta }: StoredRecord, gone: GoneMark['gone'], markUntil: number, until: number): Promise<void> {
    const endedAt = now()
    return calls.set(key, packMark(key, { gone, endedAt, until: Math.max(markUntil, expiresAt(meta)) }, endedAt), until)
  }

  /** In the order of the keys, so that two operations never wait for each other. */
  function inTurn<R>(keys: readonly string[], work: (until: number) => Promise<R>, until: number = deadline()): Promise<R> {
    const [key, ...others] = [...keys].sort()
    if (key === undefined) return work(until)
    const own = turns.get(key) ?? new Turns()
    turns.set(key, own)
    const result = own.run(() => inTurn(others, work, until))
    void own.ended().then(() => {
      if (turns.get(key) === own && !own.busy) turns.delete(key)
    })
    return result
  }

  return {
    name: 'express-store',
    capabilities: new Set(canList ? (['list', 'users'] as const) : []),
    notProtected: canList ? NOT_PROTECTED : [...NOT_PROTECTED, NOT_LISTED],
    async ready(context: StoreContext): Promise<void> {
      const isFirst = state.contexts.size === 0
      state.join(context)
      if (isFirst) for (const [event, listener] of Object.entries(listeners)) store.on?.(event, listener)
      await calls.get(PROBE_KEY, deadline())
    },
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      const entry = await load(key, deadline())
      return entry !== undefined && 'gone' in entry ? { gone: entry.gone, endedAt: entry.endedAt } : entry
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return inTurn([key], async (until) => {
        const present = await load(key, until)
        if (present !== undefined) return !('gone' in present) && present.writeIds.includes(writeId)
        await save(key, recordOf(draft, writeId), until)
        return true
      })
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      return inTurn([key], async (until) => {
        const found = await load(key, until)
        if (found === undefined || 'gone' in found) return goneResult(found)
        const { result, record } = patchRecord(found, patch)
        if (record !== undefined) await save(key, record, until)
        return result
      })
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      return inTurn([oldKey, newKey], async (until): Promise<PatchResult> => {
        const present = await load(newKey, until)
        const old = await load(oldKey, until)
        const isOld = old !== undefined && !('gone' in old)
        const isRetry = present !== undefined && !('gone' in present) && present.writeIds.includes(writeId)
        if (!isOld) return isRetry ? { outcome: 'applied', before: 0, after: 1, counters: new Map() } : goneResult(old)
        if (present !== undefined && !isRetry) return { outcome: 'conflict', version: 'gone' in present ? 0 : present.version }
        // What an earlier try has left of the new one is written over by the next.
        if (ifVersion !== undefined && ifVersion !== old.version) return { outcome: 'conflict', version: old.version }
        // First the new one: a failure between the two leaves the visitor with the old one, not with none.
        await save(newKey, recordOf(draft, writeId), until)
        await mark(oldKey, old, 'replaced', now() + MARK_MS, until)
        return { outcome: 'applied', before: old.version, after: 1, counters: new Map() }
      })
    },
    async destroy(key: string, reason: GoneMark['gone'], markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      return inTurn([key], async (until) => {
        const found = await load(key, until)
        if (found === undefined || 'gone' in found) return false
        if (filter.userId !== undefined && filter.userId !== found.meta.userId) return false
        await mark(key, found, reason, markUntil, until)
        return true
      })
    },
    async *list(filter: { userId?: string }): AsyncGenerator<SessionSummary> {
      if (!canList) throw new SessionError('STRATEGY_UNSUPPORTED', `${shown} has no all(): it cannot list sessions, use another store`)
      for (const session of sessionsIn(await calls.all(deadline()))) {
        const found = unpackAny(session)
        if (found === undefined || 'gone' in found.entry) continue
        const { meta } = found.entry
        if (filter.userId !== undefined && filter.userId !== meta.userId) continue
        if (expiresAt(meta) > now()) yield summaryOf(found.key, meta)
      }
    },
    async close(): Promise<void> {
      if (!state.leave()) return
      for (const [event, listener] of Object.entries(listeners)) store.removeListener?.(event, listener)
    },
  }
}

const NOT_PROTECTED: readonly string[] = [
  'Of parallel writes to one session through several processes the later overwrites the earlier, and noting that a visitor was active is such a write: a store of express-session has no compare-and-set (expressStore).',
  'A write that is under way in another process, or that was answered 503, can still arrive: it then undoes later writes, or brings back a session that has ended, because a store of express-session cannot update only what exists (expressStore).',
  'Sessions end early where the store itself has a shorter time to live, and are as durable as that store makes them (expressStore).',
]
const NOT_LISTED = 'Neither all sessions nor those of a user can be found: this store has no all() (expressStore).'

/** The name of its class, for messages. */
function checkedName(store: ExpressStoreLike): string {
  const given = (store ?? {}) as Partial<Record<keyof ExpressStoreLike, unknown>>
  const missing = (['get', 'set', 'destroy'] as const).filter((method) => typeof given[method] !== 'function')
  if (missing.length > 0) {
    throw new SessionError(
      'CONFIG_INVALID',
      `expressStore needs an instance of a store made for express-session, like expressStore(new MemoryStore()): what it was given has no ${missing.join(', no ')}`,
    )
  }
  const name: unknown = (store as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && /^\w{1,40}$/.test(name) && name !== 'Object' ? name : 'the given store'
}

function goneResult(mark: KeptMark | StoredRecord | undefined): PatchResult {
  return { outcome: 'gone', reason: mark !== undefined && 'gone' in mark ? mark.gone : 'unknown' }
}

/** Some stores answer with a list, others by session id. */
function sessionsIn(all: unknown): readonly unknown[] {
  if (Array.isArray(all)) return all
  if (all instanceof Map) return [...all.values()]
  return typeof all === 'object' && all !== null ? Object.values(all) : []
}
