/**
 * Opened notes and jars, per session: in steady state a read is one lookup by id and a comparison of strings, no AES.
 * Entries belong to one session id, so that no visitor's note is ever taken for another's.
 */
import { LRUCache } from 'lru-cache'
import type { Journal, JournalNote } from '../core/journal.ts'
import type { Jar, Note, RecordView } from '../seam.ts'

const SESSIONS_MAX = 20_000
const BYTES_MAX = 64 * 1024 * 1024
/** Parallel requests present a few variants of one jar. */
const JARS_MAX = 3
const NOTES_MAX = 24
const ENTRY_BYTES = 1_024
/** An opened note holds its text, its content and maps around them. */
const BYTES_PER_CHAR = 6

/** A jar as opened: the same for every request that presents it. */
export interface OpenedJar {
  readonly notes: readonly Note[]
  /** Undefined: not causally closed. */
  readonly journal: Journal | undefined
  readonly record: RecordView | undefined
  /** Bytes of each in a `Cookie` header. */
  readonly sizes: ReadonlyMap<string, number>
  /** Presented under names of ours, and not notes of this session. */
  readonly junk: readonly string[]
  /** Cookies of writes that are lost: too late to be merged, or with chunks missing. */
  readonly stale: readonly string[]
  /** What its fields name in a store. */
  readonly references: readonly string[]
}

export interface OpenedNote {
  readonly value: string
  readonly note: JournalNote
}

interface Entry {
  jars: readonly OpenedJar[]
  /** The newest last. */
  readonly notes: Map<string, OpenedNote>
  chars: number
}

export class CookieCache {
  readonly #entries = new LRUCache<string, Entry>({ max: SESSIONS_MAX, maxSize: BYTES_MAX })

  get sessions(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#entries.calculatedSize
  }

  findJar(jar: Jar): OpenedJar | undefined {
    const jars = this.#entries.get(jar.id)?.jars
    if (jars === undefined) return undefined
    for (const opened of jars) if (sameNotes(opened.notes, jar.notes)) return opened
    return undefined
  }

  findNote(sessionId: string, { name, value }: Note): JournalNote | undefined {
    const known = this.#entries.get(sessionId)?.notes.get(name)
    return known !== undefined && known.value === value ? known.note : undefined
  }

  add(sessionId: string, notes: readonly OpenedNote[], jar?: OpenedJar): void {
    const entry = this.#entries.get(sessionId) ?? { jars: [], notes: new Map<string, OpenedNote>(), chars: 0 }
    for (const opened of notes) {
      drop(entry, opened.note.name)
      entry.notes.set(opened.note.name, opened)
      entry.chars += opened.value.length
    }
    // Many at once, and rarely: a map that loses its first entry with every write gets slow.
    if (entry.notes.size > NOTES_MAX) for (const name of [...entry.notes.keys()].slice(0, NOTES_MAX / 2)) drop(entry, name)
    if (jar !== undefined) entry.jars = [jar, ...entry.jars.slice(0, JARS_MAX - 1)]
    // A remembered jar shares most of its texts with the notes.
    const size = ENTRY_BYTES * (1 + entry.jars.length) + entry.chars * BYTES_PER_CHAR
    this.#entries.set(sessionId, entry, { size })
  }

  forget(sessionId: string): void {
    this.#entries.delete(sessionId)
  }

  clear(): void {
    this.#entries.clear()
  }
}

function drop(entry: Entry, name: string): void {
  entry.chars -= entry.notes.get(name)?.value.length ?? 0
  entry.notes.delete(name)
}

function sameNotes(a: readonly Note[], b: readonly Note[]): boolean {
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index++) {
    const left = a[index] as Note
    const right = b[index] as Note
    if (left.name !== right.name || left.value !== right.value) return false
  }
  return true
}
