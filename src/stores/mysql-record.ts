/** How a session looks in MySQL: columns of metadata, and one JSON object of encoded values, false for a removed field. */
import type { StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'
import { packText, unpackFields, unpackMeta } from './sql-record.ts'
import type { FieldsForm, Row } from './sql-record.ts'

/** What a read selects, in this order. The fields as bytes: a connection's character set must not touch them. */
export const READ_COLUMNS =
  'gone, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, is_persistent, version, write_ids, CAST(fields AS BINARY) AS fields'
export const SUMMARY_COLUMNS = 'session_key, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, is_persistent'

/** How MySQL says that it is. */
export const TRUE = '1'
/** Names that are safe in a JSON path as they are; others are encoded, behind a sign that these do not begin with. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*$/
const ENCODED = '='

export function packName(name: string): string {
  return PLAIN_NAME.test(name) ? name : ENCODED + Buffer.from(name, 'utf16le').toString('base64url')
}

export function unpackName(packed: string): string {
  return packed.startsWith(ENCODED) ? Buffer.from(packed.slice(1), 'base64url').toString('utf16le') : packed
}

/** Text of a JSON object. No name is special, because no object is made of it. */
export function packFields(fields: ReadonlyMap<string, string | undefined>, removed?: Iterable<string>): string {
  const parts: string[] = []
  for (const [name, value] of fields) {
    parts.push(`"${packName(name)}":${value === undefined ? 'false' : JSON.stringify(packText(value))}`)
  }
  for (const name of removed ?? []) parts.push(`"${packName(name)}":false`)
  return `{${parts.join(',')}}`
}

/** A counter that MySQL has summed is a number. */
const FIELDS: FieldsForm = { removed: false, hasNumbers: true, unpackName }

/** Undefined: does not parse. */
export function unpackRecord(row: Row): StoredRecord | GoneMark | undefined {
  const gone = row[0]
  if (gone === 'destroyed' || gone === 'replaced') return { gone, endedAt: Number(row[1]) }
  if (gone !== null) return undefined
  const version = Number(row[8])
  const decoded = unpackFields(row[10] ?? '', FIELDS)
  if (decoded === undefined || !(version > 0)) return undefined
  const { fields, removed } = decoded
  const record = { meta: unpackMeta(row, TRUE), fields, version, writeIds: (row[9] ?? '').split(',') }
  return removed === undefined ? record : { ...record, removed }
}
