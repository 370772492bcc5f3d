import { newNoteName, peekNote, verifyNote, writeNote } from '../core/note.ts'
import type { Keys, Note, Runtime, StoredRecord } from '../seam.ts'
import { decodeVersionNote, encodeVersionNote, holdsVersion, type VersionNote, versionNoteOf, versionTag } from './version-note.ts'

/** A note with what it says, so that the same note is not decoded again. */
export interface ReadNote extends Note {
  readonly content: VersionNote
}

/** What all notes of a jar say. */
export interface Floor {
  readonly notes: readonly VersionNote[]
  /** The highest; 0: the jar names none. */
  readonly version: number
  readonly idleEndAt: number
  readonly hasUser: boolean
}

export const NO_FLOOR: Floor = { notes: [], version: 0, idleEndAt: 0, hasUser: false }

const MOST_NOTES = 64

export interface DedicatedNotes {
  /** MACs unchecked: good enough where the record holds what they say, as a lie then changes nothing. */
  peek(notes: readonly Note[], known: ReadNote | undefined): Floor
  verified(notes: readonly Note[], rootId: string): Floor
  write(stored: StoredRecord, rootId: string): ReadNote
  /** Names that an answer replaces: ours, and forgeries; those of others or of unknown keys stay. */
  replaced(notes: readonly Note[], rootId: string): string[]
}

export function dedicatedNotes(store: string, keys: Keys, runtime: Runtime): DedicatedNotes {
  const tag = versionTag(store)

  function read(note: Note): VersionNote | undefined {
    const payload = peekNote(note)
    return payload === undefined ? undefined : decodeVersionNote(tag, payload)
  }

  return {
    peek(notes, known): Floor {
      const [first] = notes
      if (first === undefined) return NO_FLOOR
      if (notes.length === 1 && known !== undefined && known.value === first.value && known.name === first.name)
        return floorOf([known.content])
      return floorOf(notes.slice(-MOST_NOTES).map(read).filter(isNote))
    },
    verified(notes, rootId): Floor {
      const ours = notes.slice(-MOST_NOTES).filter((note) => verifyNote(keys, rootId, note) === 'valid')
      return floorOf(ours.map(read).filter(isNote))
    },
    write(stored, rootId): ReadNote {
      const content = versionNoteOf(stored)
      return { ...writeNote(keys, rootId, newNoteName(runtime), encodeVersionNote(tag, content)), content }
    },
    replaced(notes, rootId): string[] {
      const isReplaced = (note: Note): boolean =>
        peekNote(note) === undefined ? verifyNote(keys, rootId, note) === 'forged' : read(note) !== undefined
      return notes.filter(isReplaced).map(({ name }) => name)
    },
  }
}

function isNote(content: VersionNote | undefined): content is VersionNote {
  return content !== undefined
}

function floorOf(notes: readonly VersionNote[]): Floor {
  if (notes.length === 0) return NO_FLOOR
  // The end as the newest write left it: it may have been brought forward.
  const newest = notes.reduce((best, note) => {
    if (note.version !== best.version) return note.version > best.version ? note : best
    return note.idleEndAt > best.idleEndAt ? note : best
  })
  return { notes, version: newest.version, idleEndAt: newest.idleEndAt, hasUser: newest.hasUser }
}

/** Whether the record holds every write that the jar names. */
export function coversFloor(stored: StoredRecord, floor: Floor): boolean {
  for (const note of floor.notes) if (!holdsVersion(stored, note)) return false
  return true
}
