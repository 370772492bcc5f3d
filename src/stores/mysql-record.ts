/** How a session looks in MySQL: columns of metadata, and one JSON object of encoded values, false for a removed field. */
import type { RecordMeta, StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'

/** What a read selects, in this order. The fields as bytes: a connection's character set must not touch them. */
export const READ_COLUMNS =
  'gone, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, is_persistent, version, write_ids, CAST(fields AS BINARY) AS fields'
export const SUMMARY_COLUMNS = 'session_key, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, is_persistent'

/** Every value as UTF-8 text. */
export type Row = readonly (string | null)[]

const ESCAPE = '\x1d'
/** JSON in MySQL refuses half a surrogate pair: it comes back as it was. */
const UNSTORABLE = new RegExp(`${ESCAPE}|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]`, 'g')
const ESCAPED = new RegExp(`${ESCAPE}([0-9a-f]{4})`, 'g')
/** Names that are safe in a JSON path as they are; others are encoded, behind a sign that these do not begin with. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*$/
const ENCODED = '='

export function packText(text: string): string {
  if (!text.includes(ESCAPE) && text.isWellFormed()) return text
  return text.replace(UNSTORABLE, (unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(4, '0'))
}

export function unpackText(packed: string): string {
  if (!packed.includes(ESCAPE)) return packed
  return packed.replace(ESCAPED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}

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

export function wholeMs(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms)), Number.MAX_SAFE_INTEGER)
}

/** Undefined: does not parse. */
export function unpackRecord(row: Row): StoredRecord | GoneMark | undefined {
  const gone = row[0]
  if (gone === 'destroyed' || gone === 'replaced') return { gone, endedAt: Number(row[1]) }
  if (gone !== null) return undefined
  const version = Number(row[8])
  const decoded = unpackFields(row[10] ?? '')
  if (decoded === undefined || !(version > 0)) return undefined
  const { fields, removed } = decoded
  const record = { meta: unpackMeta(row), fields, version, writeIds: (row[9] ?? '').split(',') }
  return removed === undefined ? record : { ...record, removed }
}

/** Of a row of either list of columns. */
export function unpackMeta(row: Row): RecordMeta {
  const [, lastActiveAt, userId, createdAt, idleMs, touchEveryMs, absoluteAt, isPersistent] = row
  return {
    userId: userId === null || userId === undefined ? undefined : unpackText(userId),
    createdAt: Number(createdAt),
    lastActiveAt: Number(lastActiveAt),
    idleMs: Number(idleMs),
    touchEveryMs: Number(touchEveryMs),
    absoluteAt: Number(absoluteAt),
    persistent: isPersistent === '1',
  }
}

function unpackFields(text: string): { fields: Map<string, string>; removed: Set<string> | undefined } | undefined {
  const parsed = parse(text)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const fields = new Map<string, string>()
  let removed: Set<string> | undefined
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value === 'string') fields.set(unpackName(name), unpackText(value))
    // A counter that MySQL has summed: its own text of a number is not JavaScript's.
    else if (typeof value === 'number') fields.set(unpackName(name), String(value))
    else if (value === false) (removed ??= new Set()).add(unpackName(name))
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
