import { isUtf8 } from 'node:buffer'
import { SessionError } from '../errors.ts'

const FIRST_BYTES = 256

/** What a reader throws on input that is too short, too long or not canonical: a peer broke the protocol. */
function malformed(what: string): SessionError {
  return new SessionError(
    'PEER_PROTOCOL',
    `A message of another server is malformed (${what}). Do all servers run compatible versions of holdfast?`,
  )
}

/**
 * Reads fixed layouts from bytes of outside. Every method checks its bounds and throws PEER_PROTOCOL; none copies, so
 * what is kept beyond the call must be copied by the caller.
 */
export class ByteReader {
  readonly #source: Buffer
  #offset = 0

  constructor(source: Uint8Array) {
    this.#source = Buffer.isBuffer(source) ? source : Buffer.from(source.buffer, source.byteOffset, source.byteLength)
  }

  get remaining(): number {
    return this.#source.length - this.#offset
  }

  u8(): number {
    return this.#source[this.#advance(1)] as number
  }

  /** Big endian. */
  u32(): number {
    return this.#source.readUInt32BE(this.#advance(4))
  }

  /** Unsigned, little-endian groups of 7 bits, at most 2^53 - 1, shortest form only. */
  varint(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    let scale = 1
    for (let count = 1; ; count++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (byte === 0 && count > 1) throw malformed('number not in shortest form')
        break
      }
      if (count === 8) throw malformed('number too long')
      scale *= 128
    }
    if (value > max) throw malformed('number out of range')
    return value
  }

  /** A varint length, then that many bytes: a view, not a copy. */
  bytes(maxBytes: number): Buffer {
    return this.raw(this.varint(maxBytes))
  }

  /** Exactly `size` bytes without a length before them: a view, not a copy. */
  raw(size: number): Buffer {
    const start = this.#advance(size)
    return this.#source.subarray(start, start + size)
  }

  /** A varint length in bytes, then UTF-8. */
  string(maxBytes: number): string {
    const view = this.bytes(maxBytes)
    if (!isUtf8(view)) throw malformed('text is not UTF-8')
    return view.toString('utf8')
  }

  /** All that is left. */
  rest(): Buffer {
    return this.raw(this.remaining)
  }

  /** Throws unless everything has been read. */
  end(): void {
    if (this.remaining > 0) throw malformed('trailing bytes')
  }

  #advance(size: number): number {
    const start = this.#offset
    if (size > this.#source.length - start) throw malformed('too short')
    this.#offset = start + size
    return start
  }
}

/** Writes what {@link ByteReader} reads, into a buffer that grows. */
export class ByteWriter {
  #target: Buffer
  #length = 0

  constructor(firstBytes: number = FIRST_BYTES) {
    this.#target = Buffer.allocUnsafe(Math.max(16, firstBytes))
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const at = this.#reserve(1)
    this.#target[at] = value
    return this
  }

  u32(value: number): this {
    const at = this.#reserve(4)
    this.#target.writeUInt32BE(value, at)
    return this
  }

  /** A safe integer >= 0; anything else is a mistake of ours and throws a RangeError. */
  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('varint must be a safe integer >= 0')
    let left = value
    let at = this.#reserve(8)
    this.#length = at
    while (left >= 0x80) {
      this.#target[at++] = (left % 128) | 0x80
      left = Math.floor(left / 128)
    }
    this.#target[at++] = left
    this.#length = at
    return this
  }

  bytes(value: Uint8Array): this {
    return this.varint(value.length).raw(value)
  }

  raw(value: Uint8Array): this {
    // The room comes first: making it may replace the target.
    const at = this.#reserve(value.length)
    this.#target.set(value, at)
    return this
  }

  string(value: string): this {
    const size = Buffer.byteLength(value)
    this.varint(size)
    const at = this.#reserve(size)
    this.#target.write(value, at, 'utf8')
    return this
  }

  /** What has been written: a view that later writes may still share. */
  finish(): Buffer {
    return this.#target.subarray(0, this.#length)
  }

  /** Reserves room and returns where it starts. */
  #reserve(size: number): number {
    const start = this.#length
    const needed = start + size
    if (needed > this.#target.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#target.length * 2))
      this.#target.copy(grown, 0, 0, start)
      this.#target = grown
    }
    this.#length = needed
    return start
  }
}
