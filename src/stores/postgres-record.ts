/** How a session looks in PostgreSQL: columns of metadata, and one jsonb object of encoded values, null for a removed field. */
import type { Draft, StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'
import { packText, parse, unpackFields, unpackMeta, unpackText } from './sql-record.ts'
import type { FieldsForm, Row } from './sql-record.ts'
import { wholeMs } from './store-clock.ts'

/** What a read selects, in this order; values arrive as PostgreSQL's text. */
export const READ_COLUMNS =
  'gone, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, persistent, version, array_to_json(write_ids)::text, fields::text'
export const SUMMARY_COLUMNS = 'key, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, persistent'

/** How PostgreSQL says that it is. */
export const TRUE = 't'

export function packUser(userId: string | undefined): string | null {
  return userId === undefined ? null : packText(userId)
}

/** Text of a JSON object. No name is special, because no object is made of it. */
export function packFields(fields: ReadonlyMap<string, string | undefined>): string {
  let json = ''
  for (const [name, value] of fields) {
    const packed = value === undefined ? 'null' : JSON.stringify(packText(value))
    json += `${json === '' ? '{' : ','}${JSON.stringify(packText(name))}:${packed}`
  }
  return json === '' ? '{}' : `${json}}`
}

/** In the order of `DRAFT_COLUMNS`. */
export function packDraft(key: string, { meta, fields }: Draft, writeId: string): (string | number | boolean | null)[] {
  const { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent } = meta
  const times = [createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt].map(wholeMs)
  return [key, packUser(userId), ...times, persistent, writeId, packFields(fields)]
}

const FIELDS: FieldsForm = { removed: null, hasNumbers: false, unpackName: unpackText }

/** Undefined: does not parse. */
export function unpackRecord(row: Row): StoredRecord | GoneMark | undefined {
  const gone = row[0]
  if (gone === 'destroyed' || gone === 'replaced') return { gone, endedAt: Number(row[1]) }
  if (gone !== null) return undefined
  const writeIds = parse(row[9] as string)
  const decoded = unpackFields(row[10] as string, FIELDS)
  if (decoded === undefined || !Array.isArray(writeIds)) return undefined
  const { fields, removed } = decoded
  const record = { meta: unpackMeta(row, TRUE), fields, version: Number(row[8]), writeIds: writeIds.map(String) }
  return removed === undefined ? record : { ...record, removed }
}
