/**
 * Notes as cookies. What one cookie does not hold goes into several, each sealed under its own name: `NAME`, `NAME-1`, …
 * Every chunk tells how many there are and a digest of the whole, so that chunks of two contents never make a third.
 */
import { createHash } from 'node:crypto'
import type { JournalNote } from '../core/journal.ts'
import { decodeNote, encodeNote } from '../core/journal-codec.ts'
import { SEAL_BYTES, type Sealer } from '../core/seal.ts'
import type { Note } from '../seam.ts'
import { COOKIE_BYTES } from './cookie-budget.ts'
import type { OpenedNote } from './cookie-cache.ts'

/** The first byte of a chunk: kind and version. */
const CHUNK_1 = 0x31
const DIGEST_BYTES = 12
const HEAD_BYTES = 3 + DIGEST_BYTES
/** No header holds more. */
const CHUNKS_MAX = 5
const NAME_CHARS = 8
const NAME = /^[\w-]{8}$/
const CHUNK_NAME = /^[\w-]{8}-[1-4]$/
const TEXT_SEPARATOR = '.'

/** Encoded and measured, not yet sealed: a plan that does not fit costs no encryption. */
export interface PreparedNote {
  readonly note: JournalNote
  readonly plains: readonly Buffer[]
  /** Of all its cookies in a `Cookie` header. */
  readonly bytes: number
}

export interface SealedNote {
  readonly cookies: readonly Note[]
  readonly opened: OpenedNote
}

export interface PresentedNotes {
  readonly notes: readonly JournalNote[]
  /** Those that were not known before. */
  readonly fresh: readonly OpenedNote[]
  /** Cookies under names of ours that are nothing of this session. */
  readonly junk: readonly string[]
  /** Notes of which chunks are missing or do not belong together. */
  readonly broken: readonly string[]
}

type Known = (note: Note) => JournalNote | undefined

export class CookieNotes {
  readonly #sealer: Sealer
  readonly #cookieName: string
  readonly #compress: boolean
  /** Plain bytes that one cookie holds. */
  readonly #room: number

  constructor(sealer: Sealer, cookieName: string, compress: boolean) {
    this.#sealer = sealer
    this.#cookieName = cookieName
    this.#compress = compress
    const chars = COOKIE_BYTES - this.cookieBytes(NAME_CHARS + 2, 0)
    this.#room = Math.floor((chars * 3) / 4) - SEAL_BYTES
  }

  /** Bytes of one cookie in a `Cookie` header, separator included. */
  cookieBytes(nameChars: number, valueChars: number): number {
    return this.#cookieName.length + 1 + nameChars + 1 + valueChars + 2
  }

  /** Undefined: more than any header holds. */
  prepare(note: JournalNote): PreparedNote | undefined {
    const compress = this.#compress
    const plain = encodeNote(note, { compress })
    if (plain.length <= this.#room) return { note, plains: [plain], bytes: this.#sealedBytes(NAME_CHARS, plain) }
    const plains = this.#chunksOf(note.kind === 'base' ? encodeNote(note, { compress, ordered: true }) : plain)
    if (plains.length > CHUNKS_MAX) return undefined
    const bytes = plains.reduce((sum, chunk, index) => sum + this.#sealedBytes(index === 0 ? NAME_CHARS : NAME_CHARS + 2, chunk), 0)
    return { note, plains, bytes }
  }

  seal(sessionId: string, { note, plains }: PreparedNote): SealedNote {
    const cookies = plains.map((plain, index) => {
      const name = chunkName(note.name, index)
      return { name, value: this.#sealer.seal(name, sessionId, plain) }
    })
    return { cookies, opened: { value: textOf(cookies), note } }
  }

  /** Never throws. Keys and versions that this server does not know are left alone, and names that are none of ours. */
  open(sessionId: string, presented: readonly Note[], known: Known): PresentedNotes {
    const found: Found = { notes: [], fresh: [], junk: [], broken: [] }
    const chunks = new Map<string, Note[]>()
    for (const cookie of presented) {
      if (!CHUNK_NAME.test(cookie.name)) continue
      const of = cookie.name.slice(0, NAME_CHARS)
      chunks.set(of, [...(chunks.get(of) ?? []), cookie])
    }
    for (const cookie of presented) {
      const more = chunks.get(cookie.name)
      if (more !== undefined) {
        chunks.delete(cookie.name)
        this.#openChunks(sessionId, [cookie, ...more.sort((a, b) => (a.name < b.name ? -1 : 1))], known, found)
      } else if (NAME.test(cookie.name)) this.#openChunks(sessionId, [cookie], known, found)
    }
    for (const alone of chunks.values()) this.#openChunks(sessionId, alone, known, found)
    return found
  }

  #openChunks(sessionId: string, cookies: readonly Note[], known: Known, found: Found): void {
    const name = (cookies[0] as Note).name.slice(0, NAME_CHARS)
    const text = textOf(cookies)
    const before = known({ name, value: text })
    if (before !== undefined) return void found.notes.push(before)
    const chunks: Buffer[] = []
    for (const cookie of cookies) {
      const plain = this.#sealer.open(cookie.name, sessionId, cookie.value)
      if (plain === 'unknown') continue
      if (plain === undefined) {
        found.junk.push(cookie.name)
        continue
      }
      if (cookie.name === name && plain[0] !== CHUNK_1) {
        // A whole note: what lies beside it are chunks of another answer's copy.
        found.junk.push(...cookies.slice(1).map((other) => other.name))
        return addNote(found, name, cookie.value, plain)
      }
      chunks.push(plain)
    }
    if (chunks.length === 0) return
    const whole = joined(chunks)
    if (whole === undefined) found.broken.push(name)
    else addNote(found, name, text, whole)
  }

  #sealedBytes(nameChars: number, plain: Buffer): number {
    return this.cookieBytes(nameChars, Math.ceil(((plain.length + SEAL_BYTES) * 4) / 3))
  }

  #chunksOf(plain: Buffer): Buffer[] {
    const digest = digestOf(plain)
    const room = this.#room - HEAD_BYTES
    const count = Math.ceil(plain.length / room)
    return Array.from({ length: count }, (_, index) =>
      Buffer.concat([Uint8Array.of(CHUNK_1, index, count), digest, plain.subarray(index * room, (index + 1) * room)]),
    )
  }
}

interface Found {
  readonly notes: JournalNote[]
  readonly fresh: OpenedNote[]
  readonly junk: string[]
  readonly broken: string[]
}

function addNote(found: Found, name: string, value: string, plain: Buffer): void {
  const note = decodeNote(name, plain)
  // Sealed by us in a layout of another version: left alone.
  if (note === undefined) return
  found.notes.push(note)
  found.fresh.push({ value, note })
}

/** Undefined: chunks are missing, out of place or of different notes. */
function joined(chunks: readonly Buffer[]): Buffer | undefined {
  const head = chunks[0] as Buffer
  for (const [index, chunk] of chunks.entries()) {
    if (chunk.length < HEAD_BYTES || chunk[0] !== CHUNK_1 || chunk[1] !== index || chunk[2] !== chunks.length) return undefined
    if (!chunk.subarray(3, HEAD_BYTES).equals(head.subarray(3, HEAD_BYTES))) return undefined
  }
  const whole = Buffer.concat(chunks.map((chunk) => chunk.subarray(HEAD_BYTES)))
  return digestOf(whole).equals(head.subarray(3, HEAD_BYTES)) ? whole : undefined
}

function digestOf(plain: Buffer): Buffer {
  return createHash('sha256').update(plain).digest().subarray(0, DIGEST_BYTES)
}

function textOf(cookies: readonly Note[]): string {
  return cookies.length === 1 ? (cookies[0] as Note).value : cookies.map((cookie) => cookie.value).join(TEXT_SEPARATOR)
}

function chunkName(name: string, index: number): string {
  return index === 0 ? name : `${name}-${index}`
}

/** Names of chunks are longer. */
function anyChunks(held: ReadonlyMap<string, unknown>): boolean {
  for (const name of held.keys()) if (name.length > NAME_CHARS) return true
  return false
}

/** The cookies of a note, among those that the browser holds. */
export function cookieNamesOf(name: string, held: ReadonlyMap<string, unknown>): string[] {
  const names = held.has(name) ? [name] : []
  if (!anyChunks(held)) return names
  for (let index = 1; index < CHUNKS_MAX; index++) {
    const chunk = chunkName(name, index)
    if (held.has(chunk)) names.push(chunk)
  }
  return names
}
