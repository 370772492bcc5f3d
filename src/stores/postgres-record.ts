/** How a session looks in PostgreSQL: columns of metadata, and one jsonb object of encoded values, null for a removed field. */
import type { Draft, RecordMeta, StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'

/** What a read selects, in this order; values arrive as PostgreSQL's text. */
export const READ_COLUMNS =
  'gone, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, persistent, version, array_to_json(write_ids)::text, fields::text'
export const SUMMARY_COLUMNS = 'key, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, persistent'

export type Row = readonly (string | null)[]

const ESCAPE = '\x1d'
/** PostgreSQL's text cannot hold NUL, and half a surrogate pair is no UTF-8: both come back as they were. */
// oxlint-disable-next-line no-control-regex -- it is about them
const UNSTORABLE = /[\0\x1d]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g
// oxlint-disable-next-line no-control-regex -- the escape is one
const ESCAPED = /\x1d([0-9a-f]{4})/g

export function packText(text: string): string {
  if (!text.includes('\0') && !text.includes(ESCAPE) && text.isWellFormed()) return text
  return text.replace(UNSTORABLE, (unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(4, '0'))
}

export function unpackText(packed: string): string {
  if (!packed.includes(ESCAPE)) return packed
  return packed.replace(ESCAPED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}

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

export function wholeMs(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms)), Number.MAX_SAFE_INTEGER)
}

/** In the order of `DRAFT_COLUMNS`. */
export function packDraft(key: string, { meta, fields }: Draft, writeId: string): (string | number | boolean | null)[] {
  const { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent } = meta
  const times = [createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt].map(wholeMs)
  return [key, packUser(userId), ...times, persistent, writeId, packFields(fields)]
}

/** Undefined: does not parse. */
export function unpackRecord(row: Row): StoredRecord | GoneMark | undefined {
  const gone = row[0]
  if (gone === 'destroyed' || gone === 'replaced') return { gone, endedAt: Number(row[1]) }
  if (gone !== null) return undefined
  const writeIds = parse(row[9] as string)
  const decoded = unpackFields(row[10] as string)
  if (decoded === undefined || !Array.isArray(writeIds)) return undefined
  const { fields, removed } = decoded
  const record = { meta: unpackMeta(row), fields, version: Number(row[8]), writeIds: writeIds.map(String) }
  return removed === undefined ? record : { ...record, removed }
}

export function unpackMeta(row: Row): RecordMeta {
  const [, lastActiveAt, userId, createdAt, idleMs, touchEveryMs, absoluteAt, persistent] = row
  return {
    userId: userId === null || userId === undefined ? undefined : unpackText(userId),
    createdAt: Number(createdAt),
    lastActiveAt: Number(lastActiveAt),
    idleMs: Number(idleMs),
    touchEveryMs: Number(touchEveryMs),
    absoluteAt: Number(absoluteAt),
    persistent: persistent === 't',
  }
}

function unpackFields(text: string): { fields: Map<string, string>; removed: Set<string> | undefined } | undefined {
  const parsed = parse(text)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const fields = new Map<string, string>()
  let removed: Set<string> | undefined
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value === 'string') fields.set(unpackText(name), unpackText(value))
    else if (value === null) (removed ??= new Set()).add(unpackText(name))
    else return undefined
  }
  return { fields, removed }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
