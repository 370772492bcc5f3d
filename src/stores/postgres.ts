import { summaryOf } from '../core/stored-record.ts'
import type {
  ChangeListener,
  ChangeWatch,
  Draft,
  PatchResult,
  SessionStore,
  StoreContext,
  StoredRecord,
  StorePatch,
  Timer,
} from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, recordInvalid, unavailable } from './availability.ts'
import { storeClock, wholeMs } from './store-clock.ts'
import { postgresLink } from './postgres-link.ts'
import type { PostgresLink } from './postgres-link.ts'
import { checkedPostgresOptions } from './postgres-options.ts'
import type { PostgresStoreOptions, PostgresTarget } from './postgres-options.ts'
import { patchMessage, patchResult } from './postgres-patch.ts'
import { loadDriver, ownPool } from './postgres-pool.ts'
import { postgresConnections } from './postgres-connections.ts'
import type { PostgresConnections } from './postgres-connections.ts'
import { packDraft, packUser, TRUE, unpackRecord } from './postgres-record.ts'
import { unpackMeta, unpackText } from './sql-record.ts'
import type { Row } from './sql-record.ts'
import { PAGE, postgresStatements, SWEEP_BATCH } from './postgres-statements.ts'
import type { PostgresStatements } from './postgres-statements.ts'
import { postgresWatcher } from './postgres-watch.ts'
import type { PostgresWatcher } from './postgres-watch.ts'
import type { GoneMark } from './row.ts'

export type { PostgresClientLike, PostgresPoolLike, PostgresStoreOptions, PostgresTarget } from './postgres-options.ts'

const SWEEP_EVERY_MS = 30_000
const SWEEP_AGAIN_MS = 20
const CLOSE_MS = 1_000
/** Once more for each time that a session got a new id while it was to be ended. */
const END_ATTEMPTS = 20

interface Open {
  readonly connections: PostgresConnections
  readonly link: PostgresLink
  readonly watcher: PostgresWatcher
}

/**
 * Keeps sessions in PostgreSQL (12 or newer; tested with 15; `pg` 8 is an optional peer, loaded by `ready()`). Rejects with
 * STORE_UNAVAILABLE within the deadline while the database cannot be used, and comes back by itself. A write that was answered 503 may
 * still have been stored: retry it with its write id. With a URL at most 11 connections; a pool of your own stays open at the end, and
 * lends one of its connections while near copies are kept. Sessions end by the database's clock.
 *
 * Throws CONFIG_INVALID with all problems of the options; `ready()` rejects with DEPENDENCY_MISSING without `pg`. A record that does
 * not parse is STORE_RECORD_INVALID, names its key and stays; a counter that cannot be summed is FIELD_INVALID, and nothing is
 * written.
 *
 * `ready()` creates the table if it is missing (`migrate: false`: it says the SQL instead). One row per session, times in Unix ms of
 * the database, durations in ms: `key` (SHA-256 of the id, primary key), `user_id` (indexed), `created_at`, `last_active_at`, `idle_ms`,
 * `touch_every_ms`, `absolute_at`, `persistent`, `version`, `write_ids` (the last 8), `fields` (jsonb, name to encoded value, null for a
 * removed field), `expires_at`, `gone` (`destroyed` or `replaced`: what is left of an ended session, `last_active_at` says since when),
 * `due_at` (indexed: when the sweep drops the row). Expired rows read as absent and are dropped in batches, by one server at a time.
 */
export function postgresStore(target: PostgresTarget, options: PostgresStoreOptions = {}): SessionStore {
  const checked = checkedPostgresOptions(target, options)
  const { table, freshness } = checked
  const statements = postgresStatements(table)
  const users = availability('postgresStore')
  const clock = storeClock()
  const channel = freshness === 'push' ? table : null
  let open: Open | undefined
  let opening: Promise<Open> | undefined
  let sweeping: Timer | undefined

  async function connect({ runtime, deadlineMs }: StoreContext): Promise<Open> {
    const own = checked.connection === undefined ? undefined : ownPool(await loadDriver(), checked.connection, deadlineMs)
    const connections = postgresConnections(checked.pool ?? (own as NonNullable<typeof own>).pool, runtime, own)
    const link = postgresLink(connections, checked, users, clock)
    const watcher = postgresWatcher(connections, table, users.context())
    return { connections, link, watcher }
  }

  async function run(statement: keyof PostgresStatements, values: readonly unknown[]): Promise<readonly Row[]> {
    users.context()
    if (open === undefined) throw unavailable('postgresStore is not open: await ready() first, and use nothing after close()')
    const { link, watcher } = open
    try {
      return await link.run(statements[statement], values)
    } catch (error) {
      // It may still be carried out, and then nobody here takes the announcement for what it is.
      watcher.doubt()
      throw error
    }
  }

  function payload(key: string): string {
    return `${open?.watcher.tag ?? ''}${key}`
  }

  function draftValues(key: string, draft: Draft, writeId: string): unknown[] {
    return packDraft(key, { ...draft, meta: clock.metaToStore(draft.meta) }, writeId)
  }

  function sweepLater(ms: number): void {
    sweeping?.cancel()
    // Jittered: only one server at a time can sweep.
    const { runtime } = users.context()
    sweeping = runtime.setTimer(ms * (0.75 + (runtime.randomBytes(1)[0] as number) / 512), () => void sweep())
  }

  async function sweep(): Promise<void> {
    let dropped = 0
    try {
      const { runtime } = users.context()
      const askedAt = runtime.now()
      const rows = await run('sweep', [])
      clock.set(Number(rows[0]?.[0]), askedAt, runtime)
      for (const [, key, userId, gone] of rows) {
        if (typeof key !== 'string') continue
        dropped += 1
        if (gone !== null) continue
        for (const context of users.contexts) context.expired?.(key, typeof userId === 'string' ? unpackText(userId) : undefined)
      }
    } catch {
      // The next operation or sweep reports it.
    }
    if (users.contexts.size > 0) sweepLater(dropped === SWEEP_BATCH ? SWEEP_AGAIN_MS : SWEEP_EVERY_MS)
  }

  return {
    name: 'postgres',
    capabilities: new Set(['list', 'users'] as const),
    freshness,
    notProtected: [
      'Where PostgreSQL runs with synchronous_commit off, or fails over to an asynchronous replica, it loses the last writes it acknowledged (postgresStore).',
    ],
    async ready(context: StoreContext): Promise<void> {
      users.join(context)
      opening ??= connect(context)
      try {
        open = await opening
      } catch (error) {
        opening = undefined
        throw error
      }
      if (sweeping === undefined) sweepLater(SWEEP_EVERY_MS)
      if (users.state === 'up' || (await open.link.check(context.deadlineMs))) return
      throw open.link.problem
    },
    watch(listener: ChangeListener): ChangeWatch {
      if (open === undefined) throw unavailable('postgresStore is not open: await ready() before watch()')
      return open.watcher.watch(listener)
    },
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      const [row] = await run('read', [key])
      if (row === undefined) return undefined
      const record = unpackRecord(row)
      if (record === undefined) throw recordInvalid('postgresStore', key)
      return clock.fromStore(record)
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return (await run('create', draftValues(key, draft, writeId))).length > 0
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      const { statement, values } = patchMessage(key, patch, clock.toStore, channel, payload(key))
      const result = patchResult((await run(statement, values))[0], patch)
      if (result === undefined) throw recordInvalid('postgresStore', key)
      return result
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      const [row] = await run('replace', [oldKey, channel, payload(oldKey), ...draftValues(newKey, draft, writeId), ifVersion ?? null])
      return replaceResult(row as Row)
    },
    async destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      const until = wholeMs(clock.toStore(markUntil))
      return (await run('destroy', [key, reason, until, packUser(filter.userId), channel, payload(key)])).length > 0
    },
    async endUser(userId: string, markUntil: number, { except = '' }: { except?: string }): Promise<string[]> {
      const until = wholeMs(clock.toStore(markUntil))
      const ended: string[] = []
      for (let attempt = 0; attempt < END_ATTEMPTS; attempt++) {
        const rows = await run('endUser', [packUser(userId), until, except, channel, payload('')])
        const keys = rows.flatMap(([, key]) => key ?? [])
        ended.push(...keys)
        if (keys.length >= Number(rows[0]?.[0])) return ended
      }
      throw unavailable('postgresStore could not end all sessions of a user: they get new ids faster than they can be ended; try again')
    },
    async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
      let after = ''
      for (;;) {
        const page = filter.userId === undefined ? await run('page', [after]) : await run('pageOfUser', [after, packUser(filter.userId)])
        for (const row of page) yield summaryOf(row[0] as string, clock.metaFromStore(unpackMeta(row, TRUE)))
        if (page.length < PAGE) return
        after = page.at(-1)?.[0] as string
      }
    },
    async close(): Promise<void> {
      const deadlineMs = users.contexts.size > 0 ? users.context().deadlineMs : CLOSE_MS
      if (!users.leave()) return
      sweeping?.cancel()
      sweeping = undefined
      const closing = opening
      open = undefined
      opening = undefined
      const closed = await closing?.catch(() => undefined)
      closed?.watcher.close()
      closed?.link.close()
      await closed?.connections.close(Math.min(deadlineMs, CLOSE_MS))
    },
  }
}

function replaceResult([isOurs, present, gone, isLive, version, endedByUs]: Row): PatchResult {
  const before = Number(version)
  if (isOurs === 't') return { outcome: 'applied', before: 0, after: 1, counters: new Map() }
  if (endedByUs === 't' && present === null) return { outcome: 'applied', before, after: 1, counters: new Map() }
  if (isLive === 't' && (gone === 'destroyed' || gone === 'replaced')) return { outcome: 'gone', reason: gone }
  if (isLive !== 't' || gone !== null) return { outcome: 'gone', reason: 'unknown' }
  return { outcome: 'conflict', version: present === null ? before : Number(present) }
}
