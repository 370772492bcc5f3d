/**
 * The shared table knows only keys that have ended. Whatever else has to be known everywhere is a key of its own: six bytes that
 * no session's key begins with but once in 2^45, then what it says.
 */
import { createHash } from 'node:crypto'

/** A log-out everywhere: 18 bytes of the user's hash, 8 of the event. */
export const EVENT = 'AAAAAAAB'
/** A note that a jar must hold: 15 bytes of the session's key, 6 of the note's name, 5 of its counter. */
export const GUARD = 'AAAAAAAC'
/** What is left of ended sessions in a full table: bucket and tag, 4 bytes each. */
export const COARSE_SESSION = 'AAAAAAAD'
/** What is left of log-outs everywhere in a full table: bucket and counter, 4 bytes each. */
export const COARSE_USER = 'AAAAAAAE'
/** A session that has ended if it is this user's: 26 bytes of a hash of both. */
export const OWNED = 'AAAAAAAF'
/** A session that a log-out everywhere spares: 26 bytes of a hash of both. */
export const SPARED = 'AAAAAAAG'

const KINDS: ReadonlySet<string> = new Set([EVENT, GUARD, COARSE_SESSION, COARSE_USER, OWNED, SPARED])
export const KIND_CHARS = 8
const HASH_CHARS = 24
const SESSION_CHARS = 20
const NAME_CHARS = 8
const PADDING = Buffer.alloc(18)

/** Undefined: the key of a session. */
export function kindOf(key: string): string | undefined {
  const kind = key.slice(0, KIND_CHARS)
  return KINDS.has(kind) ? kind : undefined
}

/** 24 characters that stand for a user. */
export function userHash(userId: string): string {
  return hashed(`user|${userId}`, 18)
}

export function eventKey(user: string, event: string): string {
  return EVENT + user + event
}

export function readEventKey(key: string): { user: string; event: string } {
  return { user: key.slice(KIND_CHARS, KIND_CHARS + HASH_CHARS), event: key.slice(KIND_CHARS + HASH_CHARS) }
}

export function ownedKey(key: string, userId: string): string {
  return OWNED + hashed(`owned|${key}|${userId}`, 26)
}

export function sparedKey(key: string, event: string): string {
  return SPARED + hashed(`spared|${key}|${event}`, 26)
}

/** What of a session's key is in the keys of its guards. */
export function guardedSession(key: string): string {
  return key.slice(0, SESSION_CHARS)
}

export function guardKey(key: string, name: string, counter: number): string {
  const bytes = Buffer.alloc(5)
  bytes.writeUIntBE(Math.min(counter, 2 ** 40 - 1), 0, 5)
  return GUARD + guardedSession(key) + name + bytes.toString('base64url')
}

export function readGuardKey(key: string): { session: string; name: string; counter: number } {
  const nameAt = KIND_CHARS + SESSION_CHARS
  const counter = Buffer.from(key.slice(nameAt + NAME_CHARS), 'base64url').readUIntBE(0, 5)
  return { session: key.slice(KIND_CHARS, nameAt), name: key.slice(nameAt, nameAt + NAME_CHARS), counter }
}

/** `bucket` and `value` as unsigned numbers of 32 bits. */
export function coarseKey(kind: typeof COARSE_SESSION | typeof COARSE_USER, bucket: number, value: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32BE(bucket, 0)
  bytes.writeUInt32BE(value, 4)
  return kind + Buffer.concat([bytes, PADDING]).toString('base64url')
}

export function readCoarseKey(key: string): { bucket: number; value: number } {
  const bytes = Buffer.from(key.slice(KIND_CHARS), 'base64url')
  return { bucket: bytes.readUInt32BE(0), value: bytes.readUInt32BE(4) }
}

function hashed(text: string, bytes: number): string {
  return createHash('sha256').update(text).digest().toString('base64url', 0, bytes)
}
