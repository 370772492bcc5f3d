/** What travels over NATS: subjects, the four kinds of messages, and what letters and links hold once opened. */
import { createHash } from 'node:crypto'
import { ByteReader, ByteWriter } from '../core/bytes.ts'
import { SessionError } from '../errors.ts'
import type { Peer } from '../seam.ts'
import { MAX_INCARNATION_BYTES, MAX_NODE_BYTES } from './self.ts'

/** High half of every message's first byte. */
export const NATS_VERSION = 1
const VERSION_BITS: number = NATS_VERSION << 4

/** "I am here", to all or to one: sealed once with each of the sender's keys. Raises nobody by itself. */
export const PRESENCE: number = VERSION_BITS | 1
/** Opens a handshake: a letter to one server. */
export const CALL: number = VERSION_BITS | 2
/** Answers a call: proves that both live now. */
export const ANSWER: number = VERSION_BITS | 3
/** Everything on a link. */
export const LINK: number = VERSION_BITS | 4

export const NONCE_BYTES = 16
const MAX_KEYS = 16
const MAX_LETTER_BYTES = 1024
/** 128 bits of a hash: two names never share a subject. */
const HASH_CHARS = 32

export interface Subjects {
  /** Of all servers of the cluster. */
  readonly all: string
  /** Of one run of one server. */
  to(incarnation: string): string
  /** Where NATS says that nobody listens to a server: ends in the link's id. */
  unheard(incarnation: string, link: string): string
}

/** Names of outside reach subjects only as SHA-256. */
export function subjectsOf(cluster: string): Subjects {
  const prefix = `hf.${hashed(cluster)}`
  return {
    all: `${prefix}.all`,
    to: (incarnation) => `${prefix}.to.${hashed(incarnation)}`,
    unheard: (incarnation, link) => `${prefix}.unheard.${hashed(incarnation)}.${link}`,
  }
}

function hashed(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, HASH_CHARS)
}

/** What a letter is sealed for: its type, its cluster, and for calls and answers the one run that may read it. */
export function letterBinding(type: number, cluster: string, receiver: string): Buffer {
  return new ByteWriter().u8(type).string(cluster).string(receiver).finish()
}

// ---------------------------------------------------------------- letters

export interface Greeting {
  readonly peer: Peer
  /** Absent in a presence. */
  readonly nonce: Buffer | undefined
  /** The call's nonce, in an answer. */
  readonly echo: Buffer | undefined
}

export function encodeGreeting(self: Peer, ...nonces: readonly Buffer[]): Buffer {
  const writer = new ByteWriter().string(self.node).string(self.incarnation)
  for (const nonce of nonces) writer.raw(nonce)
  return writer.finish()
}

/** Throws PEER_PROTOCOL. Names are checked, because they reach logs. */
export function decodeGreeting(type: number, plain: Buffer): Greeting {
  const reader = new ByteReader(plain)
  const peer = { node: reader.string(MAX_NODE_BYTES), incarnation: reader.string(MAX_INCARNATION_BYTES) }
  const nonce = type === PRESENCE ? undefined : Buffer.from(reader.raw(NONCE_BYTES))
  const echo = type === ANSWER ? Buffer.from(reader.raw(NONCE_BYTES)) : undefined
  reader.end()
  if (peer.node === '' || peer.incarnation === '' || /\p{Cc}/u.test(peer.node)) {
    throw new SessionError('PEER_PROTOCOL', 'sent an invalid greeting')
  }
  return { peer, nonce, echo }
}

export function encodePresence(letters: readonly Buffer[]): Buffer {
  const writer = new ByteWriter().u8(PRESENCE).u8(letters.length)
  for (const letter of letters) writer.bytes(letter)
  return writer.finish()
}

/** Throws PEER_PROTOCOL. Nothing here is authentic yet. */
export function decodePresence(body: Buffer): Buffer[] {
  const reader = new ByteReader(body)
  const count = reader.u8()
  if (count > MAX_KEYS) throw new SessionError('PEER_PROTOCOL', 'sent an invalid presence')
  const letters = Array.from({ length: count }, () => reader.bytes(MAX_LETTER_BYTES))
  reader.end()
  return letters
}

// ---------------------------------------------------------------- inside links

/** Whole frames, each behind its length. */
export const KIND_FRAMES = 1
/** A piece of a frame too large for one message; `KIND_LAST` ends it. */
export const KIND_PART = 2
export const KIND_LAST = 3
export const KIND_PING = 4
export const KIND_BYE = 5

/** Why a link ends, as the side that ends it tells the other. */
export type ByeCode = 'left' | 'superseded' | 'protocol' | 'silent'
const BYE_CODES: readonly ByeCode[] = ['left', 'superseded', 'protocol', 'silent']

export function encodeBye(code: ByeCode): Buffer {
  return Buffer.from([BYE_CODES.indexOf(code)])
}

export function decodeBye(body: Buffer): ByeCode {
  const code = body.length === 1 ? BYE_CODES[body[0] as number] : undefined
  if (code === undefined) throw new SessionError('PEER_PROTOCOL', 'sent an invalid goodbye')
  return code
}
