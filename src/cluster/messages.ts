/**
 * What servers say to each other. A frame is a version byte and messages; a message is its kind (1 byte), the length of
 * its body (varint) and the body, so that kinds of later versions can be stepped over. Field values are opaque text.
 */
import { ByteReader, ByteWriter } from '../core/bytes.ts'
import type { Coverage, Heads } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'
import { SessionError } from '../errors.ts'
import type { Change } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { readBody, writeBody } from './message-bodies.ts'
import type { Claim, CompareOutcome, ServerState, TombstoneReason } from './message-codes.ts'
import type { ClusterRecord, Delta } from './record.ts'
import type { ClockReading } from './clock.ts'
import type { LostServer } from './members.ts'

export const PROTOCOL_VERSION = 1

/** `sequence` 0: no acknowledgement wanted. `request` 0: nobody asked. */
export type Message =
  | { readonly kind: 'delta'; readonly sequence: number; readonly claim: Claim; readonly delta: Delta }
  | { readonly kind: 'record'; readonly sequence: number; readonly request: number; readonly claim: Claim; readonly record: ClusterRecord }
  | { readonly kind: 'ack'; readonly sequences: readonly number[] }
  | { readonly kind: 'fetch'; readonly request: number; readonly key: string }
  | { readonly kind: 'not-held'; readonly request: number }
  | {
      readonly kind: 'tombstone'
      readonly sequence: number
      readonly request: number
      readonly key: string
      readonly reason: TombstoneReason
      /** How long ago the session ended: clocks of servers differ. */
      readonly ageMs: number
      /** Unix ms. */
      readonly until: number
      /** Of a session that goes on under a new id: what has been taken over. Who holds more sends it back. */
      readonly seen?: Coverage
    }
  | { readonly kind: 'touch'; readonly key: string; readonly touchAt: number }
  | {
      readonly kind: 'state'
      readonly state: ServerState
      readonly sessions: number
      /** Servers that vanished without a goodbye, as the sender knows. */
      readonly lost: readonly LostServer[]
    }
  | { readonly kind: 'list'; readonly request: number; readonly userId: string | undefined }
  | { readonly kind: 'list-part'; readonly request: number; readonly last: boolean; readonly summaries: readonly SessionSummary[] }
  | { readonly kind: 'snapshot'; readonly request: number; readonly part: number; readonly of: number }
  | { readonly kind: 'snapshot-part'; readonly request: number; readonly last: boolean }
  | { readonly kind: 'snapshot-next'; readonly request: number }
  | { readonly kind: 'moved'; readonly key: string; readonly claim: Dot; readonly owner: string; readonly coverage: Coverage }
  | { readonly kind: 'compare'; readonly request: number; readonly key: string; readonly heads: Heads; readonly change: Change }
  | { readonly kind: 'compared'; readonly request: number; readonly outcome: CompareOutcome }
  /** Of the sessions both servers should hold, per bucket of slots. */
  | { readonly kind: 'digest'; readonly digests: readonly number[] }
  /** What the sender holds in the buckets whose digests differ. */
  | {
      readonly kind: 'differ'
      readonly buckets: readonly number[]
      readonly named: readonly { readonly key: string; readonly hash: number }[]
    }
  | { readonly kind: 'ping'; readonly number: number }
  /** Follows everything that was sent to the asker before. */
  | ({
      readonly kind: 'pong'
      readonly number: number
      /** Fingerprint of the servers that the sender knows. */
      readonly members: number
    } & ClockReading)
  /** Acknowledged once every server that the receiver knows has applied the tombstone, or was out of its contact for the lease. */
  | {
      readonly kind: 'relay'
      readonly sequence: number
      readonly key: string
      readonly reason: TombstoneReason
      readonly ageMs: number
      readonly until: number
      /** Names of the servers that have applied it already. */
      readonly told: readonly string[]
    }

export type MessageOf<K extends Message['kind']> = Extract<Message, { kind: K }>

const KINDS = [
  'delta',
  'record',
  'ack',
  'fetch',
  'not-held',
  'tombstone',
  'touch',
  'state',
  'list',
  'list-part',
  'snapshot',
  'snapshot-part',
  'snapshot-next',
  'moved',
  'compare',
  'compared',
  'ping',
  'pong',
  'relay',
  'digest',
  'differ',
] as const satisfies readonly Message['kind'][]

const MAX_BODY_BYTES = 1 << 20

/** Kind and length come before the body, whose length is known last: so many bytes are kept free for them. */
const HEAD_ROOM: Buffer = Buffer.alloc(8)

/** A whole message: encoded once, however many servers it goes to. */
export function encodeMessage(message: Message): Buffer {
  const writer = new ByteWriter().raw(HEAD_ROOM)
  writeBody(writer, message)
  const bytes = writer.finish()
  const head = [KINDS.indexOf(message.kind) + 1]
  let left = bytes.length - HEAD_ROOM.length
  for (; left >= 0x80; left = Math.floor(left / 128)) head.push((left % 128) | 0x80)
  head.push(left)
  const start = HEAD_ROOM.length - head.length
  for (const [index, byte] of head.entries()) bytes[start + index] = byte
  return bytes.subarray(start)
}

/** Throws PEER_PROTOCOL on anything that is not a frame of this version. Unknown kinds are skipped. */
export function decodeFrame(frame: Uint8Array): Message[] {
  const reader = new ByteReader(frame)
  const version = reader.u8()
  if (version !== PROTOCOL_VERSION) {
    throw new SessionError(
      'PEER_PROTOCOL',
      `Another server speaks cluster protocol ${version}, this one ${PROTOCOL_VERSION}: run one version of holdfast.`,
    )
  }
  const messages: Message[] = []
  while (reader.remaining > 0) {
    const kind = KINDS[reader.u8() - 1]
    const body = new ByteReader(reader.bytes(MAX_BODY_BYTES))
    if (kind === undefined) continue
    messages.push(readBody(kind, body))
    body.end()
  }
  return messages
}
