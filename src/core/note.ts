/**
 * Plain signed notes: what moves per response (the freshness floor, the route hint). Layout before base64url:
 * version (1 byte), key id (u16), payload, MAC (16 bytes). The MAC binds the payload to its session and to its own name.
 */
import type { Keys, Note, Runtime } from '../seam.ts'
import { MAC_BYTES } from './keys.ts'

const VERSION = 1
const HEAD_BYTES = 3
const NAME_BYTES = 6
/** A plain note is small: anything longer was not made here. */
const MAX_NOTE_CHARS = 1024
const NAME = /^[\w-]{8}$/

/** A fresh name, never used again: 8 base64url characters. */
export function newNoteName(runtime: Runtime): string {
  return runtime.randomBytes(NAME_BYTES).toString('base64url')
}

export function isNoteName(name: string): boolean {
  return NAME.test(name)
}

/** A note under `name` for the session whose root holds `rootId`. */
export function writeNote(keys: Keys, rootId: string, name: string, payload: Uint8Array): Note {
  const note = Buffer.allocUnsafe(HEAD_BYTES + payload.length + MAC_BYTES)
  note[0] = VERSION
  note.writeUInt16BE(keys.newest, 1)
  note.set(payload, HEAD_BYTES)
  note.set(keys.mac('note', signedText(rootId, name, note.subarray(0, HEAD_BYTES + payload.length))), HEAD_BYTES + payload.length)
  return { name, value: note.toString('base64url') }
}

/** The payload, its MAC not checked: good enough where a lie changes nothing. Undefined: not a note of this format. */
export function peekNote(note: Note): Buffer | undefined {
  const raw = decodeNote(note)
  return raw?.subarray(HEAD_BYTES, raw.length - MAC_BYTES)
}

/** `forged` covers damaged ones; `unknown` is a version or key this server does not know: such a note is left alone. */
export function verifyNote(keys: Keys, rootId: string, note: Note): 'valid' | 'forged' | 'unknown' {
  if (note.value.length > MAX_NOTE_CHARS) return 'forged'
  const first = Buffer.from(note.value.slice(0, 4), 'base64url')
  if (first.length === HEAD_BYTES && (first[0] !== VERSION || !keys.ids.includes(first.readUInt16BE(1)))) return 'unknown'
  const raw = decodeNote(note)
  if (raw === undefined) return 'forged'
  const end = raw.length - MAC_BYTES
  const valid = keys.verify('note', signedText(rootId, note.name, raw.subarray(0, end)), raw.subarray(end), raw.readUInt16BE(1))
  return valid ? 'valid' : 'forged'
}

function decodeNote({ name, value }: Note): Buffer | undefined {
  if (value.length > MAX_NOTE_CHARS || !NAME.test(name)) return undefined
  const raw = Buffer.from(value, 'base64url')
  if (raw.length < HEAD_BYTES + MAC_BYTES || raw[0] !== VERSION) return undefined
  // One text per note: a second spelling of the same bytes is not a note.
  return raw.toString('base64url') === value ? raw : undefined
}

/** Ids and names are base64url, so that the bars keep them apart. */
function signedText(rootId: string, name: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${rootId}|${name}|`), body])
}
