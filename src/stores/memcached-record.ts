/**
 * What lies in Memcached: sessions, the marks of ended ones, and one item per user. Each begins with its format (`h1`) and
 * a letter for its kind; numbers are varints, texts UTF-8 with their length before them.
 */
import { ByteReader, ByteWriter } from '../core/bytes.ts'
import { expiresAt, WRITE_IDS_KEPT } from '../core/stored-record.ts'
import type { StoredRecord } from '../seam.ts'

export interface SessionItem {
  readonly kind: 'session'
  readonly record: StoredRecord
  /** The user's epoch when the session was bound; absent without a user. */
  readonly epoch?: string
}

/** What is left of an ended session, so that late writers and visitors learn why. */
export interface MarkItem {
  readonly kind: 'mark'
  readonly gone: 'destroyed' | 'replaced'
  readonly endedAt: number
  readonly until: number
  /** Which `replace` made it, and the version it ended: answers a retry. */
  readonly writeId: string
  readonly before: number
}

export interface UserItem {
  readonly kind: 'user'
  /** Random; a session that carries another has been revoked. */
  readonly epoch: string
  /** When it last changed; 0: never. */
  readonly revokedAt: number
  /** The latest absolute end of all sessions there ever were: nothing is left to know afterwards. */
  readonly until: number
  /** The session that the last revocation spared: its epoch is an older one. */
  readonly spared?: string
  /** Newest last, bounded. */
  readonly sessions: readonly UserSession[]
}

export interface UserSession {
  readonly key: string
  /** Unix ms: the absolute end. */
  readonly end: number
}

export type MemcachedItem = SessionItem | MarkItem | UserItem

const FORMAT = 'h1'
const FIRST_BYTES = 1_024
const LETTERS = { session: 's', mark: 'm', user: 'u' } as const
const PERSISTENT = 1
const BOUND = 2
const REPLACED = 4
/** The item bounds what is in it. */
const TEXT_BYTES = 2 ** 30
const COUNT = 1_000_000

export function packItem(item: MemcachedItem): Buffer {
  const writer = new ByteWriter(FIRST_BYTES).raw(Buffer.from(FORMAT + LETTERS[item.kind], 'latin1'))
  if (item.kind === 'session') packSession(writer, item)
  else if (item.kind === 'user') packUser(writer, item)
  else
    writer
      .u8(item.gone === 'replaced' ? REPLACED : 0)
      .varint(whole(item.endedAt))
      .varint(whole(item.until))
      .string(item.writeId)
      .varint(item.before)
  return writer.finish()
}

/** Undefined: it does not parse. */
export function unpackItem(bytes: Uint8Array): MemcachedItem | undefined {
  try {
    const reader = new ByteReader(bytes)
    const head = reader.raw(3).toString('latin1')
    const item = READERS[head]?.(reader)
    reader.end()
    return item
  } catch {
    return undefined
  }
}

/** Unix ms from which on it means nothing any more. */
export function endOf(item: MemcachedItem): number {
  return item.kind === 'session' ? expiresAt(item.record.meta) : item.until
}

const READERS: Readonly<Record<string, (reader: ByteReader) => MemcachedItem>> = {
  [FORMAT + LETTERS.session]: unpackSession,
  [FORMAT + LETTERS.mark]: unpackMark,
  [FORMAT + LETTERS.user]: unpackUser,
}

function packSession(writer: ByteWriter, { record, epoch }: SessionItem): void {
  const { meta, version, writeIds, fields, removed } = record
  const { userId } = meta
  writer.u8((meta.persistent ? PERSISTENT : 0) | (userId === undefined ? 0 : BOUND)).varint(version)
  for (const ms of [meta.createdAt, meta.lastActiveAt, meta.idleMs, meta.touchEveryMs, meta.absoluteAt]) writer.varint(whole(ms))
  if (userId !== undefined) writer.string(userId).string(epoch ?? '')
  writer.varint(writeIds.length)
  for (const id of writeIds) writer.string(id)
  writer.varint(fields.size)
  for (const [name, value] of fields) writer.string(name).string(value)
  writer.varint(removed?.size ?? 0)
  for (const name of removed ?? []) writer.string(name)
}

function unpackSession(reader: ByteReader): SessionItem {
  const flags = reader.u8()
  const version = reader.varint()
  const createdAt = reader.varint()
  const lastActiveAt = reader.varint()
  const idleMs = reader.varint()
  const touchEveryMs = reader.varint()
  const absoluteAt = reader.varint()
  const isBound = (flags & BOUND) !== 0
  const userId = isBound ? reader.string(TEXT_BYTES) : undefined
  const epoch = isBound ? reader.string(TEXT_BYTES) : undefined
  const writeIds = texts(reader, reader.varint(WRITE_IDS_KEPT))
  const fields = new Map<string, string>()
  for (let left = reader.varint(COUNT); left > 0; left--) fields.set(reader.string(TEXT_BYTES), reader.string(TEXT_BYTES))
  const removed = texts(reader, reader.varint(COUNT))
  const meta = { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent: (flags & PERSISTENT) !== 0 }
  const base = { meta, fields, version, writeIds }
  const record: StoredRecord = removed.length === 0 ? base : { ...base, removed: new Set(removed) }
  return epoch === undefined ? { kind: 'session', record } : { kind: 'session', record, epoch }
}

function unpackMark(reader: ByteReader): MarkItem {
  const gone = (reader.u8() & REPLACED) === 0 ? 'destroyed' : 'replaced'
  return {
    kind: 'mark',
    gone,
    endedAt: reader.varint(),
    until: reader.varint(),
    writeId: reader.string(TEXT_BYTES),
    before: reader.varint(),
  }
}

function packUser(writer: ByteWriter, { epoch, revokedAt, until, spared, sessions }: UserItem): void {
  writer
    .string(epoch)
    .varint(whole(revokedAt))
    .varint(whole(until))
    .string(spared ?? '')
    .varint(sessions.length)
  for (const { key, end } of sessions) writer.string(key).varint(whole(end))
}

function unpackUser(reader: ByteReader): UserItem {
  const epoch = reader.string(TEXT_BYTES)
  const revokedAt = reader.varint()
  const until = reader.varint()
  const spared = reader.string(TEXT_BYTES)
  const sessions: UserSession[] = []
  for (let left = reader.varint(COUNT); left > 0; left--) sessions.push({ key: reader.string(TEXT_BYTES), end: reader.varint() })
  const item = { kind: 'user', epoch, revokedAt, until, sessions } as const
  return spared === '' ? item : { ...item, spared }
}

function texts(reader: ByteReader, count: number): string[] {
  return Array.from({ length: count }, () => reader.string(TEXT_BYTES))
}

function whole(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms)), Number.MAX_SAFE_INTEGER)
}
