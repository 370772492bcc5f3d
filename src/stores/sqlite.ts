import { closeSync, existsSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import type * as Sqlite from 'node:sqlite'
import { expiresAt, recordOf, summaryOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, SessionStore, StoreContext, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, recordInvalid, unavailable } from './availability.ts'
import { MARK_MS, patchRecord } from './row.ts'
import type { GoneMark } from './row.ts'
import { isBusy, sqliteError } from './sqlite-errors.ts'
import { fieldsToText, metaOfRow, prepareDatabase, recordFromSqlite, SCHEMA, TABLE_MISSING } from './sqlite-schema.ts'
import type { SqliteRow, Statements } from './sqlite-schema.ts'
import { sqliteSweep } from './sqlite-sweep.ts'

export interface SqliteStoreOptions {
  /** Created with mode 0600 if it does not exist; its folder must exist, on a local disk. */
  readonly file: string
  /** Makes the file and the table that are missing. Default true; false: their absence is STORE_UNAVAILABLE with the SQL to run. */
  readonly migrate?: boolean
}

const PAGE = 200
const RETRY_MS = 10

/**
 * Keeps sessions in an SQLite file that the processes of one machine share (`node:sqlite`; Node 22 prints an ExperimentalWarning when it
 * loads). The table `holdfast_sessions_v1` holds one row per session: key (SHA-256 of the id), user_id, created_at, last_active_at,
 * idle_ms, touch_every_ms, absolute_at (Unix ms and ms), persistent, version, write_ids (the last 8), fields (a JSON array of names and
 * encoded values, null for a removed field), expires_at, gone (`destroyed` or `replaced`); `holdfast_sweeper_v1` says which process drops
 * expired rows. What was acknowledged survives the death of any process; a power failure can lose the last moments. Throws CONFIG_INVALID
 * for what is no file path. Rejects with STORE_UNAVAILABLE, saying what to do, when the file cannot be used, and `ready()` with
 * DEPENDENCY_MISSING where Node.js has no `node:sqlite`. A record that does not parse is STORE_RECORD_INVALID, names its key and stays; a
 * counter that cannot be summed is FIELD_INVALID, and nothing is written.
 */
export function sqliteStore(options: SqliteStoreOptions): SessionStore {
  const file = checkedFile(options)
  const migrate = options.migrate ?? true
  const users = availability('sqliteStore')
  let sqlite: typeof Sqlite | undefined
  let database: Sqlite.DatabaseSync | undefined
  let statements: Statements | undefined

  function open(): Statements {
    if (statements !== undefined) return statements
    if (sqlite === undefined) throw unavailable('sqliteStore is not open: await ready() first')
    if (migrate) createPrivately(file)
    else if (!existsSync(file)) throw tableMissing(file)
    const opened = new sqlite.DatabaseSync(file)
    try {
      statements = prepareDatabase(opened, migrate)
      database = opened
      return statements
    } catch (error) {
      opened.close()
      throw (error as { code?: unknown }).code === TABLE_MISSING ? tableMissing(file) : error
    }
  }

  /** `work` is synchronous and short; while another process has the lock, it is tried again until the deadline. */
  async function run<R>(work: (sql: Statements, now: number) => R): Promise<R> {
    const { runtime, deadlineMs } = users.context()
    const deadline = runtime.monotonic() + deadlineMs
    for (;;) {
      try {
        const result = work(open(), runtime.now())
        users.set('up', file)
        return result
      } catch (error) {
        if (SessionError.is(error)) throw error
        if (!isBusy(error) || runtime.monotonic() >= deadline) {
          const failure = sqliteError(file, error)
          users.set('down', failure.message)
          throw failure
        }
      }
      const wait = 1 + ((runtime.randomBytes(1)[0] as number) / 256) * RETRY_MS
      await new Promise<void>((done) => void runtime.setTimer(wait, done))
      users.context()
    }
  }

  function transaction<R>(work: (sql: Statements, now: number) => R): Promise<R> {
    return run((sql, now) => {
      sql.begin.run()
      try {
        const result = work(sql, now)
        sql.commit.run()
        return result
      } catch (error) {
        rollBack(sql)
        throw error
      }
    })
  }

  const sweep = sqliteSweep(users, transaction)

  return {
    name: 'sqlite',
    capabilities: new Set(['list', 'users'] as const),
    notProtected: [
      'A power failure can lose the last moments of acknowledged writes; the death of a process cannot (sqliteStore).',
      'The processes of one machine share the sessions, other machines do not (sqliteStore).',
    ],
    async ready(context: StoreContext): Promise<void> {
      users.join(context)
      sqlite ??= await loadSqlite()
      sweep.start()
      await run(() => undefined)
    },
    read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      return run((sql, now) => {
        const row = sql.read.get(key, now) as SqliteRow | undefined
        if (row === undefined) return undefined
        return row.gone === null ? parsed(row) : { gone: row.gone, endedAt: row.last_active_at }
      })
    },
    create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return transaction((sql, now) => {
        const present = sql.read.get(key, now) as SqliteRow | undefined
        if (present !== undefined) return present.gone === null && parsed(present).writeIds.includes(writeId)
        insert(sql, key, recordOf(draft, writeId))
        return true
      })
    },
    patch(key: string, patch: StorePatch): Promise<PatchResult> {
      return transaction((sql, now) => {
        const found = sql.read.get(key, now) as SqliteRow | undefined
        if (found === undefined || found.gone !== null) return goneResult(found)
        const { result, record } = patchRecord(parsed(found), patch)
        if (record !== undefined) update(sql, key, record)
        return result
      })
    },
    replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      return transaction((sql, now): PatchResult => {
        const present = sql.read.get(newKey, now) as SqliteRow | undefined
        if (present !== undefined && parsed(present).writeIds.includes(writeId)) {
          return { outcome: 'applied', before: 0, after: 1, counters: new Map() }
        }
        const old = sql.read.get(oldKey, now) as SqliteRow | undefined
        if (old === undefined || old.gone !== null) return goneResult(old)
        if (present !== undefined) return { outcome: 'conflict', version: present.version }
        if (ifVersion !== undefined && ifVersion !== old.version) return { outcome: 'conflict', version: old.version }
        sql.mark.run('replaced', now, now + MARK_MS, oldKey)
        insert(sql, newKey, recordOf(draft, writeId))
        return { outcome: 'applied', before: old.version, after: 1, counters: new Map() }
      })
    },
    destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      return transaction((sql, now) => {
        const found = sql.read.get(key, now) as SqliteRow | undefined
        if (found === undefined || found.gone !== null) return false
        if (filter.userId !== undefined && filter.userId !== found.user_id) return false
        sql.mark.run(reason, now, Math.round(markUntil), key)
        return true
      })
    },
    endUser(userId: string, markUntil: number, { except = '' }: { except?: string }): Promise<string[]> {
      return run((sql, now) => {
        const ended = sql.markUser.all(now, Math.round(markUntil), userId, except, now) as { key: string }[]
        return ended.map(({ key }) => key)
      })
    },
    async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
      let after = ''
      for (;;) {
        const from = after
        const page = (await run((sql, now) =>
          filter.userId === undefined ? sql.page.all(from, now, PAGE) : sql.pageOfUser.all(from, filter.userId, now, PAGE),
        )) as unknown as SqliteRow[]
        for (const row of page) yield summaryOf(row.key, metaOfRow(row))
        if (page.length < PAGE) return
        after = (page.at(-1) as SqliteRow).key
      }
    },
    async close(): Promise<void> {
      if (!users.leave()) return
      sweep.stop(statements)
      statements = undefined
      database?.close()
      database = undefined
    },
  }
}

function checkedFile(options: SqliteStoreOptions): string {
  const file: unknown = (options as Partial<SqliteStoreOptions> | undefined)?.file
  if (typeof file === 'string' && file !== '' && !file.startsWith(':') && !file.startsWith('file:')) return resolve(file)
  throw new SessionError(
    'CONFIG_INVALID',
    "sqliteStore needs a file path, like sqliteStore({ file: 'sessions.db' }); for sessions in memory use memoryStore()",
  )
}

function tableMissing(file: string): SessionError {
  return unavailable(
    `${file} holds no table of sqliteStore: name another file, leave migrate: false out, or run: ${SCHEMA.replaceAll(/\s+/g, ' ').trim()}`,
  )
}

async function loadSqlite(): Promise<typeof Sqlite> {
  try {
    return await import('node:sqlite')
  } catch {
    throw new SessionError('DEPENDENCY_MISSING', 'this Node.js has no node:sqlite: sqliteStore needs Node.js 22.19 or newer')
  }
}

/** Before SQLite opens it, so that the file and the ones beside it are never readable by others. */
function createPrivately(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function rollBack(sql: Statements): void {
  try {
    sql.rollback.run()
  } catch {
    // A full disk or a failed commit has rolled back already.
  }
}

function parsed(found: SqliteRow): StoredRecord {
  const record = recordFromSqlite(found)
  if (record === undefined) throw recordInvalid('sqliteStore', found.key)
  return record
}

function goneResult(row: SqliteRow | undefined): PatchResult {
  return { outcome: 'gone', reason: row?.gone ?? 'unknown' }
}

function insert(sql: Statements, key: string, record: StoredRecord): void {
  const { meta, version, writeIds } = record
  const times = [meta.createdAt, meta.lastActiveAt, meta.idleMs, meta.touchEveryMs, meta.absoluteAt].map(Math.round)
  sql.insert.run(
    key,
    meta.userId ?? null,
    ...times,
    Number(meta.persistent),
    version,
    writeIds.join(','),
    fieldsToText(record),
    Math.round(expiresAt(meta)),
  )
}

function update(sql: Statements, key: string, record: StoredRecord): void {
  const { meta, version, writeIds } = record
  const times = [meta.lastActiveAt, meta.idleMs, meta.touchEveryMs, meta.absoluteAt].map(Math.round)
  sql.update.run(...times, version, writeIds.join(','), fieldsToText(record), Math.round(expiresAt(meta)), key)
}
