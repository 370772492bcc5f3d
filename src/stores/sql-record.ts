/** What the SQL stores share: text that their databases can hold, and rows that come back from them. */
import type { RecordMeta } from '../seam.ts'

/** Every value as text. */
export type Row = readonly (string | null)[]

const ESCAPE = '\x1d'
/** PostgreSQL's text cannot hold NUL, and half a surrogate pair is no UTF-8 and refused by JSON: they come back as they were. */
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

/**
 * Of a row that begins: anything, last_active_at, user_id, created_at, idle_ms, touch_every_ms, absolute_at, persistent. `yes`: how the
 * database says true.
 */
export function unpackMeta(row: Row, yes: '1' | 't'): RecordMeta {
  const [, lastActiveAt, userId, createdAt, idleMs, touchEveryMs, absoluteAt, persistent] = row
  return {
    userId: userId === null || userId === undefined ? undefined : unpackText(userId),
    createdAt: Number(createdAt),
    lastActiveAt: Number(lastActiveAt),
    idleMs: Number(idleMs),
    touchEveryMs: Number(touchEveryMs),
    absoluteAt: Number(absoluteAt),
    persistent: persistent === yes,
  }
}

export interface FieldsForm {
  /** What stands for a removed field. */
  readonly removed: null | false
  /** Counters that the database has summed: its own text of a number is not JavaScript's. */
  readonly hasNumbers: boolean
  unpackName(packed: string): string
}

export interface Fields {
  readonly fields: Map<string, string>
  readonly removed: Set<string> | undefined
}

/** Of the text of a JSON object. Undefined: does not parse. */
export function unpackFields(text: string, form: FieldsForm): Fields | undefined {
  const parsed = parse(text)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const fields = new Map<string, string>()
  let removed: Set<string> | undefined
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value === 'string') fields.set(form.unpackName(name), unpackText(value))
    else if (typeof value === 'number' && form.hasNumbers) fields.set(form.unpackName(name), String(value))
    else if (value === form.removed) (removed ??= new Set()).add(form.unpackName(name))
    else return undefined
  }
  return { fields, removed }
}

/** Undefined: does not parse. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
