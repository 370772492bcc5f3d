import type { RecordView } from '../seam.ts'
import type { FieldChange, Fields } from './fields.ts'

/** The fields of a session that go along to a new id, while its handler may go on changing them. */
export class KeptFields {
  readonly #fields: Fields
  readonly #names: ReadonlySet<unknown> | boolean
  /** What the request had changed when it asked for the new id, and when the new record was made. */
  readonly #asked: FieldChange
  #made: FieldChange
  /** Defaults that were removed: they stay removed under the new id, too. */
  readonly removedDefaults: readonly string[]

  constructor(fields: Fields, keep: boolean | readonly PropertyKey[]) {
    this.#fields = fields
    this.#names = typeof keep === 'boolean' ? keep : new Set(keep)
    this.#asked = fields.changes()
    this.#made = this.#asked
    this.removedDefaults = fields.removedDefaults().filter((name) => this.#isKept(name))
  }

  /** For the new record; `newest`: the old one by now. */
  encoded(newest: RecordView | undefined): Map<string, string> {
    this.#made = this.#fields.changes()
    return this.#fields.encodeAll((name) => this.#isKept(name), newest)
  }

  /** The handler goes on from `record`; what it has changed meanwhile stays to be stored, kept or not. */
  goOnFrom(record: RecordView): void {
    this.#fields.rebase(record, { set: this.#stored('set'), add: this.#stored('add') })
  }

  #stored<K extends 'set' | 'add'>(kind: K): FieldChange[K] {
    const dropped = [...this.#asked[kind]].filter(([name]) => !this.#isKept(name))
    const kept = [...this.#made[kind]].filter(([name]) => this.#isKept(name))
    return new Map<string, unknown>([...dropped, ...kept]) as FieldChange[K]
  }

  #isKept(name: string): boolean {
    return typeof this.#names === 'boolean' ? this.#names : this.#names.has(name)
  }
}
