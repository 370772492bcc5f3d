/** The body of each kind of message: fixed layouts, bounds checked before anything is allocated. */
import type { ByteReader, ByteWriter } from '../core/bytes.ts'
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
import { SessionError } from '../errors.ts'
import type { Change } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { CLAIMS, COMPARE_OUTCOMES, SERVER_STATES, TOMBSTONE_REASONS } from './message-codes.ts'
import { MOST_LOST } from './members.ts'
import type { Message, MessageOf } from './messages.ts'
import { ClusterRecord } from './record.ts'

const KEY_BYTES = 32
const MAX_LIST = 4096
const MAX_USER_BYTES = 4096
const MAX_TEXT_BYTES = 1 << 20
const MAX_FIELD_BYTES = 128
const MAX_CHANGES = 65_536
const NUMBER_BYTES = 32
const MAX_TOLD = 1024
const MAX_BUCKETS = 16_384
const MAX_NAMED = 65_536
const MAX_NODE_BYTES = 256

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
    set.set(field, reader.u8() === 0 ? undefined : reader.string(MAX_TEXT_BYTES))
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
  tombstone(writer, { sequence, request, key, reason, ageMs, until, seen }) {
    writeKey(writer.varint(sequence).varint(request), key)
      .u8(TOMBSTONE_REASONS.indexOf(reason))
      .varint(wholeMs(ageMs))
      .varint(wholeMs(until))
    writeCoverage(writer, seen ?? new Map())
  },
  touch: (writer, { key, touchAt }) => void writeKey(writer, key).varint(wholeMs(touchAt)),
  state(writer, { lost, sessions, state }) {
    writer.u8(SERVER_STATES.indexOf(state)).varint(sessions).varint(lost.length)
    for (const { ageMs, node } of lost) writer.string(node).varint(wholeMs(ageMs))
  },
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
  moved(writer, { claim, coverage, key, owner }) {
    writeDot(writeKey(writer, key), claim)
    writer.string(owner)
    writeCoverage(writer, coverage)
  },
  compare(writer, { request, key, heads, change }) {
    writeDots(writeKey(writer.varint(request), key), heads)
    writeChange(writer, change)
  },
  compared: (writer, { request, outcome }) => void writer.varint(request).u8(COMPARE_OUTCOMES.indexOf(outcome)),
  digest(writer, { digests }) {
    writer.varint(digests.length)
    for (const digest of digests) writer.u32(digest)
  },
  differ(writer, { buckets, named }) {
    writer.varint(buckets.length)
    for (const bucket of buckets) writer.varint(bucket)
    writer.varint(named.length)
    for (const { hash, key } of named) writeKey(writer, key).u32(hash)
  },
  ping: (writer, { number }) => void writer.varint(number),
  pong: (writer, { agreed, isSettled, members, number, wall }) =>
    void writer
      .varint(number)
      .u32(members)
      .u8(isSettled ? 1 : 0)
      .varint(wholeMs(wall))
      .varint(wholeMs(agreed)),
  relay(writer, { sequence, key, reason, ageMs, until, told }) {
    writeKey(writer.varint(sequence), key).u8(TOMBSTONE_REASONS.indexOf(reason)).varint(wholeMs(ageMs)).varint(wholeMs(until))
    writer.varint(told.length)
    for (const node of told) writer.string(node)
  },
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
  tombstone(reader) {
    const asked = { sequence: reader.varint(), request: reader.varint(), key: readKey(reader) }
    const ended = { reason: oneOf(TOMBSTONE_REASONS, reader.u8()), ageMs: reader.varint(), until: reader.varint() }
    const seen = readCoverage(reader)
    return { kind: 'tombstone', ...asked, ...ended, ...(seen.size > 0 && { seen }) }
  },
  touch: (reader) => ({ kind: 'touch', key: readKey(reader), touchAt: reader.varint() }),
  state: (reader) => ({
    kind: 'state',
    state: oneOf(SERVER_STATES, reader.u8()),
    sessions: reader.varint(),
    lost: Array.from({ length: reader.varint(MOST_LOST) }, () => ({ node: reader.string(MAX_NODE_BYTES), ageMs: reader.varint() })),
  }),
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
  moved: (reader) => ({
    kind: 'moved',
    key: readKey(reader),
    claim: readDot(reader),
    owner: reader.string(MAX_NODE_BYTES),
    coverage: readCoverage(reader),
  }),
  compare: (reader) => ({
    kind: 'compare',
    request: reader.varint(),
    key: readKey(reader),
    heads: readDots(reader),
    change: readChange(reader),
  }),
  compared: (reader) => ({ kind: 'compared', request: reader.varint(), outcome: oneOf(COMPARE_OUTCOMES, reader.u8()) }),
  digest: (reader) => ({ kind: 'digest', digests: Array.from({ length: reader.varint(MAX_BUCKETS) }, () => reader.u32()) }),
  differ: (reader) => ({
    kind: 'differ',
    buckets: Array.from({ length: reader.varint(MAX_BUCKETS) }, () => reader.varint(MAX_BUCKETS)),
    named: Array.from({ length: reader.varint(MAX_NAMED) }, () => ({ key: readKey(reader), hash: reader.u32() })),
  }),
  ping: (reader) => ({ kind: 'ping', number: reader.varint() }),
  pong: (reader) => ({
    kind: 'pong',
    number: reader.varint(),
    members: reader.u32(),
    isSettled: reader.u8() !== 0,
    wall: reader.varint(),
    agreed: reader.varint(),
  }),
  relay: (reader) => ({
    kind: 'relay',
    sequence: reader.varint(),
    key: readKey(reader),
    reason: oneOf(TOMBSTONE_REASONS, reader.u8()),
    ageMs: reader.varint(),
    until: reader.varint(),
    told: Array.from({ length: reader.varint(MAX_TOLD) }, () => reader.string(MAX_NODE_BYTES)),
  }),
}

export function writeBody(writer: ByteWriter, message: Message): void {
  ;(WRITE[message.kind] as (writer: ByteWriter, message: Message) => void)(writer, message)
}

export function readBody(kind: Message['kind'], reader: ByteReader): Message {
  return READ[kind](reader)
}
