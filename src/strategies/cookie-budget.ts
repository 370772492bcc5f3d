/** How much a browser keeps and a server accepts. */
import { fieldBytes } from '../core/refusals.ts'
import { SessionError } from '../errors.ts'
import type { RecordView } from '../seam.ts'

/** Name and value of one cookie: browsers keep 4,096 bytes (RFC 6265bis, section 5.7), some count attributes too. */
export const COOKIE_BYTES = 3_960
/** Below Node's 16 KB for all headers: a jar and what parallel answers may add to it must fit. */
export const HEADER_CEILING = 15_600
/** What a session of `maxHeaderBytes` needs to remember its folded notes. */
export const MEMORY_BYTES = 800
/** Small changes of parallel requests may lie on a large session until one of them folds it: this stays free below the ceiling. */
export const OVERDRAFT_MARGIN = 1_000
/** So far beyond `maxHeaderBytes` only answers to parallel requests add up: then one request in a few folds, the others come again. */
export const CROWDED_BYTES = 3_000
export const CROWDED_FOLDS: number = 1 / 4
export const SMALL_NOTE_BYTES = 400
/** From here on a note counts as large: a few of them, sent in parallel, fill a header. */
export const LARGE_NOTE_BYTES = 1_600
/** Chromium evicts the oldest of more than about 180 cookies of a site; the application has some, too. */
export const COOKIES_MAX = 90

const FIELDS_NAMED = 3

/** Names the largest fields, never their values: names are the application's own. */
export function tooLarge(
  record: Pick<RecordView, 'fields' | 'get'>,
  changed: Iterable<string>,
  limits: { maxHeaderBytes: number; otherBytes: number; overflow: boolean },
): SessionError {
  const written = new Set(changed)
  const sizes = [...record.fields()]
    .map((field) => [field, fieldBytes(field, record.get(field))] as const)
    .sort((a, b) => b[1] - a[1])
    .slice(0, FIELDS_NAMED)
    .map(([field, bytes]) => `${JSON.stringify(field)} ${bytes} bytes${written.has(field) ? ' (written now)' : ''}`)
  const others = limits.otherBytes > 1_000 ? ` Other cookies take ${limits.otherBytes} bytes of the header.` : ''
  const advice = limits.overflow ? 'Store less in small fields' : 'Store less, set overflow: a store for large fields'
  return new SessionError(
    'COOKIE_TOO_LARGE',
    `The session does not fit into cookies (${limits.maxHeaderBytes} bytes of header in all): nothing was stored. ` +
      `Largest fields, encoded: ${sizes.join(', ') || 'none'}.${others} ${advice}, or use dedicated({ store }).`,
  )
}

/** Nothing is lost and nobody locked out: the same request a moment later finds the others' answers in the jar. */
export function tooManyAtOnce(): SessionError {
  return new SessionError(
    'SESSION_UNAVAILABLE',
    'Too many large changes of one visitor at once: this one was not stored, or the cookies could outgrow what servers accept. Send it again.',
    { headers: { 'retry-after': '1' } },
  )
}
