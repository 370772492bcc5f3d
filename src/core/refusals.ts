/** Errors that more than one part raises, in the same words. */
import { type ErrorCode, SessionError } from '../errors.ts'
import type { RecordView } from '../seam.ts'

const USER_ID_BYTES = 256

export type Ended = Extract<ErrorCode, 'SESSION_GONE' | 'SESSION_REPLACED'>

export function endedError(code: Ended): SessionError {
  const what = code === 'SESSION_GONE' ? 'has ended' : 'has a new id'
  return new SessionError(code, `The session ${what} since this request was sent: nothing was stored. Send the request again.`)
}

/** Why a request may store nothing: its session ended a moment ago, or the store is down. */
export type Frozen = Ended | 'STORE_UNAVAILABLE'

export function frozenError(code: Frozen): SessionError {
  if (code !== 'STORE_UNAVAILABLE') return endedError(code)
  return new SessionError('STORE_UNAVAILABLE', 'The session store is down: this visitor is served as a stranger and nothing is stored.', {
    headers: { 'retry-after': '1' },
  })
}

export function isEnded(error: unknown): boolean {
  return SessionError.is(error) && (error.code === 'SESSION_GONE' || error.code === 'SESSION_REPLACED')
}

/** UTF-8 bytes of one field: name and encoded value. */
export function fieldBytes(name: string, value: string | undefined): number {
  return value === undefined ? 0 : Buffer.byteLength(name) + Buffer.byteLength(value)
}

/** The three largest fields with their sizes, for messages: names are the application's, values are never shown. */
export function largestFields(fields: ReadonlyMap<string, string>): string {
  return [...fields]
    .map(([name, value]) => ({ name, bytes: fieldBytes(name, value) }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 3)
    .map((field) => `${field.name} (${field.bytes} bytes)`)
    .join(', ')
}

export function checkUserId(userId: unknown): void {
  if (typeof userId === 'string' && userId !== '' && Buffer.byteLength(userId) <= USER_ID_BYTES) return
  throw new SessionError('FIELD_INVALID', `session.login(userId): give a text of 1 to ${USER_ID_BYTES} bytes.`)
}

/** Throws SESSION_TOO_LARGE when `set`, written over `record`, would pass the limit. */
export function checkSize(
  record: RecordView | undefined,
  set: ReadonlyMap<string, string | undefined>,
  limit: number,
  all: () => ReadonlyMap<string, string>,
): void {
  let bytes = record?.bytes ?? 0
  for (const [name, value] of set) bytes += fieldBytes(name, value) - fieldBytes(name, record?.get(name))
  if (bytes <= limit) return
  throw new SessionError(
    'SESSION_TOO_LARGE',
    `The session would hold ${bytes} bytes, limits.sessionBytes is ${limit}: nothing was stored. Largest: ${largestFields(all())}.`,
  )
}
