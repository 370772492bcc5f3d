/** Writes and reads the parts of records at rest: numbers, texts, and what is the same in most sessions as a number. */
import type { Dot } from '../core/merge.ts'

/** Texts that are the same in most sessions: so many are spelled out once for all. */
const MOST_KNOWN = 1_024
/** Dots of one record that a number stands for. */
const MOST_DOTS = 16
const INCARNATION_CHARS = 8
const WIDE = /[\u0100-\uffff]/

/** Numbers above 0 for texts that come again; 0 for those beyond the bound. */
class Known {
  readonly #texts: string[] = []
  readonly #numbers = new Map<string, number>()

  numberOf(text: string): number {
    return this.#numbers.get(text) ?? this.#learn(text)
  }

  textOf(number: number): string {
    return this.#texts[number - 1] as string
  }

  #learn(text: string): number {
    if (this.#texts.length === MOST_KNOWN) return 0
    // A copy: a slice would keep what it was cut from.
    const kept = Buffer.from(text, 'utf8').toString('utf8')
    this.#numbers.set(kept, this.#texts.push(kept))
    return this.#texts.length
  }
}

const fields = new Known()
const origins = new Known()

/** One buffer for all: nothing else runs between filling and reading it. */
let target = Buffer.allocUnsafeSlow(16_384)

export class Packer {
  readonly #dots: Dot[] = []
  #at = 0

  byte(value: number): void {
    this.#reserve(1)
    target[this.#at++] = value
  }

  /** Groups of 7 bits, the lowest first. */
  number(value: number): void {
    this.#reserve(8)
    let left = value
    while (left >= 0x80) {
      target[this.#at++] = (left % 128) | 0x80
      left = Math.floor(left / 128)
    }
    target[this.#at++] = left
  }

  /** True: the text is packed as UTF-8, because a character of it needs two bytes. */
  isWide(text: string): boolean {
    return WIDE.test(text)
  }

  /** A text of which is known elsewhere whether it is wide. */
  plain(text: string, isWide: boolean): void {
    const size = isWide ? Buffer.byteLength(text) : text.length
    this.number(size)
    this.#reserve(size)
    this.#at += target.write(text, this.#at, isWide ? 'utf8' : 'latin1')
  }

  text(value: string): void {
    const isWide = WIDE.test(value)
    this.byte(isWide ? 1 : 0)
    this.plain(value, isWide)
  }

  field(name: string): void {
    const number = fields.numberOf(name)
    this.number(number)
    if (number === 0) this.text(name)
  }

  origin(name: string): void {
    // Those that a server uses for one session only would fill the places.
    const number = name.length > INCARNATION_CHARS ? 0 : origins.numberOf(name)
    this.number(number)
    if (number === 0) this.text(name)
  }

  dot(dot: Dot): void {
    this.marked(dot, 0, 1)
  }

  /** Its place among the dots of this record, times `scale`, and a mark below that; a new one is spelled out. */
  marked(dot: Dot, mark: number, scale: number): void {
    let place = 0
    for (const { counter, origin } of this.#dots) {
      if (counter === dot.counter && origin === dot.origin) break
      place++
    }
    this.number(place * scale + mark)
    if (place < this.#dots.length) return
    this.origin(dot.origin)
    this.number(dot.counter)
    if (this.#dots.length < MOST_DOTS) this.#dots.push(dot)
  }

  /** A string of one byte a character. */
  finish(): string {
    return target.toString('latin1', 0, this.#at)
  }

  #reserve(size: number): void {
    if (this.#at + size <= target.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(target.length * 2, this.#at + size))
    target.copy(grown, 0, 0, this.#at)
    target = grown
  }
}

export class Unpacker {
  readonly #packed: string
  readonly #dots: Dot[] = []
  #at = 0

  constructor(packed: string) {
    this.#packed = packed
  }

  byte(): number {
    return this.#packed.charCodeAt(this.#at++)
  }

  number(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#packed.charCodeAt(this.#at++)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }

  plain(isWide: boolean): string {
    const size = this.number()
    const start = this.#at
    this.#at += size
    const text = this.#packed.slice(start, this.#at)
    return isWide ? Buffer.from(text, 'latin1').toString('utf8') : text
  }

  text(): string {
    return this.plain(this.byte() === 1)
  }

  field(): string {
    const number = this.number()
    return number === 0 ? this.text() : fields.textOf(number)
  }

  origin(): string {
    const number = this.number()
    return number === 0 ? this.text() : origins.textOf(number)
  }

  dot(): Dot {
    return this.dotAt(this.number())
  }

  /** What `marked` wrote, its mark taken off. */
  dotAt(place: number): Dot {
    const known = this.#dots[place]
    if (known !== undefined) return known
    const dot = { origin: this.origin(), counter: this.number() }
    if (this.#dots.length < MOST_DOTS) this.#dots.push(dot)
    return dot
  }
}
