/** Which fields leave the jar for the store when a session does not fit. */
import { applyDeltas, type DeltaNote } from '../core/journal.ts'
import { isSpilled, type SpilledValues } from '../core/spilled.ts'
import type { Draft, SessionId, Written } from '../seam.ts'
import type { CookieCommits } from './cookie-commits.ts'
import type { CookieOpened } from './cookie-opened.ts'
import type { Overflow } from './cookie-overflow.ts'

/** A reference takes about 50 bytes. */
const LEAST_BYTES = 200
/** Of the budget: what is left in the jar leaves room for the next writes. */
const KEPT_SHARE = 0.55
const BASE64 = 4 / 3

interface Candidate {
  readonly field: string
  readonly value: string
  readonly bytes: number
}

export class CookieSpills {
  readonly #overflow: Overflow
  readonly #commits: CookieCommits
  readonly #maxHeaderBytes: number

  constructor(overflow: Overflow, commits: CookieCommits, maxHeaderBytes: number) {
    this.#overflow = overflow
    this.#commits = commits
    this.#maxHeaderBytes = maxHeaderBytes
  }

  /** Undefined: no field is large enough to help. */
  draft(id: SessionId, draft: Draft): Promise<{ draft: Draft; values: SpilledValues }> | undefined {
    const chosen = this.#choose(draft.fields, 0)
    if (chosen.length === 0) return undefined
    return this.#stored(id.id, chosen, draft.meta).then(({ references, values }) => {
      const fields = new Map(draft.fields)
      for (const [field, reference] of references) fields.set(field, reference)
      return { draft: { ...draft, fields }, values }
    })
  }

  /** Undefined: no field is large enough to help. Resolves to undefined where it still does not fit. */
  write(from: CookieOpened, delta: DeltaNote): Promise<Written> | undefined {
    const fields = this.#inlineFields(from, delta)
    let ours = 0
    for (const bytes of from.sizes.values()) ours += bytes
    const chosen = this.#choose(fields, from.headerBytes - ours)
    return chosen.length === 0 ? undefined : this.#write(from, delta, chosen)
  }

  async #write(from: CookieOpened, delta: DeltaNote, chosen: readonly Candidate[]): Promise<Written> {
    const { references, values } = await this.#stored(from.id.id, chosen, from.record.meta)
    const sets = new Map(delta.sets)
    const older = new Map<string, string>()
    for (const [field, reference] of references) {
      if (sets.has(field)) sets.set(field, reference)
      else older.set(field, reference)
    }
    const spilled = { ...from, spilled: new Map([...(from.spilled ?? []), ...values]) }
    const lighter = { ...delta, sets }
    // Older fields move inside a fold and keep their stamps: moving them is no write that could undo another's.
    const written = older.size === 0 ? this.#commits.commit(spilled, lighter) : undefined
    return written ?? this.#commits.commitWhole(spilled, lighter, older) ?? this.#commits.refuse(from, delta)
  }

  /** Fields that may move: those written now, and the others where this request may fold. */
  #inlineFields(from: CookieOpened, delta: DeltaNote): Map<string, string> {
    const fields = new Map<string, string>()
    if (from.journal === undefined || !this.#commits.isYoung(from)) {
      for (const [field, value] of delta.sets) if (value !== undefined) fields.set(field, value)
      return fields
    }
    for (const [field, { value, adds }] of applyDeltas(from.state, [delta]).cells) {
      if (value !== undefined && adds === undefined) fields.set(field, value)
    }
    return fields
  }

  /** The largest first, until the rest fits into its share of the header. */
  #choose(fields: ReadonlyMap<string, string>, otherBytes: number): Candidate[] {
    const room = Math.max(0, (this.#maxHeaderBytes - otherBytes) * KEPT_SHARE) / BASE64
    const all = [...fields].map(
      ([field, value]): Candidate => ({ field, value, bytes: Buffer.byteLength(field) + Buffer.byteLength(value) }),
    )
    let left = all.reduce((sum, { bytes }) => sum + bytes, 0)
    const largest = all.filter(({ value, bytes }) => bytes >= LEAST_BYTES && !isSpilled(value)).sort((a, b) => b.bytes - a.bytes)
    const chosen: Candidate[] = []
    for (const candidate of largest) {
      if (left <= room && chosen.length > 0) break
      chosen.push(candidate)
      left -= candidate.bytes
    }
    return chosen
  }

  async #stored(
    sessionId: string,
    chosen: readonly Candidate[],
    meta: Draft['meta'],
  ): Promise<{ references: [field: string, reference: string][]; values: SpilledValues }> {
    const values = chosen.map(({ value }) => value)
    const references = await this.#overflow.spill(sessionId, values, meta)
    return {
      references: chosen.map(({ field }, index) => [field, references[index] as string]),
      values: new Map(references.map((reference, index) => [reference, values[index] as string])),
    }
  }
}
