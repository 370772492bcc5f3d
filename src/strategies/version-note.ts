/**
 * The freshness floor of the dedicated strategy. One store orders all writes of a session, so a floor is a version and the id
 * of the write that made it; the id tells a store that fell back to an older copy and counted on.
 * Payload: domain tag (2 bytes), flags (1: a user is bound), idle end (u32, Unix seconds), version, write id.
 */
import { createHash } from 'node:crypto'
import { ByteReader, ByteWriter } from '../core/bytes.ts'
import { expiresAt } from '../core/stored-record.ts'
import type { StoredRecord } from '../seam.ts'

export interface VersionNote {
  readonly version: number
  /** Empty: the store keeps no write ids. */
  readonly writeId: string
  /** Unix ms, whole seconds, rounded up: when the session ends if no request comes. Tells an expired session from a lost one. */
  readonly idleEndAt: number
  readonly hasUser: boolean
}

const TAG_BYTES = 2
const HAS_USER = 1
const WRITE_ID_MAX = 64
const LATEST_SECOND = 0xffff_ffff

/** Notes of another strategy or store name versions that mean nothing here. */
export function versionTag(store: string): Buffer {
  return createHash('sha256').update(`dedicated|${store}`).digest().subarray(0, TAG_BYTES)
}

export function versionNoteOf({ meta, version, writeIds }: StoredRecord): VersionNote {
  const idleEndAt = Math.min(LATEST_SECOND, Math.ceil(expiresAt(meta) / 1000)) * 1000
  return { version, writeId: writeIds[0] ?? '', idleEndAt, hasUser: meta.userId !== undefined }
}

export function encodeVersionNote(tag: Buffer, { version, writeId, idleEndAt, hasUser }: VersionNote): Buffer {
  return new ByteWriter(32)
    .raw(tag)
    .u8(hasUser ? HAS_USER : 0)
    .u32(idleEndAt / 1000)
    .varint(version)
    .string(writeId)
    .finish()
}

/** Undefined: of another strategy or store, or not such a payload. Never throws. */
export function decodeVersionNote(tag: Buffer, payload: Uint8Array): VersionNote | undefined {
  try {
    const reader = new ByteReader(payload)
    if (!reader.raw(TAG_BYTES).equals(tag)) return undefined
    const flags = reader.u8()
    const idleEndAt = reader.u32() * 1000
    const version = reader.varint()
    const writeId = reader.string(WRITE_ID_MAX)
    reader.end()
    return { version, writeId, idleEndAt, hasUser: (flags & HAS_USER) !== 0 }
  } catch {
    return undefined
  }
}

/**
 * Whether the record holds the write that the note names. A version below the record's oldest known write is taken on trust:
 * a store that fell back and counted on by more than the kept write ids is not told from one that did not.
 */
export function holdsVersion({ version, writeIds }: StoredRecord, note: VersionNote): boolean {
  const age = version - note.version
  if (age < 0) return false
  const made = writeIds[age]
  return made === undefined || note.writeId === '' || made === note.writeId
}
