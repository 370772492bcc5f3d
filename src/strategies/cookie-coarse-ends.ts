/**
 * Ended sessions in a fixed amount of memory: one bucket each, with a tag of 32 bits. Where two meet, the bucket ends every session that
 * falls into it and ends no later than they did. So nothing is forgotten; of m sessions in n buckets, another one is
 * ended with them with a probability of about (m / n)² / 2.
 */
const BUCKETS = 2 ** 20
/** The tag of a bucket that two sessions share. */
const ANY = 0
const LAST_SECOND = 2 ** 32 - 1

export class CoarseEnds {
  readonly #tags = new Uint32Array(BUCKETS)
  /** Unix seconds; 0: empty. */
  readonly #untils = new Uint32Array(BUCKETS)
  #size = 0

  /** Buckets in use. */
  get size(): number {
    return this.#size
  }

  /** `fingerprint`: at least 12 base64url characters. `until`: Unix ms. */
  add(fingerprint: string, until: number): void {
    const { bucket, tag } = placeOf(fingerprint)
    this.put(bucket, tag, until)
  }

  put(bucket: number, tag: number, until: number): void {
    const at = bucket % BUCKETS
    const seconds = secondsOf(until)
    const known = this.#untils[at] as number
    if (known === 0) {
      this.#size++
      this.#tags[at] = tag
    } else if (this.#tags[at] !== tag) this.#tags[at] = ANY
    this.#untils[at] = Math.max(known, seconds)
  }

  /** `absoluteAt`: Unix ms. A session that ends later than all in its bucket is none of them. */
  has(fingerprint: string, absoluteAt: number): boolean {
    const { bucket, tag } = placeOf(fingerprint)
    return this.holds(bucket, tag, absoluteAt)
  }

  holds(bucket: number, tag: number, until: number): boolean {
    const at = bucket % BUCKETS
    if ((this.#untils[at] as number) < Math.floor(until / 1000) || this.#untils[at] === 0) return false
    return this.#tags[at] === ANY || this.#tags[at] === tag
  }

  clear(bucket: number): void {
    const at = bucket % BUCKETS
    if (this.#untils[at] !== 0) this.#size--
    this.#untils[at] = 0
  }

  *entries(): Generator<{ bucket: number; tag: number; until: number }> {
    if (this.#size === 0) return
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const until = this.#untils[bucket] as number
      if (until !== 0) yield { bucket, tag: this.#tags[bucket] as number, until: until * 1000 }
    }
  }
}

/** Keys are hashes: any of their bits will do. */
function placeOf(fingerprint: string): { bucket: number; tag: number } {
  const bytes = Buffer.from(fingerprint.slice(0, 12), 'base64url')
  return { bucket: bytes.readUInt32BE(0) % BUCKETS, tag: bytes.readUInt32BE(4) || 1 }
}

function secondsOf(ms: number): number {
  return Math.min(LAST_SECOND, Math.max(1, Math.ceil(ms / 1000)))
}
