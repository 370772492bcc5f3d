/** Bases and deltas as bytes: what a sealed note holds. Decoding happens after authentication and still trusts nothing. */
import { ByteReader, ByteWriter } from './bytes.ts'
import { readEpoch, writeEpoch } from './epoch.ts'
import type { BaseNote, Covered, DeltaAdd, DeltaNote, JournalNote, Mark } from './journal.ts'
import type { Cell, Dot, Tally } from './merge.ts'
import { readMeta, writeMeta } from './record-codec.ts'
import { squeeze, unsqueeze } from './squeeze.ts'

/** The first byte: kind and version of the layout. In version 2 each value says whether it is compressed. */
const BASE_1 = 0x11
const BASE_2 = 0x12
const DELTA_1 = 0x21
const DELTA_2 = 0x22

const NAME_BYTES = 6
const DIGEST_BYTES = 16
/** A base's flags: what follows. */
const HAS_DIGEST = 1
const HAS_EPOCH = 2
const MAX_FIELD_BYTES = 128
/** More than any header holds; what a compressed value may grow to. */
const MAX_TEXT_BYTES = 65_536
const MAX_ITEMS = 4096

export interface Encoding {
  readonly compress?: boolean
  /** Equal bases as equal bytes, whatever the order in which their cells were merged. */
  readonly ordered?: boolean
}

export function encodeNote(note: JournalNote, encoding: Encoding = {}): Buffer {
  const writer = new ByteWriter(1024)
  const write = encoding.compress === true ? writeSqueezed : writeValue
  if (note.kind === 'base') writeBase(writer, encoding.ordered === true ? inOrder(note) : note, write)
  else writeDelta(writer, note, write)
  return writer.finish()
}

/** Undefined: not a layout of this version. */
export function decodeNote(name: string, bytes: Uint8Array): JournalNote | undefined {
  try {
    const reader = new ByteReader(bytes)
    const layout = reader.u8()
    const read = layout === BASE_2 || layout === DELTA_2 ? readSqueezed : readValue
    const isBase = layout === BASE_1 || layout === BASE_2
    if (!isBase && layout !== DELTA_1 && layout !== DELTA_2) return undefined
    const note = isBase ? readBase(reader, name, read) : readDelta(reader, name, read)
    reader.end()
    return note
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------- bases

type WriteValue = (writer: ByteWriter, value: string | undefined) => void
type ReadValue = (reader: ByteReader) => string | undefined

function inOrder(base: BaseNote): BaseNote {
  const cells = [...base.cells].sort(([a], [b]) => (a < b ? -1 : 1)).map(([field, cell]): [string, Cell] => [field, sorted(cell)])
  return { ...base, cells: new Map(cells) }
}

function sorted(cell: Cell): Cell {
  if (cell.adds === undefined || cell.adds.size < 2) return cell
  return { ...cell, adds: new Map([...cell.adds].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

function writeBase(writer: ByteWriter, base: BaseNote, write: WriteValue): void {
  writer.u8(write === writeValue ? BASE_1 : BASE_2)
  writeMeta(writer, base.meta)
  writer.varint(base.at).varint(base.highest).varint(base.horizon)
  writer.u8((base.digest === '' ? 0 : HAS_DIGEST) | (base.epoch === undefined ? 0 : HAS_EPOCH))
  if (base.digest !== '') writer.raw(Buffer.from(base.digest, 'base64url'))
  if (base.epoch !== undefined) writeEpoch(writer, base.epoch)
  writer.varint(base.marks.length)
  for (const mark of base.marks) writer.varint(mark.at).varint(mark.counter)
  const places = writeCovered(writer, base)
  writeStamp(writer, base.lifetimeStamp, places)
  writer.varint(base.cells.size)
  for (const [field, cell] of base.cells) writeCell(writer.string(field), cell, places, write)
}

/** In order of their counters, as differences; a stamp above the horizon is then a place in this list. */
function writeCovered(writer: ByteWriter, base: BaseNote): Map<string, number> {
  const entries = [...base.covered].sort((a, b) => a[1].counter - b[1].counter || (a[0] < b[0] ? -1 : 1))
  const places = new Map<string, number>()
  writer.varint(entries.length)
  let last = base.horizon
  for (const [name, { counter, isBase }] of entries) {
    places.set(name, places.size)
    writer.raw(nameBytes(name)).varint((counter - last) * 2 + (isBase ? 1 : 0))
    last = counter
  }
  return places
}

function writeStamp(writer: ByteWriter, stamp: Dot, places: ReadonlyMap<string, number>): void {
  if (stamp.origin === '') writer.varint(0).varint(stamp.counter)
  else writer.varint((places.get(stamp.origin) as number) + 1)
}

function writeCell(writer: ByteWriter, cell: Cell, places: ReadonlyMap<string, number>, write: WriteValue): void {
  writeStamp(writer, cell.stamp, places)
  write(writer, cell.value)
  if (cell.value === undefined) return
  writer.varint(cell.adds?.size ?? 0)
  for (const [origin, tally] of cell.adds ?? []) writer.varint(places.get(origin) as number).string(String(tally.total))
}

interface Listed {
  readonly name: string
  readonly counter: number
}

function readBase(reader: ByteReader, name: string, read: ReadValue): BaseNote {
  const meta = readMeta(reader)
  const at = reader.varint()
  const highest = reader.varint()
  const horizon = reader.varint()
  const has = reader.u8()
  const digest = (has & HAS_DIGEST) === 0 ? '' : reader.raw(DIGEST_BYTES).toString('base64url')
  const epoch = (has & HAS_EPOCH) === 0 ? undefined : readEpoch(reader)
  const marks: Mark[] = []
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) marks.push({ at: reader.varint(), counter: reader.varint() })
  const covered = new Map<string, Covered>()
  const listed: Listed[] = []
  let counter = horizon
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) {
    const entry = readName(reader)
    const step = reader.varint()
    counter += Math.floor(step / 2)
    covered.set(entry, { counter, isBase: step % 2 === 1 })
    listed.push({ name: entry, counter })
  }
  const lifetimeStamp = readStamp(reader, listed)
  const cells = new Map<string, Cell>()
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) cells.set(reader.string(MAX_FIELD_BYTES), readCell(reader, listed, read))
  return { kind: 'base', name, meta, lifetimeStamp, cells, highest, at, horizon, digest, covered, marks, epoch }
}

function readStamp(reader: ByteReader, listed: readonly Listed[]): Dot {
  const place = reader.varint(listed.length)
  if (place === 0) return { origin: '', counter: reader.varint() }
  const { name, counter } = listed[place - 1] as Listed
  return { origin: name, counter }
}

function readCell(reader: ByteReader, listed: readonly Listed[], read: ReadValue): Cell {
  const stamp = readStamp(reader, listed)
  const value = read(reader)
  if (value === undefined) return { stamp, value }
  const count = reader.varint(MAX_ITEMS)
  if (count === 0) return { stamp, value }
  const adds = new Map<string, Tally>()
  for (let left = count; left > 0; left--) {
    const { name, counter } = listed[reader.varint(listed.length - 1)] as Listed
    adds.set(name, { sequence: counter, total: Number(reader.string(32)) })
  }
  return { stamp, value, adds }
}

// ---------------------------------------------------------------- deltas

function writeDelta(writer: ByteWriter, delta: DeltaNote, write: WriteValue): void {
  writer
    .u8(write === writeValue ? DELTA_1 : DELTA_2)
    .varint(delta.counter)
    .varint(delta.at)
    .varint(delta.parents.length)
  for (const parent of delta.parents) writer.raw(nameBytes(parent))
  writer.varint(delta.touchAt).u8(delta.lifetime === undefined ? 0 : 1)
  if (delta.lifetime !== undefined) {
    const { idleMs, touchEveryMs, absoluteAt } = delta.lifetime
    for (const ms of [idleMs, touchEveryMs, absoluteAt]) writer.varint(Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms))))
  }
  writer.varint(delta.sets.size)
  for (const [field, value] of delta.sets) write(writer.string(field), value)
  writer.varint(delta.adds.size)
  for (const [field, { generation, from, total }] of delta.adds) {
    writer.string(field).u8(generation.origin === '' ? 0 : 1)
    if (generation.origin !== '') writer.raw(nameBytes(generation.origin))
    writer.varint(generation.counter).string(from).string(String(total))
  }
}

function readDelta(reader: ByteReader, name: string, read: ReadValue): DeltaNote {
  const counter = reader.varint()
  const at = reader.varint()
  const parents: string[] = []
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) parents.push(readName(reader))
  const touchAt = reader.varint()
  const lifetime = reader.u8() === 0 ? undefined : { idleMs: reader.varint(), touchEveryMs: reader.varint(), absoluteAt: reader.varint() }
  const sets = new Map<string, string | undefined>()
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) sets.set(reader.string(MAX_FIELD_BYTES), read(reader))
  const adds = new Map<string, DeltaAdd>()
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) {
    const field = reader.string(MAX_FIELD_BYTES)
    const origin = reader.u8() === 0 ? '' : readName(reader)
    adds.set(field, { generation: { origin, counter: reader.varint() }, from: reader.string(32), total: Number(reader.string(32)) })
  }
  return { kind: 'delta', name, counter, at, parents, touchAt, ...(lifetime && { lifetime }), sets, adds }
}

// ---------------------------------------------------------------- parts

/** The text with a length one too high, so that 0 means removed. */
function writeValue(writer: ByteWriter, value: string | undefined): void {
  if (value === undefined) {
    writer.varint(0)
    return
  }
  const text = Buffer.from(value)
  writer.varint(text.length + 1).raw(text)
}

function readValue(reader: ByteReader): string | undefined {
  const size = reader.varint(MAX_TEXT_BYTES + 1)
  return size === 0 ? undefined : reader.raw(size - 1).toString('utf8')
}

/** Twice the length, one more if compressed, and again one, so that 0 means removed. */
function writeSqueezed(writer: ByteWriter, value: string | undefined): void {
  if (value === undefined) {
    writer.varint(0)
    return
  }
  const text = Buffer.from(value)
  const squeezed = squeeze(text)
  const bytes = squeezed ?? text
  writer.varint(bytes.length * 2 + (squeezed === undefined ? 0 : 1) + 1).raw(bytes)
}

function readSqueezed(reader: ByteReader): string | undefined {
  const head = reader.varint(MAX_TEXT_BYTES * 2 + 2) - 1
  if (head < 0) return undefined
  const bytes = reader.raw(Math.floor(head / 2))
  return (head % 2 === 1 ? unsqueeze(bytes, MAX_TEXT_BYTES) : bytes).toString('utf8')
}

function nameBytes(name: string): Buffer {
  return Buffer.from(name, 'base64url')
}

function readName(reader: ByteReader): string {
  return reader.raw(NAME_BYTES).toString('base64url')
}
