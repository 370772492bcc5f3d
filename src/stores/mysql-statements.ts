/**
 * The SQL of each operation. Whatever came from outside stands in it as hexadecimal digits: nothing has to be escaped, whatever
 * the mode and the character set of a connection.
 */
import { WRITE_IDS_KEPT, expiresAt } from '../core/stored-record.ts'
import type { Draft, StorePatch } from '../seam.ts'
import { READ_COLUMNS, SUMMARY_COLUMNS, packFields, packName } from './mysql-record.ts'
import { packText } from './sql-record.ts'
import { wholeMs } from './store-clock.ts'
import { MARK_MS } from './row.ts'

/** The database's Unix ms, the same throughout one statement, and not moved by a connection's time zone. */
export const NOW = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"
export const BEGIN = 'START TRANSACTION'
export const COMMIT = 'COMMIT'
export const ROLLBACK = 'ROLLBACK'

export const COLUMNS = [
  'session_key',
  'user_id',
  'created_at',
  'last_active_at',
  'idle_ms',
  'touch_every_ms',
  'absolute_at',
  'is_persistent',
  'version',
  'write_ids',
  'fields',
  'expires_at',
] as const
const INTO = COLUMNS.join(', ')
const LIVE = `gone IS NULL AND expires_at > ${NOW}`
const NUMBER = '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$'

/** What a patch does in SQL. `add`: the counters whose sum only the database knows. */
export interface PatchPlan {
  readonly patch: StorePatch
  readonly set: ReadonlyMap<string, string | undefined>
  readonly add: ReadonlyMap<string, { readonly by: number; readonly from: number }>
}

export interface MysqlStatements {
  read(key: string): string
  /** `gone`, `expires_at <= now`, and the write ids. */
  look(key: string): string
  insert(key: string, draft: Draft, writeId: string): string
  removeExpired(key: string): string
  /** Answers the version after it as the insert id. Matches nothing where the patch must not apply. */
  update(key: string, plan: PatchPlan): string
  /** The counters of the plan, in its order. */
  counters(key: string, plan: PatchPlan): string
  /** The first answers the version of the old session as the insert id; the second inserts only what the first made room for. */
  replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): readonly [string, string]
  destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, userId: string | undefined): string
  endUser(userId: string, markUntil: number, except: string | undefined): readonly [string, string]
  page(after: string, userId: string | undefined, size: number): string
  /** Answers 1: no other connection sweeps. Does not wait. */
  readonly takeTurn: string
  readonly endTurn: string
  lockExpired(size: number): string
  remove(keys: readonly string[]): string
}

export function mysqlStatements(name: string): MysqlStatements {
  const table = `\`${name}\``
  // Names of user locks are the server's, and at most 64 characters.
  const turn = `CONCAT('holdfast_', SHA1(CONCAT(DATABASE(), '.${name}')))`
  const where = (key: string): string => `WHERE session_key = ${bytes(key)}`

  return {
    read: (key) => `SELECT ${READ_COLUMNS} FROM ${table} ${where(key)} AND expires_at > ${NOW}`,
    look: (key) => `SELECT gone, expires_at <= ${NOW} AS expired, write_ids FROM ${table} ${where(key)}`,
    insert: (key, draft, writeId) => `INSERT INTO ${table} (${INTO}) VALUES (${values(key, draft, writeId)})`,
    removeExpired: (key) => `DELETE FROM ${table} ${where(key)} AND expires_at <= ${NOW}`,
    update: (key, plan) => `UPDATE ${table} SET ${assignments(plan).join(', ')} ${where(key)} AND ${conditions(plan).join(' AND ')}`,
    counters(key, { add }) {
      const sums = [...add.keys()].map((field, index) => `JSON_UNQUOTE(JSON_EXTRACT(fields, ${path(field)})) AS c${index}`)
      return `SELECT ${sums.join(', ')} FROM ${table} ${where(key)}`
    },
    replace(oldKey, newKey, draft, writeId, ifVersion) {
      const expected = ifVersion === undefined ? '' : ` AND version = ${ifVersion}`
      const id = bytes(writeId)
      const marked = mark('replaced', `${NOW} + ${MARK_MS}`, id)
      return [
        `UPDATE ${table} SET ${marked}, version = LAST_INSERT_ID(version) ${where(oldKey)} AND ${LIVE}${expected}`,
        `INSERT INTO ${table} (${INTO}) SELECT ${values(newKey, draft, writeId)} FROM ${table} AS old ` +
          `WHERE old.session_key = ${bytes(oldKey)} AND old.gone = 'replaced' AND old.write_ids = ${id}`,
      ]
    },
    destroy(key, reason, markUntil, userId) {
      const filter = userId === undefined ? '' : ` AND user_id = ${bytes(packText(userId))}`
      return `UPDATE ${table} SET ${mark(reason, wholeMs(markUntil), "''")} ${where(key)} AND ${LIVE}${filter}`
    },
    endUser(userId, markUntil, except) {
      const other = except === undefined ? '' : ` AND session_key <> ${bytes(except)}`
      const theirs = `WHERE user_id = ${bytes(packText(userId))} AND ${LIVE}${other}`
      return [
        `SELECT session_key FROM ${table} ${theirs} FOR UPDATE`,
        `UPDATE ${table} SET ${mark('destroyed', wholeMs(markUntil), "''")} ${theirs}`,
      ]
    },
    page(after, userId, size) {
      const filter = userId === undefined ? '' : ` AND user_id = ${bytes(packText(userId))}`
      return `SELECT ${SUMMARY_COLUMNS} FROM ${table} WHERE session_key > ${bytes(after)}${filter} AND ${LIVE} ORDER BY session_key LIMIT ${size}`
    },
    takeTurn: `SELECT GET_LOCK(${turn}, 0) AS turn`,
    endTurn: `DO RELEASE_LOCK(${turn})`,
    lockExpired: (size) =>
      `SELECT session_key, user_id, gone FROM ${table} WHERE expires_at <= ${NOW} ORDER BY expires_at LIMIT ${size} FOR UPDATE SKIP LOCKED`,
    remove: (keys) => `DELETE FROM ${table} WHERE session_key IN (${keys.map(bytes).join(', ')})`,
  }
}

export function bytes(text: string): string {
  return `x'${Buffer.from(text).toString('hex')}'`
}

function characters(text: string): string {
  return `_utf8mb4 ${bytes(text)}`
}

function path(field: string): string {
  return characters(`$."${packName(field)}"`)
}

/** In the order of `COLUMNS`. */
function values(key: string, { meta, fields }: Draft, writeId: string): string {
  const { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent } = meta
  const user = userId === undefined ? 'NULL' : bytes(packText(userId))
  const times = [createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt].map(wholeMs).join(', ')
  const rest = `${Number(persistent)}, 1, ${bytes(writeId)}, ${characters(packFields(fields))}, ${wholeMs(expiresAt(meta))}`
  return `${bytes(key)}, ${user}, ${times}, ${rest}`
}

function mark(reason: 'destroyed' | 'replaced', until: string | number, writeIds: string): string {
  return `gone = '${reason}', user_id = NULL, write_ids = ${writeIds}, fields = '{}', last_active_at = ${NOW}, expires_at = GREATEST(expires_at, ${until})`
}

/** No assignment reads a column that one before it has changed, since modes differ in what it would see. */
function assignments({ patch, set, add }: PatchPlan): string[] {
  const { touchAt, lifetime, writeId } = patch
  const active = `GREATEST(last_active_at, ${wholeMs(touchAt)})`
  const isWrite = set.size > 0 || add.size > 0 || lifetime !== undefined
  const idle = lifetime === undefined ? 'idle_ms' : String(wholeMs(lifetime.idleMs))
  const absolute = lifetime === undefined ? 'absolute_at' : `LEAST(absolute_at, ${wholeMs(lifetime.absoluteAt)})`
  const all = [
    `expires_at = LEAST(${active} + ${idle}, ${absolute})`,
    `last_active_at = ${active}`,
    `version = LAST_INSERT_ID(version${isWrite ? ' + 1' : ''})`,
  ]
  if (isWrite) all.push(`write_ids = SUBSTRING_INDEX(CONCAT(${bytes(writeId)}, ',', write_ids), ',', ${WRITE_IDS_KEPT})`)
  if (lifetime !== undefined)
    all.push(`idle_ms = ${idle}`, `touch_every_ms = ${wholeMs(lifetime.touchEveryMs)}`, `absolute_at = ${absolute}`)
  if (set.size > 0 || add.size > 0) all.push(`fields = ${merged(set, add)}`)
  return all
}

function conditions({ patch, set, add }: PatchPlan): string[] {
  const all = [LIVE, `FIND_IN_SET(${bytes(patch.writeId)}, write_ids) = 0`]
  if (patch.ifVersion !== undefined) all.push(`version = ${wholeMs(patch.ifVersion)}`)
  // What does not parse stays as it is, and so does what would not fit: a function's result beyond the limit is NULL.
  if (set.size > 0 || add.size > 0)
    all.push(`fields LIKE '{%'`, 'JSON_VALID(fields)', `LENGTH(fields) + ${addedBytes(set, add)} <= @@max_allowed_packet`)
  for (const field of add.keys())
    all.push(`(${typeOf(field)} = 'BOOLEAN' OR ${textOf(field)} REGEXP '${NUMBER}' AND ${textOf(field)} NOT REGEXP '[^-+.0-9eE]')`)
  return all
}

/** A merge patch (RFC 7396) of an object without objects and nulls sets exactly what it names. */
function merged(set: PatchPlan['set'], add: PatchPlan['add']): string {
  const target = set.size === 0 ? 'fields' : `JSON_MERGE_PATCH(fields, ${characters(packFields(set))})`
  if (add.size === 0) return target
  const sums: string[] = []
  for (const [field, { by, from }] of add) {
    const base = `CASE ${typeOf(field)} WHEN 'BOOLEAN' THEN ${double(from)} ELSE ${textOf(field)} + 0e0 END`
    sums.push(`${path(field)}, ${base} + ${double(by)}`)
  }
  return `JSON_SET(${target}, ${sums.join(', ')})`
}

/** At most what the merge adds, with room for what MySQL writes between members. */
export function addedBytes(set: PatchPlan['set'], add: PatchPlan['add']): number {
  let size = 1_024 + (set.size === 0 ? 0 : Buffer.byteLength(packFields(set)))
  for (const field of add.keys()) size += packName(field).length + 40
  return size
}

/** Absent counts as removed. */
function typeOf(field: string): string {
  return `COALESCE(JSON_TYPE(JSON_EXTRACT(fields, ${path(field)})), 'BOOLEAN')`
}

function textOf(field: string): string {
  return `JSON_UNQUOTE(JSON_EXTRACT(fields, ${path(field)}))`
}

/** A literal with a point alone is a DECIMAL, and sums otherwise. */
function double(value: number): string {
  const text = String(value)
  const literal = text.includes('e') ? text : `${text}e0`
  return value < 0 ? `(${literal})` : literal
}
