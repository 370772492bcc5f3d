/**
 * Dots, cells and metadata as bytes: the common part of frames between servers and of sealed notes. Field values stay
 * opaque text. Readers throw PEER_PROTOCOL on anything out of bounds; callers authenticate first.
 *
 * Origins are text of at most 32 bytes, or nothing for {@link UNASSIGNED}.
 */
import type { RecordMeta } from '../seam.ts'
import type { ByteReader, ByteWriter } from './bytes.ts'
import type { Coverage } from './floor.ts'
import { type Cell, type Cells, compareDots, type Dot, type Tally } from './merge.ts'

/** Raise it when a layout below changes; containers carry it as their version byte. */
export const RECORD_CODEC_VERSION = 1

const MAX_ORIGIN_BYTES = 32
const MAX_FIELD_BYTES = 128
const MAX_VALUE_BYTES = 1 << 20
const MAX_CELLS = 65_536
const MAX_TALLIES = 4096
const MAX_DOTS = 1024
const MAX_USER_BYTES = 4096

const REMOVED = 0
const PRESENT = 1
const COUNTED = 2

const PERSISTENT = 1
const BOUND = 2

/** Origin, then the counter as a varint. */
export function writeDot(writer: ByteWriter, dot: Dot): void {
  writer.string(dot.origin).varint(dot.counter)
}

export function readDot(reader: ByteReader): Dot {
  return { origin: reader.string(MAX_ORIGIN_BYTES), counter: reader.varint() }
}

/** A count, then the dots in order. */
export function writeDots(writer: ByteWriter, dots: readonly Dot[]): void {
  writer.varint(dots.length)
  for (const dot of dots) writeDot(writer, dot)
}

/** Sorted, whatever the order in the bytes. */
export function readDots(reader: ByteReader, most: number = MAX_DOTS): Dot[] {
  const count = reader.varint(most)
  const dots: Dot[] = []
  for (let index = 0; index < count; index++) dots.push(readDot(reader))
  return count > 1 ? dots.sort(compareDots) : dots
}

export function writeCoverage(writer: ByteWriter, coverage: Coverage): void {
  writer.varint(coverage.size)
  for (const [origin, counter] of coverage) writer.string(origin).varint(counter)
}

export function readCoverage(reader: ByteReader): Map<string, number> {
  const count = reader.varint(MAX_DOTS)
  const coverage = new Map<string, number>()
  for (let index = 0; index < count; index++) coverage.set(reader.string(MAX_ORIGIN_BYTES), reader.varint())
  return coverage
}

/** A flag byte (removed, present, counted), the stamp, the value unless removed, the tallies if counted. */
export function writeCell(writer: ByteWriter, cell: Cell): void {
  const counted = cell.adds !== undefined && cell.adds.size > 0
  writer.u8(cell.value === undefined ? REMOVED : counted ? PRESENT | COUNTED : PRESENT)
  writeDot(writer, cell.stamp)
  if (cell.value === undefined) return
  writer.string(cell.value)
  if (!counted) return
  const adds = cell.adds
  writer.varint(adds.size)
  for (const [origin, tally] of adds) writer.string(origin).varint(tally.sequence).string(String(tally.total))
}

export function readCell(reader: ByteReader): Cell {
  const flags = reader.u8()
  const stamp = readDot(reader)
  if ((flags & PRESENT) === 0) return { stamp, value: undefined }
  const value = reader.string(MAX_VALUE_BYTES)
  if ((flags & COUNTED) === 0) return { stamp, value }
  const count = reader.varint(MAX_TALLIES)
  const adds = new Map<string, Tally>()
  for (let index = 0; index < count; index++) {
    const origin = reader.string(MAX_ORIGIN_BYTES)
    adds.set(origin, { sequence: reader.varint(), total: finite(Number(reader.string(32))) })
  }
  return { stamp, value, adds }
}

/** A count, then name and cell of each field. Names are plain text here: `__proto__` is one like any other. */
export function writeCells(writer: ByteWriter, cells: Cells): void {
  writer.varint(cells.size)
  for (const [field, cell] of cells) {
    writer.string(field)
    writeCell(writer, cell)
  }
}

export function readCells(reader: ByteReader): Map<string, Cell> {
  const count = reader.varint(MAX_CELLS)
  const cells = new Map<string, Cell>()
  for (let index = 0; index < count; index++) cells.set(reader.string(MAX_FIELD_BYTES), readCell(reader))
  return cells
}

/** A flag byte (persistent, bound), the five times as varints, the user if bound. */
export function writeMeta(writer: ByteWriter, meta: RecordMeta): void {
  writer.u8((meta.persistent ? PERSISTENT : 0) | (meta.userId === undefined ? 0 : BOUND))
  writer.varint(instant(meta.createdAt)).varint(instant(meta.lastActiveAt))
  writer.varint(instant(meta.idleMs)).varint(instant(meta.touchEveryMs)).varint(instant(meta.absoluteAt))
  if (meta.userId !== undefined) writer.string(meta.userId)
}

export function readMeta(reader: ByteReader): RecordMeta {
  const flags = reader.u8()
  const createdAt = reader.varint()
  const lastActiveAt = reader.varint()
  const idleMs = reader.varint()
  const touchEveryMs = reader.varint()
  const absoluteAt = reader.varint()
  const userId = (flags & BOUND) === 0 ? undefined : reader.string(MAX_USER_BYTES)
  return { userId, createdAt, lastActiveAt, idleMs, touchEveryMs, absoluteAt, persistent: (flags & PERSISTENT) !== 0 }
}

function finite(total: number): number {
  return Number.isFinite(total) ? total : 0
}

/** Whole milliseconds, never negative: an endless lifetime is a very long one. */
function instant(ms: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms)))
}
