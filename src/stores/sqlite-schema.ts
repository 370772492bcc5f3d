import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { RecordMeta, StoredRecord } from '../seam.ts'

/**
 * One row per session with the fields as one JSON array: measured with 8 fields of 120 bytes, a read takes 13 µs against
 * 23 with a row per field, and a write no longer. The table's name carries the format's version.
 */
const TABLE = 'holdfast_sessions_v1'
/** One row: which process sweeps, and until when (Unix ms). */
const SWEEPER = 'holdfast_sweeper_v1'

export const TABLE_MISSING = 'HOLDFAST_TABLE_MISSING'

export const SCHEMA: string = `
CREATE TABLE IF NOT EXISTS ${TABLE} (
  key TEXT NOT NULL PRIMARY KEY,
  user_id TEXT,
  created_at INTEGER NOT NULL,
  last_active_at INTEGER NOT NULL,
  idle_ms INTEGER NOT NULL,
  touch_every_ms INTEGER NOT NULL,
  absolute_at INTEGER NOT NULL,
  persistent INTEGER NOT NULL,
  version INTEGER NOT NULL,
  write_ids TEXT NOT NULL,
  fields TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  gone TEXT
);
CREATE INDEX IF NOT EXISTS ${TABLE}_user ON ${TABLE} (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS ${TABLE}_expiry ON ${TABLE} (expires_at);
CREATE TABLE IF NOT EXISTS ${SWEEPER} (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), owner TEXT NOT NULL, until_at INTEGER NOT NULL);
`

/** The busy timeout blocks the event loop, so it is short: longer waits are the store's own, asynchronous. */
const BUSY_MS = 5

export interface SqliteRow {
  key: string
  user_id: string | null
  created_at: number
  last_active_at: number
  idle_ms: number
  touch_every_ms: number
  absolute_at: number
  persistent: number
  version: number
  write_ids: string
  fields: string
  gone: 'destroyed' | 'replaced' | null
}

export type Statements = Readonly<
  Record<
    | 'begin'
    | 'commit'
    | 'rollback'
    | 'read'
    | 'insert'
    | 'update'
    | 'mark'
    | 'markUser'
    | 'takeTurn'
    | 'endTurn'
    | 'sweep'
    | 'page'
    | 'pageOfUser',
    StatementSync
  >
>

/**
 * WAL with `synchronous=NORMAL`: what was committed survives the death of any process, not a power failure. `migrate` false: nothing
 * is changed, and a file without the tables is TABLE_MISSING.
 */
export function prepareDatabase(database: DatabaseSync, migrate: boolean): Statements {
  database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
  if (!migrate && database.prepare('SELECT 1 FROM sqlite_master WHERE name IN (?, ?) LIMIT 1 OFFSET 1').get(TABLE, SWEEPER) === undefined) {
    throw Object.assign(new Error(TABLE), { code: TABLE_MISSING })
  }
  const mode = database.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
  if (mode.journal_mode !== 'wal') throw Object.assign(new Error('no WAL here'), { errcode: 10 })
  database.exec('PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864')
  if (migrate) database.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`)
  const prepare = (sql: string): StatementSync => database.prepare(sql)
  const summary = 'key, user_id, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent'
  return {
    begin: prepare('BEGIN IMMEDIATE'),
    commit: prepare('COMMIT'),
    rollback: prepare('ROLLBACK'),
    read: prepare(`SELECT * FROM ${TABLE} WHERE key = ? AND expires_at > ?`),
    insert: prepare(`INSERT OR REPLACE INTO ${TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)`),
    update: prepare(
      `UPDATE ${TABLE} SET last_active_at = ?, idle_ms = ?, touch_every_ms = ?, absolute_at = ?, version = ?, write_ids = ?, fields = ?,
       expires_at = ? WHERE key = ?`,
    ),
    mark: prepare(
      `UPDATE ${TABLE} SET user_id = NULL, write_ids = '', fields = '[]', gone = ?, last_active_at = ?, expires_at = max(expires_at, ?) WHERE key = ?`,
    ),
    markUser: prepare(
      `UPDATE ${TABLE} SET user_id = NULL, write_ids = '', fields = '[]', gone = 'destroyed', last_active_at = ?, expires_at = max(expires_at, ?)
       WHERE user_id = ? AND key <> ? AND gone IS NULL AND expires_at > ? RETURNING key`,
    ),
    takeTurn: prepare(
      `INSERT INTO ${SWEEPER} VALUES (1, $owner, $now + $ms) ON CONFLICT (one) DO UPDATE SET owner = excluded.owner, until_at = excluded.until_at
       WHERE owner = excluded.owner OR until_at NOT BETWEEN $now + 1 AND $now + $ms RETURNING one`,
    ),
    endTurn: prepare(`DELETE FROM ${SWEEPER} WHERE owner = ?`),
    sweep: prepare(
      `DELETE FROM ${TABLE} WHERE key IN (SELECT key FROM ${TABLE} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
       RETURNING key, user_id, gone`,
    ),
    page: prepare(`SELECT ${summary} FROM ${TABLE} WHERE key > ? AND gone IS NULL AND expires_at > ? ORDER BY key LIMIT ?`),
    pageOfUser: prepare(
      `SELECT ${summary} FROM ${TABLE} WHERE key > ? AND user_id = ? AND gone IS NULL AND expires_at > ? ORDER BY key LIMIT ?`,
    ),
  }
}

export function metaOfRow(row: Omit<SqliteRow, 'version' | 'write_ids' | 'fields' | 'gone'>): RecordMeta {
  return {
    userId: row.user_id ?? undefined,
    createdAt: row.created_at,
    lastActiveAt: row.last_active_at,
    idleMs: row.idle_ms,
    touchEveryMs: row.touch_every_ms,
    absoluteAt: row.absolute_at,
    persistent: row.persistent !== 0,
  }
}

/** Undefined: does not parse. */
export function recordFromSqlite(row: SqliteRow): StoredRecord | undefined {
  const decoded = parseFields(row.fields)
  if (decoded === undefined) return undefined
  const { fields, removed } = decoded
  const writeIds = row.write_ids === '' ? [] : row.write_ids.split(',')
  return { meta: metaOfRow(row), fields, version: row.version, writeIds, ...(removed.size > 0 ? { removed } : {}) }
}

/** `[name, value, name, value, …]`, null for a removed field: no name can collide with anything. */
export function fieldsToText({ fields, removed }: StoredRecord): string {
  const flat: (string | null)[] = []
  for (const [name, value] of fields) flat.push(name, value)
  for (const name of removed ?? []) flat.push(name, null)
  return JSON.stringify(flat)
}

function parseFields(text: string): { fields: Map<string, string>; removed: Set<string> } | undefined {
  let flat: unknown
  try {
    flat = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(flat) || flat.length % 2 !== 0) return undefined
  const fields = new Map<string, string>()
  const removed = new Set<string>()
  for (let index = 0; index < flat.length; index += 2) {
    const name: unknown = flat[index]
    const value: unknown = flat[index + 1]
    if (typeof name !== 'string') return undefined
    if (value === null) removed.add(name)
    else if (typeof value === 'string') fields.set(name, value)
    else return undefined
  }
  return { fields, removed }
}
