import { expiresAt, recordOf, summaryOf } from '../core/stored-record.ts'
import { systemRuntime } from '../core/runtime.ts'
import type { Draft, PatchResult, Runtime, SessionStore, StoreContext, StoredRecord, StorePatch, Timer } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { MARK_MS, patchRecord } from './row.ts'
import type { GoneMark } from './row.ts'

type Mark = { readonly gone: 'destroyed' | 'replaced'; readonly endedAt: number; readonly until: number }

const SWEEP_EVERY_MS = 30_000

/**
 * Keeps sessions in this process: they end with it. For tests, for the first hour of a project, and as the reference of
 * the store contract. Several `createSessions` of one process may share one.
 */
export function memoryStore(): SessionStore {
  const records = new Map<string, StoredRecord>()
  const marks = new Map<string, Mark>()
  const users = new Map<string, Set<string>>()
  const contexts = new Set<StoreContext>()
  let runtime: Runtime = systemRuntime()
  let sweeping: Timer | undefined
  let inUse = 0

  function put(key: string, record: StoredRecord): void {
    records.set(key, record)
    const { userId } = record.meta
    if (userId === undefined) return
    const keys = users.get(userId)
    if (keys === undefined) users.set(userId, new Set([key]))
    else keys.add(key)
  }

  function drop(key: string, record: StoredRecord): void {
    records.delete(key)
    const { userId } = record.meta
    if (userId === undefined) return
    const keys = users.get(userId)
    keys?.delete(key)
    if (keys?.size === 0) users.delete(userId)
  }

  function live(key: string): StoredRecord | undefined {
    const record = records.get(key)
    return record !== undefined && expiresAt(record.meta) > runtime.now() ? record : undefined
  }

  function end(key: string, record: StoredRecord, reason: Mark['gone'], markUntil: number): void {
    drop(key, record)
    marks.set(key, { gone: reason, endedAt: runtime.now(), until: Math.max(markUntil, expiresAt(record.meta)) })
  }

  function mark(key: string): Mark | undefined {
    const found = marks.get(key)
    return found !== undefined && found.until > runtime.now() ? found : undefined
  }

  function gone(key: string): PatchResult {
    return { outcome: 'gone', reason: mark(key)?.gone ?? 'unknown' }
  }

  function sweep(): void {
    const now = runtime.now()
    for (const [key, { until }] of marks) if (until <= now) marks.delete(key)
    for (const [key, record] of records) {
      if (expiresAt(record.meta) > now) continue
      drop(key, record)
      for (const context of contexts) context.expired?.(key, record.meta.userId)
    }
    sweeping = runtime.setTimer(SWEEP_EVERY_MS, sweep)
  }

  return {
    name: 'memory',
    capabilities: new Set(['list', 'users'] as const),
    notProtected: ['Sessions are kept in this process and end with it (memoryStore).'],
    async ready(context: StoreContext): Promise<void> {
      if (!contexts.has(context)) inUse += 1
      contexts.add(context)
      runtime = context.runtime
      sweeping ??= runtime.setTimer(SWEEP_EVERY_MS, sweep)
      context.stateChanged('up', 'memory')
    },
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      const marked = mark(key)
      return marked === undefined ? live(key) : { gone: marked.gone, endedAt: marked.endedAt }
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      if (mark(key) !== undefined) return false
      const present = live(key)
      if (present !== undefined) return present.writeIds.includes(writeId)
      put(key, recordOf(draft, writeId))
      return true
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      const record = live(key)
      if (record === undefined) return gone(key)
      const patched = patchRecord(record, patch)
      if (patched.record !== undefined) records.set(key, patched.record)
      return patched.result
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      const present = live(newKey)
      if (present?.writeIds.includes(writeId) === true) return { outcome: 'applied', before: 0, after: 1, counters: new Map() }
      const old = live(oldKey)
      if (old === undefined) return gone(oldKey)
      if (present !== undefined) return { outcome: 'conflict', version: present.version }
      if (ifVersion !== undefined && ifVersion !== old.version) return { outcome: 'conflict', version: old.version }
      end(oldKey, old, 'replaced', runtime.now() + MARK_MS)
      put(newKey, recordOf(draft, writeId))
      return { outcome: 'applied', before: old.version, after: 1, counters: new Map() }
    },
    async destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      const record = live(key)
      if (record === undefined) return false
      if (filter.userId !== undefined && filter.userId !== record.meta.userId) return false
      end(key, record, reason, markUntil)
      return true
    },
    async endUser(userId: string, markUntil: number, { except }: { except?: string }): Promise<string[]> {
      const ended: string[] = []
      for (const key of [...(users.get(userId) ?? [])]) {
        const record = live(key)
        if (record === undefined || key === except) continue
        end(key, record, 'destroyed', markUntil)
        ended.push(key)
      }
      return ended
    },
    async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
      const keys = filter.userId === undefined ? records.keys() : (users.get(filter.userId) ?? [])
      for (const key of [...keys]) {
        const record = live(key)
        if (record !== undefined) yield summaryOf(key, record.meta)
      }
    },
    async close(): Promise<void> {
      // The records stay: another `createSessions` of this process may still use them, or come later.
      inUse = Math.max(0, inUse - 1)
      if (inUse > 0) return
      contexts.clear()
      sweeping?.cancel()
      sweeping = undefined
    },
  }
}
