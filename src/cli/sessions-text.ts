/** Sessions as text for people and as JSON for programs. */
import type { StoredRecord } from '../seam.ts'
import type { SessionSummary } from '../types.ts'

/** The narrowest terminal that a user still has room in. */
const KEY_COLUMNS = 43
const USER_COLUMNS_MIN = 4

const COLUMNS = [
  ['KEY', KEY_COLUMNS],
  ['CREATED', 7],
  ['IDLE', 5],
  ['EXPIRES', 7],
] as const

export const TABLE_HEAD: string = [...COLUMNS.map(([name, width]) => name.padEnd(width)), 'USER'].join('  ')

/** `columns`: of the terminal; Infinity where nobody looks, and nothing is shortened. */
export function tableRow(session: SessionSummary, now: number, columns: number): string {
  const times = [now - session.createdAt, now - session.lastActiveAt, session.expiresAt - now]
  const cells = [session.key, ...times.map(duration)]
  const start = cells.map((cell, index) => cell.padEnd(COLUMNS[index]?.[1] ?? 0)).join('  ')
  const user = session.userId === undefined ? '-' : printable(session.userId)
  return `${start}  ${shortened(user, Math.max(USER_COLUMNS_MIN, columns - start.length - 2))}`
}

function shortened(text: string, columns: number): string {
  const letters = [...text]
  return letters.length <= columns ? text : `${letters.slice(0, columns - 1).join('')}…`
}

export function summaryJson({ userId, ...summary }: SessionSummary): object {
  const { key, ...times } = summary
  return { key, userId: userId ?? null, ...times }
}

interface FieldShown {
  readonly name: string
  readonly bytes: number
  /** Absent without `--values`. Values that are not JSON: `encoded`, as they are stored. */
  readonly value?: unknown
  readonly encoded?: string
}

export function fieldsJson({ fields }: StoredRecord, values: boolean): FieldShown[] {
  return [...fields].map(([name, encoded]) => ({ name, bytes: bytesOf(name, encoded), ...(values && decoded(encoded)) }))
}

function decoded(encoded: string): { value: unknown } | { encoded: string } {
  try {
    return { value: JSON.parse(encoded) as unknown }
  } catch {
    return { encoded }
  }
}

export function bytesOf(name: string, encoded: string): number {
  return Buffer.byteLength(name) + Buffer.byteLength(encoded)
}

/** Several lines. */
export function recordText(session: SessionSummary, record: StoredRecord, values: boolean, now: number): string {
  const { createdAt, lastActiveAt, expiresAt, userId, persistent } = session
  const facts: [string, string][] = [
    ['key', session.key],
    ['user', userId === undefined ? '-' : printable(userId)],
    ['created', `${iso(createdAt)} (${duration(now - createdAt)} ago)`],
    ['last active', `${iso(lastActiveAt)} (${duration(now - lastActiveAt)} ago)`],
    ['expires', `${iso(expiresAt)} (in ${duration(expiresAt - now)})`],
    ['cookie', persistent ? 'persistent' : 'until the browser closes'],
    ['version', String(record.version)],
  ]
  const lines = facts.map(([name, value]) => `${name.padEnd(11)}  ${value}`)
  if (record.removed !== undefined && record.removed.size > 0) lines.push(`removed      ${[...record.removed].map(printable).join(', ')}`)
  if (record.fields.size === 0) return [...lines, 'no fields'].join('\n')
  lines.push('', `  BYTES  FIELD${values ? ' = VALUE AS STORED' : ''}`)
  for (const [name, encoded] of record.fields) {
    lines.push(`${String(bytesOf(name, encoded)).padStart(7)}  ${printable(name)}${values ? ` = ${printable(encoded)}` : ''}`)
  }
  return lines.join('\n')
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
] as const

/** Whole units, at least two of the next smaller: `90m`, `30h`, `12d`. */
function duration(ms: number): string {
  for (const [unit, size] of UNITS) if (ms >= 2 * size) return `${Math.floor(ms / size)}${unit}`
  return `${Math.max(0, Math.round(ms / 1_000))}s`
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/** Names and user ids can be any text: what would move the cursor, colour or reorder a terminal's line is shown as its code. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (letter) => `\\u{${(letter.codePointAt(0) as number).toString(16)}}`)
}

/** JSON on one line that a terminal takes as text only. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value).replaceAll(/[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (letter) => {
    return `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
