/**
 * A record at rest: one string of one byte a character. As objects, a session of 8 fields takes three times its size, and the garbage
 * collector visits each of them; a string is one object without references.
 *
 * It never leaves the process. Times and heads come first: what walks over all sessions reads them without unpacking. An origin is
 * spelled out where it is first named, and a number from then on.
 */
import type { Heads } from '../core/floor.ts'
import type { Cell, Dot, Tally } from '../core/merge.ts'
import { ClusterRecord } from './record.ts'

const PERSISTENT = 1
const BOUND = 2

const REMOVED = 0
const PRESENT = 1
const COUNTED = 2

/** Names of fields are the same in most sessions: so many are spelled out once for all. */
const MOST_NAMES = 1_024
const names: string[] = []
const numbers = new Map<string, number>()

const CHARACTERS: readonly string[] = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))
const WIDE = /[\u0100-\uffff]/

/** Gathers parts: joined at the end, they are one flat string. */
class Packer {
  readonly #parts: string[] = []
  readonly #origins: string[] = []

  byte(value: number): void {
    this.#parts.push(CHARACTERS[value] as string)
  }

  /** Groups of 7 bits, the lowest first. */
  number(value: number): void {
    let left = value
    while (left >= 0x80) {
      this.#parts.push(CHARACTERS[(left % 128) | 0x80] as string)
      left = Math.floor(left / 128)
    }
    this.#parts.push(CHARACTERS[left] as string)
  }

  /** As it is, or as UTF-8 where a character needs two bytes: the lowest bit of the length tells. */
  text(value: string): void {
    const isWide = WIDE.test(value)
    const text = isWide ? Buffer.from(value, 'utf8').toString('latin1') : value
    this.number(text.length * 2 + (isWide ? 1 : 0))
    this.#parts.push(text)
  }

  /** Its number, or 0 and the name. */
  field(name: string): void {
    const number = numbers.get(name) ?? learn(name)
    this.number(number)
    if (number === 0) this.text(name)
  }

  origin(name: string): void {
    const known = this.#origins.indexOf(name)
    this.number(known === -1 ? this.#origins.length : known)
    if (known === -1) {
      this.#origins.push(name)
      this.text(name)
    }
  }

  dot({ counter, origin }: Dot): void {
    this.origin(origin)
    this.number(counter)
  }

  finish(): string {
    return this.#parts.join('')
  }
}

class Unpacker {
  readonly #text: string
  readonly #origins: string[] = []
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  byte(): number {
    return this.#text.charCodeAt(this.#at++)
  }

  number(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#text.charCodeAt(this.#at++)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }

  text(): string {
    const size = this.number()
    const start = this.#at
    this.#at += size >>> 1
    const text = this.#text.slice(start, this.#at)
    return (size & 1) === 0 ? text : Buffer.from(text, 'latin1').toString('utf8')
  }

  field(): string {
    const number = this.number()
    return number === 0 ? this.text() : (names[number - 1] as string)
  }

  origin(): string {
    const index = this.number()
    return (this.#origins[index] ??= this.text())
  }

  dot(): Dot {
    return { origin: this.origin(), counter: this.number() }
  }

  dots(): Heads {
    return Array.from({ length: this.number() }, () => this.dot())
  }
}

export function packRecord(record: ClusterRecord): string {
  const { bytes, cells, coverage, heads, lifetimeStamp, meta } = record
  const packer = new Packer()
  for (const ms of [meta.lastActiveAt, meta.idleMs, meta.absoluteAt, meta.createdAt, meta.touchEveryMs]) packer.number(wholeMs(ms))
  packer.number(heads.length)
  for (const head of heads) packer.dot(head)
  packer.byte((meta.persistent ? PERSISTENT : 0) | (meta.userId === undefined ? 0 : BOUND))
  if (meta.userId !== undefined) packer.text(meta.userId)
  packer.dot(lifetimeStamp)
  packer.number(coverage.size)
  for (const [origin, counter] of coverage) {
    packer.origin(origin)
    packer.number(counter)
  }
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
  const lastActiveAt = unpacker.number()
  const idleMs = unpacker.number()
  const absoluteAt = unpacker.number()
  const createdAt = unpacker.number()
  const touchEveryMs = unpacker.number()
  const heads = unpacker.dots()
  const flags = unpacker.byte()
  const userId = (flags & BOUND) === 0 ? undefined : unpacker.text()
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
  const unpacker = new Unpacker(packed)
  const idleEndAt = unpacker.number() + unpacker.number()
  return Math.min(idleEndAt, unpacker.number())
}

export function headsOfPacked(packed: string): Heads {
  const unpacker = new Unpacker(packed)
  for (let time = 0; time < 5; time++) unpacker.number()
  return unpacker.dots()
}

function packCell(packer: Packer, { adds, stamp, value }: Cell): void {
  packer.byte(value === undefined ? REMOVED : adds === undefined ? PRESENT : PRESENT | COUNTED)
  packer.dot(stamp)
  if (value === undefined) return
  packer.text(value)
  if (adds === undefined) return
  packer.number(adds.size)
  for (const [origin, { sequence, total }] of adds) {
    packer.origin(origin)
    packer.number(sequence)
    packer.text(String(total))
  }
}

function unpackCell(unpacker: Unpacker): Cell {
  const flags = unpacker.byte()
  const stamp = unpacker.dot()
  if ((flags & PRESENT) === 0) return { stamp, value: undefined }
  const value = unpacker.text()
  if ((flags & COUNTED) === 0) return { stamp, value }
  const adds = new Map<string, Tally>()
  for (let left = unpacker.number(); left > 0; left--) {
    adds.set(unpacker.origin(), { sequence: unpacker.number(), total: Number(unpacker.text()) })
  }
  return { stamp, value, adds }
}

function learn(name: string): number {
  if (names.length === MOST_NAMES) return 0
  // A copy: a slice would keep what it was cut from.
  const kept = Buffer.from(name, 'utf8').toString('utf8')
  numbers.set(kept, names.push(kept))
  return names.length
}

/** An endless lifetime is a very long one. */
function wholeMs(ms: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(ms)))
}
