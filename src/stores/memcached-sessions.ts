import { expiresAt, recordOf, summaryOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, Runtime, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { LOOK } from './memcached-items.ts'
import type { Decision, MemcachedItems } from './memcached-items.ts'
import type { MarkItem, MemcachedItem, SessionItem } from './memcached-record.ts'
import { standing } from './memcached-users.ts'
import type { MemcachedUsers } from './memcached-users.ts'
import { MARK_MS, patchRecord } from './row.ts'
import type { GoneMark } from './row.ts'

/** What a `SessionStore` does, each within `until` (monotonic ms). */
export interface MemcachedSessions {
  read(key: string, until: number): Promise<StoredRecord | GoneMark | undefined>
  create(key: string, draft: Draft, writeId: string, until: number): Promise<boolean>
  patch(key: string, patch: StorePatch, until: number): Promise<PatchResult>
  replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion: number | undefined, until: number): Promise<PatchResult>
  destroy(key: string, reason: GoneMark['gone'], markUntil: number, filter: { userId?: string }, until: number): Promise<boolean>
  endUser(userId: string, markUntil: number, filter: { except?: string }, until: number): Promise<readonly string[]>
  list(userId: string, until: () => number): AsyncGenerator<SessionSummary>
}

/** Why a session is over. */
type Over = GoneMark | { readonly gone: 'unknown' }
type Mark = Pick<MarkItem, 'gone' | 'endedAt' | 'until' | 'writeId'>

const UNKNOWN: Over = { gone: 'unknown' }
const PAGE = 50

export function memcachedSessions(
  items: MemcachedItems,
  users: MemcachedUsers,
  keyOf: (key: string) => string,
  runtime: Runtime,
): MemcachedSessions {
  async function found(key: string, item: MemcachedItem | undefined, until: number): Promise<SessionItem | Over> {
    if (item?.kind === 'mark') return item
    if (item?.kind !== 'session') return UNKNOWN
    const { userId } = item.record.meta
    if (userId === undefined) return item
    const user = await users.find(userId, until)
    const state = standing(key, item, user)
    if (state === 'live') return item
    items.forget(keyOf(key))
    return state === 'revoked' ? { gone: 'destroyed', endedAt: user?.revokedAt ?? runtime.now() } : UNKNOWN
  }

  async function patched(key: string, item: MemcachedItem | undefined, patch: StorePatch, until: number): Promise<Decision<PatchResult>> {
    const session = await found(key, item, until)
    return 'gone' in session ? { result: goneResult(session) } : applied(session, patch)
  }

  /** Undefined: the session whose place it takes has been revoked. */
  async function draftItem(
    key: string,
    { meta, fields }: Draft,
    writeId: string,
    until: number,
    from?: { key: string; item: SessionItem },
  ): Promise<SessionItem | undefined> {
    const record = recordOf({ meta, fields }, writeId)
    if (meta.userId === undefined) return { kind: 'session', record }
    const isSameUser = from?.item.record.meta.userId === meta.userId
    const epoch = await users.enrol(meta.userId, { key, end: meta.absoluteAt }, until, isSameUser ? from : undefined)
    return epoch === undefined ? undefined : { kind: 'session', record, epoch }
  }

  /** False: the key is taken. */
  function add(key: string, item: SessionItem, writeId: string, until: number): Promise<boolean> {
    return items.change<boolean>(keyOf(key), until, 'absent', (present) =>
      present === undefined ? { result: true, item } : { result: isOf(present, writeId) },
    )
  }

  /** The record that it ended; undefined: there was none to end. */
  function end(key: string, mark: Mark, filter: { userId?: string }, until: number): Promise<StoredRecord | undefined> {
    return items.change<StoredRecord | undefined>(keyOf(key), until, 'seen', (item, isFresh) => {
      const isTheirs = item?.kind === 'session' && (filter.userId === undefined || filter.userId === item.record.meta.userId)
      if (!isTheirs) return isFresh ? { result: undefined } : LOOK
      return { result: item.record, item: marked(item, mark) }
    })
  }

  /** The mark decides: of several that replace or end a session, one wins. */
  function endReplaced(key: string, writeId: string, ifVersion: number | undefined, until: number): Promise<PatchResult> {
    const now = runtime.now()
    const mark: Mark = { gone: 'replaced', endedAt: now, until: now + MARK_MS, writeId }
    return items.change<PatchResult>(keyOf(key), until, 'seen', (item, isFresh) => {
      if (item?.kind === 'session' && isOther(item.record.version, ifVersion))
        return isFresh ? { result: conflictAt(item.record.version) } : LOOK
      if (item?.kind === 'session') return { result: replacedResult(item.record.version), item: marked(item, mark) }
      if (!isFresh) return LOOK
      const before = replacedBy(item, writeId)
      if (before !== undefined) return { result: replacedResult(before) }
      return { result: goneResult(item?.kind === 'mark' ? item : UNKNOWN) }
    })
  }

  /** Nobody has learned its id: when this fails, it expires unused. */
  async function withdraw(key: string, writeId: string, until: number): Promise<void> {
    await items.remove(keyOf(key), until, (item) => isOf(item, writeId)).catch(() => {})
  }

  return {
    async read(key, until): Promise<StoredRecord | GoneMark | undefined> {
      const session = await found(key, await items.read(keyOf(key), until), until)
      if (!('gone' in session)) return session.record
      return session.gone === 'unknown' ? undefined : { gone: session.gone, endedAt: session.endedAt }
    },

    async create(key, draft, writeId, until): Promise<boolean> {
      const item = (await draftItem(key, draft, writeId, until)) as SessionItem
      return add(key, item, writeId, until)
    },

    patch: (key, patch, until) =>
      items.change<PatchResult>(keyOf(key), until, 'seen', (item, isFresh) =>
        isFresh ? patched(key, item, patch, until) : quicklyApplied(item, patch),
      ),

    /**
     * First the new session, under an id that nobody knows yet, then the mark on the old one: whatever breaks in between,
     * the visitor is not logged out, and has one session.
     */
    async replace(oldKey, newKey, draft, writeId, ifVersion, until): Promise<PatchResult> {
      const old = await items.read(keyOf(oldKey), until)
      const before = replacedBy(old, writeId)
      if (before !== undefined) return replacedResult(before)
      const session = await found(oldKey, old, until)
      let result: PatchResult
      if ('gone' in session) result = goneResult(session)
      else if (isOther(session.record.version, ifVersion)) result = conflictAt(session.record.version)
      else {
        const item = await draftItem(newKey, draft, writeId, until, { key: oldKey, item: session })
        if (item === undefined) result = { outcome: 'gone', reason: 'destroyed' }
        else if (await add(newKey, item, writeId, until)) result = await endReplaced(oldKey, writeId, ifVersion, until)
        else return { outcome: 'conflict', version: 0 }
      }
      if (result.outcome === 'applied') {
        users.forget((session as SessionItem).record.meta.userId, oldKey, until)
      } else {
        await withdraw(newKey, writeId, until)
        users.forget(draft.meta.userId, newKey, until)
      }
      return result
    },

    async destroy(key, gone, markUntil, filter, until): Promise<boolean> {
      const record = await end(key, { gone, endedAt: runtime.now(), until: markUntil, writeId: '' }, filter, until)
      users.forget(record?.meta.userId, key, until)
      return record !== undefined
    },

    /** The new epoch has ended them; marks make late writers notice, also those that need not read before they write. */
    async endUser(userId, markUntil, { except }, until): Promise<readonly string[]> {
      const listed = await users.revoke(userId, markUntil, except, until)
      const keys = listed.map(({ key }) => key).filter((key) => key !== except)
      const mark: Mark = { gone: 'destroyed', endedAt: runtime.now(), until: markUntil, writeId: '' }
      const were = await Promise.all(
        keys.map((key) =>
          end(key, mark, { userId }, until).then(
            (record) => record !== undefined,
            () => true,
          ),
        ),
      )
      return keys.filter((_, index) => were[index])
    },

    async *list(userId, until): AsyncGenerator<SessionSummary> {
      const user = await users.find(userId, until())
      if (user === undefined) return
      for (let from = 0; from < user.sessions.length; from += PAGE) {
        const keys = user.sessions.slice(from, from + PAGE).map(({ key }) => key)
        const ends = until()
        const page = await Promise.all(keys.map((key) => items.read(keyOf(key), ends, false).catch(unlessInvalid)))
        for (const [index, item] of page.entries()) {
          const key = keys[index] as string
          if (item?.kind !== 'session' || item.record.meta.userId !== userId || standing(key, item, user) !== 'live') continue
          yield summaryOf(key, item.record.meta)
        }
      }
    },
  }
}

function marked({ record }: SessionItem, mark: Mark): MarkItem {
  return { kind: 'mark', ...mark, until: Math.max(mark.until, expiresAt(record.meta)), before: record.version }
}

function applied(session: SessionItem, patch: StorePatch): Decision<PatchResult> {
  const { result, record } = patchRecord(session.record, patch)
  return record === undefined ? { result } : { result, item: { ...session, record } }
}

/** On the record as it was last seen: only storing it tells whether it is still the newest. */
function quicklyApplied(item: MemcachedItem | undefined, patch: StorePatch): Decision<PatchResult> {
  if (item?.kind !== 'session') return LOOK
  try {
    const decision = applied(item, patch)
    return decision !== LOOK && decision.item !== undefined ? decision : LOOK
  } catch {
    return LOOK
  }
}

function isOf(item: MemcachedItem, writeId: string): boolean {
  return item.kind === 'session' && item.record.writeIds.includes(writeId)
}

/** The version that this very replacement ended: its reply was lost. */
function replacedBy(item: MemcachedItem | undefined, writeId: string): number | undefined {
  return item?.kind === 'mark' && item.gone === 'replaced' && item.writeId === writeId ? item.before : undefined
}

function replacedResult(before: number): PatchResult {
  return { outcome: 'applied', before, after: 1, counters: new Map() }
}

function isOther(version: number, ifVersion: number | undefined): boolean {
  return ifVersion !== undefined && ifVersion !== version
}

function conflictAt(version: number): PatchResult {
  return { outcome: 'conflict', version }
}

function goneResult({ gone }: Over): PatchResult {
  return { outcome: 'gone', reason: gone }
}

function unlessInvalid(error: unknown): undefined {
  if (SessionError.is(error) && error.code === 'STORE_RECORD_INVALID') return undefined
  throw error
}
