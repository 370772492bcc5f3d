import { readGuardKey } from './cookie-end-keys.ts'
import type { RequiredNote } from './cookie-revocations.ts'

/** Two guarded writes further apart know of each other: the later one was made on top of the earlier. */
const CROSSING_MS = 10_000
const NONE: readonly RequiredNote[] = []

interface Known extends RequiredNote {
  /** As it stands in the shared table. */
  readonly key: string
}

/** Which notes each session's jar must hold, by the keys of the shared table. */
export class GuardedNotes {
  readonly #notes = new Map<string, Known[]>()

  of(session: string): readonly RequiredNote[] {
    return this.#notes.get(session) ?? NONE
  }

  /** Returns the keys of those that need not be remembered any more. `at`: Unix ms. */
  add(key: string, at: number): string[] {
    const { counter, name, session } = readGuardKey(key)
    const known = this.#notes.get(session) ?? []
    const old = known.filter((note) => note.counter < counter && note.at < at - CROSSING_MS)
    this.#notes.set(session, [...known.filter((note) => !old.includes(note)), { key, name, counter, at }])
    return old.map((note) => note.key)
  }

  drop(key: string): void {
    const { session } = readGuardKey(key)
    const left = (this.#notes.get(session) ?? []).filter((note) => note.key !== key)
    if (left.length === 0) this.#notes.delete(session)
    else this.#notes.set(session, left)
  }
}
