/**
 * What servers say to each other. A frame is a version byte and messages; a message is its kind (1 byte), the length of
 * its body (varint) and the body, so that kinds of later versions can be stepped over. Field values are opaque text.
 */
import { ByteReader, ByteWriter } from '../core/bytes.ts'
import type { Coverage, Heads } from '../core/floor.ts'
import {
  readCells,
  readCoverage,
  readDot,
  readDots,
  readMeta,
  writeCells,
  writeCoverage,
  writeDot,
  writeDots,
  writeMeta,
} from '../core/record-codec.ts'
import type { Dot } from '../core/merge.ts'
import { SessionError } from '../errors.ts'
import type { Change } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { ClusterRecord, type Delta } from './record.ts'

export const PROTOCOL_VERSION = 1

export const TOMBSTONE_REASONS = ['destroyed', 'replaced', 'revoked'] as const
export type TombstoneReason = (typeof TOMBSTONE_REASONS)[number]

export const SERVER_STATES = ['joining', 'ready', 'draining', 'leaving'] as const
export type ServerState = (typeof SERVER_STATES)[number]

/** Who owns the session from here on (affinity). */
export const CLAIMS = ['none', 'sender', 'receiver'] as const
export type Claim = (typeof CLAIMS)[number]

export const COMPARE_OUTCOMES = ['applied', 'conflict', 'destroyed', 'replaced', 'unknown', 'failed'] as const
export type CompareOutcome = (typeof COMPARE_OUTCOMES)[number]

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
    }
  | { readonly kind: 'touch'; readonly key: string; readonly touchAt: number }
  | { readonly kind: 'state'; readonly state: ServerState; readonly sessions: number }
  | { readonly kind: 'list'; readonly request: number; readonly userId: string | undefined }
  | { readonly kind: 'list-part'; readonly request: number; readonly last: boolean; readonly summaries: readonly SessionSummary[] }
  | { readonly kind: 'snapshot'; readonly request: number; readonly part: number; readonly of: number }
  | { readonly kind: 'snapshot-part'; readonly request: number; readonly last: boolean }
  | { readonly kind: 'snapshot-next'; readonly request: number }
  | { readonly kind: 'moved'; readonly key: string; readonly claim: Dot; readonly coverage: Coverage }
  | { readonly kind: 'compare'; readonly request: number; readonly key: string; readonly heads: Heads; readonly change: Change }
  | { readonly kind: 'compared'; readonly request: number; readonly outcome: CompareOutcome }

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
] as const satisfies readonly Message['kind'][]

const KEY_BYTES = 32
const MAX_LIST = 4096
const MAX_USER_BYTES = 4096
const MAX_BODY_BYTES = 1 << 20
const MAX_FIELD_BYTES = 128
const MAX_CHANGES = 65_536
const NUMBER_BYTES = 32

/** A whole message: encoded once, however many servers it goes to. */
export function encodeMessage(message: Message): Buffer {
  const body = new ByteWriter()
  ;(WRITE[message.kind] as (writer: ByteWriter, message: Message) => void)(body, message)
  const bytes = body.finish()
  return new ByteWriter(bytes.length + 10)
    .u8(KINDS.indexOf(message.kind) + 1)
    .bytes(bytes)
    .finish()
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
    messages.push(READ[kind](body))
    body.end()
  }
  return messages
}

function writeKey(writer: ByteWriter, key: string): ByteWriter {
  return writer.raw(Buffer.from(key, 'base64url'))
}

function readKey(reader: ByteReader): string {
  return reader.raw(KEY_BYTES).toString('base64url')
}

function oneOf<T>(values: readonly T[], index: number): T {
  const value = values[index]
  if (value === undefined)
    throw new SessionError('PEER_PROTOCOL', 'A message of another server holds an unknown code: run one version of holdfast.')
  return value
}

function writeRecord(writer: ByteWriter, record: ClusterRecord): void {
  writeKey(writer, record.key)
  writeMeta(writer, record.meta)
  writeDot(writer, record.lifetimeStamp)
  writeDots(writer, record.heads)
  writeCoverage(writer, record.coverage)
  writeCells(writer, record.cells)
}

function readRecord(reader: ByteReader): ClusterRecord {
  const key = readKey(reader)
  const meta = readMeta(reader)
  const lifetimeStamp = readDot(reader)
  const heads = readDots(reader)
  const coverage = readCoverage(reader)
  const cells = readCells(reader)
  let highest = 0
  for (const counter of coverage.values()) highest = Math.max(highest, counter)
  return new ClusterRecord(key, meta, cells, heads, coverage, lifetimeStamp, highest)
}

function writeLifetime(writer: ByteWriter, lifetime: Change['lifetime']): void {
  writer.u8(lifetime === undefined ? 0 : 1)
  if (lifetime === undefined) return
  for (const ms of [lifetime.idleMs, lifetime.touchEveryMs, lifetime.absoluteAt]) writer.varint(wholeMs(ms))
}

function readLifetime(reader: ByteReader): Pick<Change, 'lifetime'> {
  if (reader.u8() === 0) return {}
  return { lifetime: { idleMs: reader.varint(), touchEveryMs: reader.varint(), absoluteAt: reader.varint() } }
}

function writeChange(writer: ByteWriter, change: Change): void {
  writer.varint(change.set.size)
  for (const [field, value] of change.set) {
    writer.string(field).u8(value === undefined ? 0 : 1)
    if (value !== undefined) writer.string(value)
  }
  writer.varint(change.add.size)
  for (const [field, { by, from }] of change.add) writer.string(field).string(String(by)).string(String(from))
  writer.varint(wholeMs(change.touchAt))
  writeLifetime(writer, change.lifetime)
}

function readChange(reader: ByteReader): Change {
  const set = new Map<string, string | undefined>()
  for (let left = reader.varint(MAX_CHANGES); left > 0; left--) {
    const field = reader.string(MAX_FIELD_BYTES)
    set.set(field, reader.u8() === 0 ? undefined : reader.string(MAX_BODY_BYTES))
  }
  const add = new Map<string, { by: number; from: number }>()
  for (let left = reader.varint(MAX_CHANGES); left > 0; left--) {
    const field = reader.string(MAX_FIELD_BYTES)
    add.set(field, { by: Number(reader.string(NUMBER_BYTES)), from: Number(reader.string(NUMBER_BYTES)) })
  }
  return { set, add, touchAt: reader.varint(), ...readLifetime(reader) }
}

function writeSummary(writer: ByteWriter, summary: SessionSummary): void {
  writeKey(writer, summary.key).u8((summary.persistent ? 1 : 0) | (summary.userId === undefined ? 0 : 2))
  writer.varint(wholeMs(summary.createdAt)).varint(wholeMs(summary.lastActiveAt)).varint(wholeMs(summary.expiresAt))
  if (summary.userId !== undefined) writer.string(summary.userId)
}

function readSummary(reader: ByteReader): SessionSummary {
  const key = readKey(reader)
  const flags = reader.u8()
  const times = { createdAt: reader.varint(), lastActiveAt: reader.varint(), expiresAt: reader.varint() }
  return { key, userId: (flags & 2) === 0 ? undefined : reader.string(MAX_USER_BYTES), ...times, persistent: (flags & 1) !== 0 }
}

function wholeMs(ms: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms)))
}

const WRITE: { [K in Message['kind']]: (writer: ByteWriter, message: MessageOf<K>) => void } = {
  delta(writer, { sequence, claim, delta }) {
    writeKey(writer.varint(sequence).u8(CLAIMS.indexOf(claim)), delta.key)
    writeDot(writer, delta.dot)
    writeDots(writer, delta.parents)
    writer.varint(wholeMs(delta.touchAt))
    writeLifetime(writer, delta.lifetime)
    writeCells(writer, delta.cells)
  },
  record: (writer, { sequence, request, claim, record }) =>
    writeRecord(writer.varint(sequence).varint(request).u8(CLAIMS.indexOf(claim)), record),
  ack(writer, { sequences }) {
    writer.varint(sequences.length)
    for (const sequence of sequences) writer.varint(sequence)
  },
  fetch: (writer, { request, key }) => void writeKey(writer.varint(request), key),
  'not-held': (writer, { request }) => void writer.varint(request),
  tombstone(writer, { sequence, request, key, reason, ageMs, until }) {
    writeKey(writer.varint(sequence).varint(request), key)
      .u8(TOMBSTONE_REASONS.indexOf(reason))
      .varint(wholeMs(ageMs))
      .varint(wholeMs(until))
  },
  touch: (writer, { key, touchAt }) => void writeKey(writer, key).varint(wholeMs(touchAt)),
  state: (writer, { state, sessions }) => void writer.u8(SERVER_STATES.indexOf(state)).varint(sessions),
  list(writer, { request, userId }) {
    writer.varint(request).u8(userId === undefined ? 0 : 1)
    if (userId !== undefined) writer.string(userId)
  },
  'list-part'(writer, { request, last, summaries }) {
    writer
      .varint(request)
      .u8(last ? 1 : 0)
      .varint(summaries.length)
    for (const summary of summaries) writeSummary(writer, summary)
  },
  snapshot: (writer, { request, part, of }) => void writer.varint(request).varint(part).varint(of),
  'snapshot-part': (writer, { request, last }) => void writer.varint(request).u8(last ? 1 : 0),
  'snapshot-next': (writer, { request }) => void writer.varint(request),
  moved(writer, { claim, coverage, key }) {
    writeDot(writeKey(writer, key), claim)
    writeCoverage(writer, coverage)
  },
  compare(writer, { request, key, heads, change }) {
    writeDots(writeKey(writer.varint(request), key), heads)
    writeChange(writer, change)
  },
  compared: (writer, { request, outcome }) => void writer.varint(request).u8(COMPARE_OUTCOMES.indexOf(outcome)),
}

const READ: { [K in Message['kind']]: (reader: ByteReader) => MessageOf<K> } = {
  delta(reader) {
    const sequence = reader.varint()
    const claim = oneOf(CLAIMS, reader.u8())
    const key = readKey(reader)
    const dot = readDot(reader)
    const parents = readDots(reader)
    const touchAt = reader.varint()
    const lifetime = readLifetime(reader)
    return { kind: 'delta', sequence, claim, delta: { key, dot, parents, touchAt, ...lifetime, cells: readCells(reader) } }
  },
  record: (reader) => ({
    kind: 'record',
    sequence: reader.varint(),
    request: reader.varint(),
    claim: oneOf(CLAIMS, reader.u8()),
    record: readRecord(reader),
  }),
  ack: (reader) => ({ kind: 'ack', sequences: Array.from({ length: reader.varint(reader.remaining) }, () => reader.varint()) }),
  fetch: (reader) => ({ kind: 'fetch', request: reader.varint(), key: readKey(reader) }),
  'not-held': (reader) => ({ kind: 'not-held', request: reader.varint() }),
  tombstone: (reader) => ({
    kind: 'tombstone',
    sequence: reader.varint(),
    request: reader.varint(),
    key: readKey(reader),
    reason: oneOf(TOMBSTONE_REASONS, reader.u8()),
    ageMs: reader.varint(),
    until: reader.varint(),
  }),
  touch: (reader) => ({ kind: 'touch', key: readKey(reader), touchAt: reader.varint() }),
  state: (reader) => ({ kind: 'state', state: oneOf(SERVER_STATES, reader.u8()), sessions: reader.varint() }),
  list: (reader) => ({ kind: 'list', request: reader.varint(), userId: reader.u8() === 0 ? undefined : reader.string(MAX_USER_BYTES) }),
  'list-part': (reader) => ({
    kind: 'list-part',
    request: reader.varint(),
    last: reader.u8() !== 0,
    summaries: Array.from({ length: reader.varint(MAX_LIST) }, () => readSummary(reader)),
  }),
  snapshot: (reader) => ({ kind: 'snapshot', request: reader.varint(), part: reader.varint(), of: reader.varint() }),
  'snapshot-part': (reader) => ({ kind: 'snapshot-part', request: reader.varint(), last: reader.u8() !== 0 }),
  'snapshot-next': (reader) => ({ kind: 'snapshot-next', request: reader.varint() }),
  moved: (reader) => ({ kind: 'moved', key: readKey(reader), claim: readDot(reader), coverage: readCoverage(reader) }),
  compare: (reader) => ({
    kind: 'compare',
    request: reader.varint(),
    key: readKey(reader),
    heads: readDots(reader),
    change: readChange(reader),
  }),
  compared: (reader) => ({ kind: 'compared', request: reader.varint(), outcome: oneOf(COMPARE_OUTCOMES, reader.u8()) }),
}
