/**
 * A record at rest: one string of one byte a character. As objects, a session of 8 fields takes three times its size, and the garbage
 * collector visits each of them; a string is one object without references.
 *
 * It never leaves the process. Times and heads come first: what walks over all sessions reads them without unpacking.
 */
import type { Heads } from '../core/floor.ts'
import type { Cell, Tally } from '../core/merge.ts'
import type { RecordMeta } from '../seam.ts'
import { Packer, Unpacker } from './packing.ts'
import { ClusterRecord } from './record.ts'

const PERSISTENT = 1
const BOUND = 2
/** Later times count from the time of creation. */
const RELATIVE = 4

/** Marks of a cell, below the place of its stamp. */
const PRESENT = 1
const COUNTED = 2
const WIDE = 4
const MARKS = 8

export function packRecord(record: ClusterRecord): string {
  const { bytes, cells, coverage, heads, lifetimeStamp, meta } = record
  const packer = new Packer()
  packTimes(packer, meta)
  packer.number(heads.length)
  for (const head of heads) packer.dot(head)
  if (meta.userId !== undefined) packer.text(meta.userId)
  packer.dot(lifetimeStamp)
  packer.number(coverage.size)
  for (const [origin, counter] of coverage) packer.dot({ origin, counter })
  packer.number(bytes)
  packer.number(cells.size)
  for (const [field, cell] of cells) {
    packer.field(field)
    packCell(packer, cell)
  }
  return packer.finish()
}

export function unpackRecord(key: string, packed: string): ClusterRecord {
  const unpacker = new Unpacker(packed)
  const { flags, ...times } = unpackTimes(unpacker)
  const heads = unpackHeads(unpacker)
  const userId = (flags & BOUND) === 0 ? undefined : unpacker.text()
  const { absoluteAt, createdAt, idleMs, lastActiveAt, touchEveryMs } = times
  const meta = { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent: (flags & PERSISTENT) !== 0 }
  const lifetimeStamp = unpacker.dot()
  const coverage = new Map<string, number>()
  let highest = 0
  for (let left = unpacker.number(); left > 0; left--) {
    const { counter, origin } = unpacker.dot()
    coverage.set(origin, counter)
    highest = Math.max(highest, counter)
  }
  const bytes = unpacker.number()
  const cells = new Map<string, Cell>()
  for (let left = unpacker.number(); left > 0; left--) cells.set(unpacker.field(), unpackCell(unpacker))
  return new ClusterRecord(key, meta, cells, heads, coverage, lifetimeStamp, highest, bytes)
}

/** Unix ms: `endOf` the record. */
export function endOfPacked(packed: string): number {
  const { absoluteAt, idleMs, lastActiveAt } = unpackTimes(new Unpacker(packed))
  return Math.min(lastActiveAt + idleMs, absoluteAt)
}

export function headsOfPacked(packed: string): Heads {
  const unpacker = new Unpacker(packed)
  unpackTimes(unpacker)
  return unpackHeads(unpacker)
}

function packTimes(packer: Packer, meta: RecordMeta): void {
  const createdAt = wholeMs(meta.createdAt)
  const lastActiveAt = wholeMs(meta.lastActiveAt)
  const absoluteAt = wholeMs(meta.absoluteAt)
  const isRelative = lastActiveAt >= createdAt && absoluteAt >= createdAt
  const base = isRelative ? createdAt : 0
  packer.byte((meta.persistent ? PERSISTENT : 0) | (meta.userId === undefined ? 0 : BOUND) | (isRelative ? RELATIVE : 0))
  packer.number(createdAt)
  packer.number(lastActiveAt - base)
  packer.number(wholeMs(meta.idleMs))
  packer.number(absoluteAt - base)
  packer.number(wholeMs(meta.touchEveryMs))
}

type Times = Omit<RecordMeta, 'userId' | 'persistent'> & { readonly flags: number }

function unpackTimes(unpacker: Unpacker): Times {
  const flags = unpacker.byte()
  const createdAt = unpacker.number()
  const base = (flags & RELATIVE) === 0 ? 0 : createdAt
  const lastActiveAt = base + unpacker.number()
  const idleMs = unpacker.number()
  const absoluteAt = base + unpacker.number()
  return { flags, createdAt, lastActiveAt, idleMs, absoluteAt, touchEveryMs: unpacker.number() }
}

function unpackHeads(unpacker: Unpacker): Heads {
  return Array.from({ length: unpacker.number() }, () => unpacker.dot())
}

function packCell(packer: Packer, { adds, stamp, value }: Cell): void {
  if (value === undefined) return packer.marked(stamp, 0, MARKS)
  const isWide = packer.isWide(value)
  packer.marked(stamp, PRESENT | (adds === undefined ? 0 : COUNTED) | (isWide ? WIDE : 0), MARKS)
  packer.plain(value, isWide)
  if (adds === undefined) return
  packer.number(adds.size)
  for (const [origin, { sequence, total }] of adds) {
    packer.origin(origin)
    packer.number(sequence)
    packer.text(String(total))
  }
}

function unpackCell(unpacker: Unpacker): Cell {
  const mark = unpacker.number()
  const stamp = unpacker.dotAt(Math.floor(mark / MARKS))
  if ((mark & PRESENT) === 0) return { stamp, value: undefined }
  const value = unpacker.plain((mark & WIDE) !== 0)
  if ((mark & COUNTED) === 0) return { stamp, value }
  const adds = new Map<string, Tally>()
  for (let left = unpacker.number(); left > 0; left--) {
    adds.set(unpacker.origin(), { sequence: unpacker.number(), total: Number(unpacker.text()) })
  }
  return { stamp, value, adds }
}

/** An endless lifetime is a very long one. */
function wholeMs(ms: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms)))
}
