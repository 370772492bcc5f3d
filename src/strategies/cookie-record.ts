import type { JournalState } from '../core/journal.ts'
import { type Cells, shownValue } from '../core/merge.ts'
import { isSpilled, type SpilledValues } from '../core/spilled.ts'
import type { RecordMeta, RecordView } from '../seam.ts'

/** A state of the journal as the engine sees it. */
export class CookieRecord implements RecordView {
  readonly key: string
  readonly meta: RecordMeta
  readonly #cells: Cells
  readonly #spilled: SpilledValues | undefined
  #bytes = -1

  constructor(key: string, state: JournalState, spilled?: SpilledValues) {
    this.key = key
    this.meta = state.meta
    this.#cells = state.cells
    this.#spilled = spilled
  }

  get(field: string): string | undefined {
    const value = shownValue(this.#cells.get(field))
    return this.#spilled !== undefined && isSpilled(value) ? this.#spilled.get(value) : value
  }

  isRemoved(field: string): boolean {
    const cell = this.#cells.get(field)
    return cell !== undefined && cell.value === undefined
  }

  *fields(): Iterable<string> {
    for (const [field, cell] of this.#cells) if (cell.value !== undefined) yield field
  }

  get bytes(): number {
    if (this.#bytes < 0) {
      this.#bytes = 0
      for (const field of this.fields()) this.#bytes += Buffer.byteLength(field) + Buffer.byteLength(this.get(field) as string)
    }
    return this.#bytes
  }
}
