/** How much a browser keeps and a server accepts. */
import type { Cells } from '../core/merge.ts'
import { SessionError } from '../errors.ts'
import type { Note } from '../seam.ts'

/** Name and value of one cookie: browsers keep 4,096 bytes (RFC 6265bis, section 5.7), some count attributes too. */
export const COOKIE_BYTES = 3_960
/** Below Node's 16 KB for all headers: a jar and what parallel folds may add to it must fit. */
export const HEADER_CEILING = 15_000

const FIELDS_NAMED = 3

/** Bytes of one note in a `Cookie` header, separator included. */
export function noteBytes(cookieName: string, note: Note): number {
  return cookieName.length + 1 + note.name.length + 1 + note.value.length + 2
}

/** Names the largest fields, never their values: names are the application's own. */
export function tooLarge(cells: Cells, changed: Iterable<string>, limits: { maxHeaderBytes: number; otherBytes: number }): SessionError {
  const written = new Set(changed)
  const sizes = [...cells]
    .filter(([, cell]) => cell.value !== undefined)
    .map(([field, cell]) => [field, Buffer.byteLength(field) + Buffer.byteLength(cell.value as string)] as const)
    .sort((a, b) => b[1] - a[1])
    .slice(0, FIELDS_NAMED)
    .map(([field, bytes]) => `${JSON.stringify(field)} ${bytes} bytes${written.has(field) ? ' (written now)' : ''}`)
  const others = limits.otherBytes > 1_000 ? ` Other cookies take ${limits.otherBytes} bytes of the header.` : ''
  return new SessionError(
    'COOKIE_TOO_LARGE',
    `The session does not fit into cookies (${COOKIE_BYTES} bytes each, ${limits.maxHeaderBytes} in all): nothing was stored. ` +
      `Largest fields, encoded: ${sizes.join(', ') || 'none'}.${others} Store less, or use dedicated({ store }).`,
  )
}
