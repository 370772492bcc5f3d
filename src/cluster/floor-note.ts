import { ByteReader, ByteWriter } from '../core/bytes.ts'
import type { Heads } from '../core/floor.ts'
import { readDots, writeDots } from '../core/record-codec.ts'
import { LABEL_BYTES } from './members.ts'

/**
 * What a note of the cluster strategies says. Payload: domain tag (2 bytes), idle end (u32, Unix seconds), dots, then the
 * owner's label and the backups' (4 bytes each).
 */
export interface FloorNote {
  /** The dots the visitor has seen, none an ancestor of another. */
  readonly floor: Heads
  /** Unix ms: when the session ends if no request comes. Tells an expired session from a lost one. */
  readonly idleEndAt: number
  /** Labels, the owner's first. Empty: no hint. */
  readonly hint: readonly string[]
}

export const TAG_BYTES = 2
const MAX_FLOOR = 64
const MAX_HINT = 32

export function encodeFloorNote(tag: Buffer, note: FloorNote): Buffer {
  const writer = new ByteWriter(64).raw(tag).u32(Math.min(0xffff_ffff, Math.ceil(note.idleEndAt / 1000)))
  writeDots(writer, note.floor)
  writer.u8(note.hint.length)
  for (const label of note.hint) writer.raw(Buffer.from(label, 'hex'))
  return writer.finish()
}

/** Undefined: of another strategy or cluster, or not such a payload. Never throws. */
export function decodeFloorNote(tag: Buffer, payload: Uint8Array): FloorNote | undefined {
  try {
    const reader = new ByteReader(payload)
    if (!reader.raw(TAG_BYTES).equals(tag)) return undefined
    const idleEndAt = reader.u32() * 1000
    const floor = readDots(reader, MAX_FLOOR)
    const hint: string[] = []
    for (let left = Math.min(reader.u8(), MAX_HINT); left > 0; left--) hint.push(reader.raw(LABEL_BYTES).toString('hex'))
    reader.end()
    return { floor, idleEndAt, hint }
  } catch {
    return undefined
  }
}

export const NO_NOTE: FloorNote = { floor: [], idleEndAt: 0, hint: [] }

/** The union: per origin the highest counter, as an origin writes each time on top of all it had written. */
export function joinFloorNotes(a: FloorNote, b: FloorNote): FloorNote {
  const highest = new Map<string, number>()
  for (const { origin, counter } of [...a.floor, ...b.floor]) highest.set(origin, Math.max(highest.get(origin) ?? 0, counter))
  const floor = [...highest].map(([origin, counter]) => ({ origin, counter }))
  // The note with the later end was written later, as far as can be told: its hint is the better one.
  return { floor, idleEndAt: Math.max(a.idleEndAt, b.idleEndAt), hint: b.idleEndAt >= a.idleEndAt && b.hint.length > 0 ? b.hint : a.hint }
}
