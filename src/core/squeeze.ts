/**
 * Values made shorter. Lengths are what a listener sees of encrypted cookies, so compression leaks: text that a visitor
 * controls, compressed together with a secret, is shorter when it repeats the secret (CRIME and BREACH, Rizzo and Duong 2012;
 * Gluck, Harris and Prado 2013). So every field is compressed for itself, and its length is padded to one of a few.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import { ByteReader, ByteWriter } from './bytes.ts'

/** Shorter ones gain nothing. */
const LEAST_CHARS = 64
const LEAST_PAD = 32
/** Quality 6 is as small as 9 at these sizes; a window of 64 KB keeps the encoder's memory small. */
const OPTIONS = {
  params: {
    [constants.BROTLI_PARAM_QUALITY]: 6,
    [constants.BROTLI_PARAM_LGWIN]: 16,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
  },
}

/** Varint length, Brotli, zeros. Undefined: `text` is no longer than that. */
export function squeeze(text: Buffer): Buffer | undefined {
  if (text.length < LEAST_CHARS) return undefined
  const packed = brotliCompressSync(text, OPTIONS)
  const bytes = new ByteWriter(packed.length + 8).bytes(packed).finish()
  const size = paddedLength(bytes.length)
  if (size >= text.length) return undefined
  const padded = Buffer.alloc(size)
  padded.set(bytes)
  return padded
}

/** Throws on anything that `squeeze` did not make, and on a text of more than `maxBytes`. */
export function unsqueeze(padded: Uint8Array, maxBytes: number): Buffer {
  const packed = new ByteReader(padded).bytes(padded.length)
  return brotliDecompressSync(packed, { maxOutputLength: maxBytes })
}

/** Multiples of 32 bytes up to 512, then eight steps from each power of two to the next: at most an eighth is added. */
export function paddedLength(bytes: number): number {
  const step = Math.max(LEAST_PAD, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 3))
  return Math.ceil(bytes / step) * step
}
