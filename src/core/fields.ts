/**
 * The fields of one request's session: decoded when first touched, compared when committed. What a handler does not touch
 * costs nothing.
 */
import { SessionError } from '../errors.ts'
import type { Change, RecordView } from '../seam.ts'
import type { FieldCodec } from '../types.ts'

export const FIELD_NAME_BYTES = 128

interface Touched {
  value: unknown
  /** What the record held when the field was touched; undefined: nothing (its default was shown). */
  readonly encoded: string | undefined
  assigned: boolean
}

export type FieldChange = Pick<Change, 'set' | 'add'>

const NOTHING: FieldChange = { set: new Map(), add: new Map() }

/** How a session's fields are read and written; one per `createSessions`. */
export interface FieldRules {
  readonly codec: FieldCodec
  readonly initial: (() => object) | undefined
  /** The schema: throws when the fields of a stored record, defaults filled in, do not pass; may transform them. */
  readonly check?: (all: Record<string, unknown>, key: string) => Record<string, unknown>
  /** The error for a stored field that does not decode. */
  undecodable(key: string, field: string, cause: unknown): SessionError
}

export class Fields {
  #view: RecordView | undefined
  readonly #rules: FieldRules
  #checked: boolean
  #defaults: Record<string, unknown> | undefined
  readonly #touched = new Map<string, Touched | 'removed'>()
  #adds: Map<string, { by: number; from: number }> | undefined
  /** What was stored since the fields were last looked at: most requests do not look again, and need not pay for it. */
  #stored: FieldChange | undefined
  /** True once a stored field was shown to the handler: the visitor has then seen this state. */
  decoded = false
  /** Counts what the handler does: tells whether it went on after the answer had left. */
  accesses = 0

  constructor(view: RecordView | undefined, rules: FieldRules) {
    this.#view = view
    this.#rules = rules
    this.#checked = rules.check === undefined || view === undefined
  }

  /** Decodes the whole stored record and checks it against the schema, once. */
  check(): void {
    this.#goOn()
    const { check } = this.#rules
    const view = this.#view
    if (this.#checked || check === undefined || view === undefined) return
    this.#checked = true
    const stored = Object.entries(this.#defaultOf() ?? {}).filter(([name]) => !view.isRemoved(name))
    for (const name of view.fields()) stored.push([name, this.#decode(name, view.get(name) as string)])
    for (const [name, value] of Object.entries(check(Object.fromEntries(stored), view.key))) {
      if (!this.#touched.has(name)) this.#touched.set(name, { value, encoded: view.get(name), assigned: false })
    }
  }

  /** Every field, decoded. */
  snapshot(): Record<string, unknown> {
    return Object.fromEntries(this.names().map((name) => [name, this.get(name)]))
  }

  get(name: string): unknown {
    this.accesses++
    this.#goOn()
    const touched = this.#touched.get(name)
    if (touched !== undefined) return touched === 'removed' ? undefined : touched.value
    return this.#touch(name)?.value
  }

  #touch(name: string): Touched | undefined {
    this.decoded = true
    this.check()
    const checked = this.#touched.get(name)
    if (checked !== undefined && checked !== 'removed') return checked
    const encoded = this.#view?.get(name)
    if (encoded === undefined) {
      const defaults = this.#view?.isRemoved(name) ? undefined : this.#defaultOf()
      if (defaults === undefined || !Object.hasOwn(defaults, name) || defaults[name] === undefined) return undefined
      return this.#keep(name, { value: defaults[name], encoded: undefined, assigned: false })
    }
    return this.#keep(name, { value: this.#decode(name, encoded), encoded, assigned: false })
  }

  #decode(name: string, encoded: string): unknown {
    try {
      return this.#rules.codec.decode(encoded, name)
    } catch (cause) {
      throw this.#rules.undecodable(this.#view?.key ?? '', name, cause)
    }
  }

  #keep(name: string, touched: Touched): Touched {
    this.#touched.set(name, touched)
    return touched
  }

  #defaultOf(): Record<string, unknown> | undefined {
    if (this.#rules.initial !== undefined) this.#defaults ??= this.#rules.initial() as Record<string, unknown>
    return this.#defaults
  }

  set(name: string, value: unknown): void {
    this.accesses++
    if (value === undefined) return this.remove(name)
    checkName(name)
    this.#goOn()
    this.#adds?.delete(name)
    const before = this.#touched.get(name)
    const encoded = before === undefined || before === 'removed' ? this.#view?.get(name) : before.encoded
    this.#touched.set(name, { value, encoded, assigned: true })
  }

  remove(name: string): void {
    this.accesses++
    this.#goOn()
    this.#adds?.delete(name)
    if (this.has(name)) this.#touched.set(name, 'removed')
  }

  add(name: string, by: number): void {
    checkName(name)
    if (!Number.isFinite(by)) throw new SessionError('FIELD_INVALID', `session.add('${name}', by): by must be a finite number.`)
    const current = this.get(name) ?? 0
    if (typeof current !== 'number') throw new SessionError('FIELD_INVALID', `session.add('${name}'): the field holds no number.`)
    const touched = this.#touched.get(name)
    if (touched === 'removed' || (touched !== undefined && touched.assigned && !this.#adds?.has(name))) return this.set(name, current + by)
    const pending = this.#adds?.get(name)
    this.#adds ??= new Map()
    // Where the field is absent it starts from the default that was shown; where it exists, nobody needs a start.
    const from = pending?.from ?? (touched?.encoded === undefined ? current : 0)
    this.#adds.set(name, { by: (pending?.by ?? 0) + by, from })
    this.#touched.set(name, { value: current + by, encoded: touched?.encoded, assigned: true })
  }

  has(name: string): boolean {
    this.check()
    const touched = this.#touched.get(name)
    if (touched !== undefined) return touched !== 'removed'
    if (this.#view?.get(name) !== undefined) return true
    if (this.#view?.isRemoved(name)) return false
    const defaults = this.#defaultOf()
    return defaults !== undefined && Object.hasOwn(defaults, name) && defaults[name] !== undefined
  }

  names(): string[] {
    this.decoded = true
    this.check()
    const names = new Set<string>(this.#view?.fields())
    for (const name of Object.keys(this.#defaultOf() ?? {})) if (this.has(name)) names.add(name)
    for (const [name, touched] of this.#touched) {
      if (touched === 'removed') names.delete(name)
      else names.add(name)
    }
    return [...names]
  }

  /** What differs from the record. Throws FIELD_INVALID where a value cannot be stored. */
  changes(): FieldChange {
    this.#goOn()
    if (this.#touched.size === 0) return NOTHING
    let set: Map<string, string | undefined> | undefined
    for (const [name, touched] of this.#touched) {
      if (touched === 'removed') {
        if (this.#view?.get(name) !== undefined || this.#defaultHas(name)) (set ??= new Map()).set(name, undefined)
      } else if (!this.#adds?.has(name)) {
        const encoded = this.#changed(name, touched)
        if (encoded !== undefined) (set ??= new Map()).set(name, encoded)
      }
    }
    if (set === undefined && this.#adds === undefined) return NOTHING
    return { set: set ?? NOTHING.set, add: this.#adds === undefined ? NOTHING.add : new Map(this.#adds) }
  }

  #defaultHas(name: string): boolean {
    return !this.#view?.isRemoved(name) && Object.hasOwn(this.#defaultOf() ?? {}, name)
  }

  /** The new encoding, or undefined when it is what the record, or an untouched default, already says. */
  #changed(name: string, touched: Touched): string | undefined {
    const { value, encoded, assigned } = touched
    if (!assigned && (value === null || typeof value !== 'object')) return undefined
    const now = this.#rules.codec.encode(value, name)
    if (encoded !== undefined) return now === encoded ? undefined : now
    if (assigned) return now
    // A default was shown and may have been changed in place: compare it with a fresh one.
    const fresh = (this.#rules.initial?.() as Record<string, unknown> | undefined)?.[name]
    return fresh !== undefined && this.#rules.codec.encode(fresh, name) === now ? undefined : now
  }

  /** Defaults that do not show, because somebody has removed them. */
  removedDefaults(): string[] {
    const defaults = Object.entries(this.#defaultOf() ?? {})
    return defaults.filter(([name, value]) => value !== undefined && !this.has(name)).map(([name]) => name)
  }

  /** Everything, encoded: for a record under a new id. `newest`: the record by now; what this request changed is changed there. */
  encodeAll(keep: (name: string) => boolean, newest: RecordView | undefined = this.#view): Map<string, string> {
    const { set, add } = this.changes()
    const all = new Map<string, string>()
    for (const name of newest?.fields() ?? []) if (keep(name)) all.set(name, newest?.get(name) as string)
    for (const [name, encoded] of set) {
      if (encoded === undefined) all.delete(name)
      else if (keep(name)) all.set(name, encoded)
    }
    for (const [name, { by, from }] of add) {
      if (keep(name)) all.set(name, this.#rules.codec.encode(this.#sum(name, newest, by, from), name))
    }
    return all
  }

  #sum(name: string, newest: RecordView | undefined, by: number, from: number): unknown {
    const counted = newest?.get(name)
    const current = counted === undefined ? from : this.#decode(name, counted)
    // Somebody has put something else there: what this request saw and counted stays.
    return typeof current === 'number' ? current + by : this.get(name)
  }

  /** Goes on from `view`, in which the changes `stored` are; what was changed since stays changed. */
  rebase(view: RecordView, stored: FieldChange): void {
    this.#goOn()
    this.#view = view
    this.#stored = stored
  }

  #goOn(): void {
    const stored = this.#stored
    if (stored === undefined) return
    this.#stored = undefined
    for (const [name, touched] of [...this.#touched]) {
      const counted = stored.add.get(name)
      if (touched === 'removed') {
        // Removed after its value, or its sum, was stored: that is still to be done.
        if (stored.set.has(name) && stored.set.get(name) === undefined) this.#touched.delete(name)
      } else if (counted !== undefined && this.#adds?.has(name) === true) this.#rebaseCounter(name, counted.by)
      else if (counted !== undefined) this.#touched.set(name, { value: touched.value, encoded: this.#view?.get(name), assigned: true })
      else this.#rebaseValue(name, touched, stored.set.has(name) ? stored.set.get(name) : touched.encoded, stored.set.has(name))
    }
  }

  #rebaseCounter(name: string, storedBy: number): void {
    const since = (this.#adds?.get(name)?.by ?? storedBy) - storedBy
    this.#adds?.delete(name)
    if (this.#adds?.size === 0) this.#adds = undefined
    this.#touched.delete(name)
    if (since !== 0) this.add(name, since)
  }

  /** `known`: what the record was given, or had, of the field. */
  #rebaseValue(name: string, touched: Touched, known: string | undefined, isStored: boolean): void {
    const { value, assigned } = touched
    const base = this.#view?.get(name)
    const isObject = typeof value === 'object' && value !== null
    if (touched.encoded === undefined && !assigned && !isStored) {
      // A default was shown: it stays comparable with a fresh one, unless another writer has set the field.
      if (base !== undefined) this.#touched.delete(name)
      return
    }
    const changedSince = isObject || assigned ? this.#rules.codec.encode(value, name) !== known : false
    if (changedSince) this.#touched.set(name, { value, encoded: base, assigned: true })
    // The handler may hold on to the object: it keeps its identity while the record still says the same.
    else if (isObject && base !== undefined && base === known) this.#touched.set(name, { value, encoded: base, assigned: false })
    else this.#touched.delete(name)
  }

  /** Takes `values` in place of a record that cannot be used; they are stored with the next commit. */
  repair(values: Record<string, unknown>): void {
    this.#goOn()
    this.#checked = true
    for (const name of this.#view?.fields() ?? []) if (!Object.hasOwn(values, name)) this.#touched.set(name, 'removed')
    for (const [name, value] of Object.entries(values)) this.set(name, value)
  }

  /** Forgets what the request did and saw, and starts from `view`. */
  reset(view: RecordView | undefined): void {
    this.#view = view
    this.#checked = this.#rules.check === undefined || view === undefined
    this.#touched.clear()
    this.#stored = undefined
    this.#adds = undefined
    this.#defaults = undefined
  }
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) > FIELD_NAME_BYTES) {
    throw new SessionError('FIELD_INVALID', `A field's name is longer than ${FIELD_NAME_BYTES} bytes: put long keys inside a field.`)
  }
}
