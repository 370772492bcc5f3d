/** Bases and deltas as bytes: what a sealed note holds. Decoding happens after authentication and still trusts nothing. */
import { ByteReader, ByteWriter } from './bytes.ts'
import type { BaseNote, Covered, DeltaAdd, DeltaNote, JournalNote, Mark } from './journal.ts'
import type { Cell, Dot, Tally } from './merge.ts'
import { readMeta, writeMeta } from './record-codec.ts'

/** The first byte: kind and version of the layout. */
const BASE_1 = 0x11
const DELTA_1 = 0x21

const NAME_BYTES = 6
const DIGEST_BYTES = 16
const MAX_FIELD_BYTES = 128
const MAX_TEXT_BYTES = 4096
const MAX_ITEMS = 4096

export function encodeNote(note: JournalNote): Buffer {
  const writer = new ByteWriter(1024)
  if (note.kind === 'base') writeBase(writer, note)
  else writeDelta(writer, note)
  return writer.finish()
}

/** Undefined: not a layout of this version. */
export function decodeNote(name: string, bytes: Uint8Array): JournalNote | undefined {
  try {
    const reader = new ByteReader(bytes)
    const layout = reader.u8()
    const note = layout === BASE_1 ? readBase(reader, name) : layout === DELTA_1 ? readDelta(reader, name) : undefined
    reader.end()
    return note
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------- bases

function writeBase(writer: ByteWriter, base: BaseNote): void {
  writer.u8(BASE_1)
  writeMeta(writer, base.meta)
  writer.varint(base.at).varint(base.highest).varint(base.horizon)
  writer.u8(base.digest === '' ? 0 : 1)
  if (base.digest !== '') writer.raw(Buffer.from(base.digest, 'base64url'))
  writer.varint(base.marks.length)
  for (const mark of base.marks) writer.varint(mark.at).varint(mark.counter)
  const places = writeCovered(writer, base)
  writeStamp(writer, base.lifetimeStamp, places)
  writer.varint(base.cells.size)
  for (const [field, cell] of base.cells) writeCell(writer.string(field), cell, places)
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

function writeCell(writer: ByteWriter, cell: Cell, places: ReadonlyMap<string, number>): void {
  writeStamp(writer, cell.stamp, places)
  writeValue(writer, cell.value)
  if (cell.value === undefined) return
  writer.varint(cell.adds?.size ?? 0)
  for (const [origin, tally] of cell.adds ?? []) writer.varint(places.get(origin) as number).string(String(tally.total))
}

interface Listed {
  readonly name: string
  readonly counter: number
}

function readBase(reader: ByteReader, name: string): BaseNote {
  const meta = readMeta(reader)
  const at = reader.varint()
  const highest = reader.varint()
  const horizon = reader.varint()
  const digest = reader.u8() === 0 ? '' : reader.raw(DIGEST_BYTES).toString('base64url')
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
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) cells.set(reader.string(MAX_FIELD_BYTES), readCell(reader, listed))
  return { kind: 'base', name, meta, lifetimeStamp, cells, highest, at, horizon, digest, covered, marks }
}

function readStamp(reader: ByteReader, listed: readonly Listed[]): Dot {
  const place = reader.varint(listed.length)
  if (place === 0) return { origin: '', counter: reader.varint() }
  const { name, counter } = listed[place - 1] as Listed
  return { origin: name, counter }
}

function readCell(reader: ByteReader, listed: readonly Listed[]): Cell {
  const stamp = readStamp(reader, listed)
  const value = readValue(reader)
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

function writeDelta(writer: ByteWriter, delta: DeltaNote): void {
  writer.u8(DELTA_1).varint(delta.counter).varint(delta.at).varint(delta.parents.length)
  for (const parent of delta.parents) writer.raw(nameBytes(parent))
  writer.varint(delta.touchAt).u8(delta.lifetime === undefined ? 0 : 1)
  if (delta.lifetime !== undefined) {
    const { idleMs, touchEveryMs, absoluteAt } = delta.lifetime
    for (const ms of [idleMs, touchEveryMs, absoluteAt]) writer.varint(Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms))))
  }
  writer.varint(delta.sets.size)
  for (const [field, value] of delta.sets) writeValue(writer.string(field), value)
  writer.varint(delta.adds.size)
  for (const [field, { generation, from, total }] of delta.adds) {
    writer.string(field).u8(generation.origin === '' ? 0 : 1)
    if (generation.origin !== '') writer.raw(nameBytes(generation.origin))
    writer.varint(generation.counter).string(from).string(String(total))
  }
}

function readDelta(reader: ByteReader, name: string): DeltaNote {
  const counter = reader.varint()
  const at = reader.varint()
  const parents: string[] = []
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) parents.push(readName(reader))
  const touchAt = reader.varint()
  const lifetime = reader.u8() === 0 ? undefined : { idleMs: reader.varint(), touchEveryMs: reader.varint(), absoluteAt: reader.varint() }
  const sets = new Map<string, string | undefined>()
  for (let left = reader.varint(MAX_ITEMS); left > 0; left--) sets.set(reader.string(MAX_FIELD_BYTES), readValue(reader))
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

function nameBytes(name: string): Buffer {
  return Buffer.from(name, 'base64url')
}

function readName(reader: ByteReader): string {
  return reader.raw(NAME_BYTES).toString('base64url')
}
