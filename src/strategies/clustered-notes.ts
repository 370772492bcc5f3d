/** What `replication` and `affinity` put into notes, and read from them: floors and hints. */
import { createHash } from 'node:crypto'
import type { Entry } from '../cluster/entries.ts'
import { decodeFloorNote, encodeFloorNote, type FloorNote, joinFloorNotes, NO_NOTE } from '../cluster/floor-note.ts'
import { type ClusterRecord, endOf } from '../cluster/record.ts'
import type { Table } from '../cluster/table.ts'
import { newNoteName, peekNote, verifyNote, writeNote } from '../core/note.ts'
import { type RouteFormat, slotOf } from '../core/slot-order.ts'
import type { JarDelta, Note, Opened, SessionId, StrategyContext, Written } from '../seam.ts'

/** One request's hold on a session of the table. */
export class ClusterOpened implements Opened {
  readonly record: ClusterRecord
  readonly id: SessionId
  /** As the browser holds them after the last answer. */
  readonly notes: readonly Note[]
  /** What they say, joined. */
  readonly known: FloorNote
  /** The record does not cover what the notes name: they have to be replaced. */
  readonly isRegressed: boolean

  constructor(record: ClusterRecord, id: SessionId, notes: readonly Note[], known: FloorNote, isRegressed: boolean) {
    this.record = record
    this.id = id
    this.notes = notes
    this.known = known
    this.isRegressed = isRegressed
  }
}

export interface ClusteredNotes {
  /** What the notes say, joined; those that `accept` refuses are left out. */
  readAll(notes: readonly Note[], entry: Entry | undefined, accept: (note: Note) => boolean): FloorNote
  /** Notes this answer replaces: ours, and forgeries; those of others or of unknown keys stay. */
  replaced(opened: ClusterOpened, entry: Entry | undefined): string[]
  /** What a write answers. */
  written(entry: Entry, id: SessionId, before: ClusterOpened | undefined): Written
  /** One note instead of those that the request came with. */
  renewed(opened: ClusterOpened, entry: Entry | undefined): JarDelta
}

export interface NoteOptions {
  readonly name: string
  /** Of the cluster: its notes mean nothing elsewhere. */
  readonly cluster: string | undefined
  /** The browser is told who has the session. */
  readonly routes: boolean
  /** The route cookie's value. Default: the labels of the hint. */
  readonly route: RouteFormat | undefined
}

const NOTE_MAX = 64

export function clusteredNotes(options: NoteOptions, { keys, runtime }: StrategyContext, table: Table): ClusteredNotes {
  const tag = domainTag(options)

  function read(note: Note, entry: Entry | undefined): FloorNote | undefined {
    const known = entry?.note
    if (known !== undefined && known.value === note.value && known.name === note.name) return known.content
    const payload = peekNote(note)
    const content = payload === undefined ? undefined : decodeFloorNote(tag, payload)
    if (content !== undefined && entry !== undefined) entry.note = { name: note.name, value: note.value, content }
    return content
  }

  function isOurs(note: Note, entry: Entry | undefined, rootId: string): boolean {
    if (read(note, entry) !== undefined) return true
    return peekNote(note) === undefined && verifyNote(keys, rootId, note) === 'forged'
  }

  function replaced({ id, notes }: ClusterOpened, entry: Entry | undefined): string[] {
    const names: string[] = []
    for (const note of notes) if (isOurs(note, entry, id.id)) names.push(note.name)
    return names
  }

  function noteOf(id: SessionId, content: FloorNote): Note {
    return writeNote(keys, id.id, newNoteName(runtime), encodeFloorNote(tag, content))
  }

  /** The engine leaves the route out where the browser holds it already. */
  function jarDelta(note: Note, hint: readonly string[], key: string, names: readonly string[]): JarDelta {
    const delta = { set: [note], delete: names }
    if (!options.routes || hint.length === 0) return delta
    const route = options.route === undefined ? hint.join('.') : options.route({ nodes: table.nodes(hint), slot: slotOf(key) })
    return route === undefined ? delta : { ...delta, route }
  }

  return {
    readAll(notes, entry, accept) {
      let joined: FloorNote | undefined
      for (const note of notes.length > NOTE_MAX ? notes.slice(0, NOTE_MAX) : notes) {
        const content = read(note, entry)
        if (content === undefined || !accept(note)) continue
        joined = joined === undefined ? content : joinFloorNotes(joined, content)
      }
      return joined ?? NO_NOTE
    },
    replaced,
    written(entry, id, before) {
      const { record } = entry
      // First, while the entry still knows the note that the request came with.
      const names = before === undefined ? [] : replaced(before, entry)
      const content = { floor: record.heads, idleEndAt: endOf(record), hint: table.hint(entry) }
      const note = noteOf(id, content)
      entry.note = { ...note, content }
      return { opened: new ClusterOpened(record, id, [note], content, false), jar: jarDelta(note, content.hint, id.key, names) }
    },
    renewed(opened, entry) {
      const { id, known, record } = opened
      // The heads this request was served from dominate every note it came with.
      const content = { floor: record.heads, idleEndAt: endOf(record), hint: entry === undefined ? known.hint : table.hint(entry) }
      return jarDelta(noteOf(id, content), content.hint, record.key, replaced(opened, entry))
    },
  }
}

/** Notes of another strategy or cluster name dots that mean nothing here. */
function domainTag({ cluster = '', name }: NoteOptions): Buffer {
  return createHash('sha256').update(`${name}|${cluster}`).digest().subarray(0, 2)
}
