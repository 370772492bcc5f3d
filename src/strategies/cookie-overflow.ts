/**
 * Large values outside the jar. A spilled value is a record of its own in a store, under a key made from its session and its
 * content, and never changes: what was read once may be kept, a retry creates nothing twice, and an older jar still finds
 * what it names. The store has it before any note names it; it goes with the absolute end of its session.
 */
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { isSpilled, type SpilledValues } from '../core/spilled.ts'
import type { MaybePromise, RecordMeta, SessionStore, StrategyContext } from '../seam.ts'
import { type StoreAccess, storeAccess } from './store-access.ts'

const DEADLINE_MS = 2_000
const CACHE_BYTES = 32 * 1024 * 1024
const WRITE_ID_BYTES = 16
const FIELD = 'value'
const KEY_CHARS = 43

export class Overflow {
  readonly #store: SessionStore
  readonly #context: StrategyContext
  readonly #access: StoreAccess
  readonly #known = new LRUCache<string, string>({ maxSize: CACHE_BYTES, sizeCalculation: (value) => value.length + 128 })

  constructor(store: SessionStore, context: StrategyContext) {
    this.#store = store
    this.#context = context
    // A spilled value that expires is no session that does.
    const emit: StrategyContext['emit'] = (type, event) => type !== 'expired' && context.emit(type, event)
    this.#access = storeAccess(store, DEADLINE_MS, { ...context, emit, ended: () => {} }, () => {})
  }

  get state(): string {
    return `${this.#store.name}: ${this.#access.state}`
  }

  get notProtected(): readonly string[] {
    return this.#store.notProtected ?? []
  }

  ready(): Promise<void> {
    return this.#access.ready()
  }

  close(): Promise<void> {
    this.#known.clear()
    return this.#access.close()
  }

  /** Stores values and resolves to what a note holds in their place, in order. Rejects with STORE_UNAVAILABLE: then no note may name them. */
  async spill(sessionId: string, values: readonly string[], meta: RecordMeta): Promise<string[]> {
    const now = this.#context.runtime.now()
    const left = Math.max(0, meta.absoluteAt - now)
    const kept: RecordMeta = { ...meta, userId: undefined, createdAt: now, lastActiveAt: now, idleMs: left, touchEveryMs: left }
    return Promise.all(
      values.map(async (value) => {
        const key = createHash('sha256').update(`spilled|${sessionId}|${value}`).digest('base64url')
        const draft = { meta: kept, fields: new Map([[FIELD, value]]) }
        const writeId = this.#context.runtime.randomBytes(WRITE_ID_BYTES).toString('base64url')
        // False: a write before this one has stored the same value.
        await this.#access.ask(() => this.#store.create(key, draft, writeId))
        const reference = `\0${key}:${Buffer.byteLength(value)}`
        this.#known.set(reference, value)
        return reference
      }),
    )
  }

  /** Undefined: the store has lost one of them. */
  load(references: readonly string[]): MaybePromise<SpilledValues | undefined> {
    const values = new Map<string, string>()
    for (const reference of references) {
      const known = this.#known.get(reference)
      if (known !== undefined) values.set(reference, known)
    }
    return values.size === references.length ? values : this.#loadFrom(references, values)
  }

  async #loadFrom(references: readonly string[], values: Map<string, string>): Promise<SpilledValues | undefined> {
    const missing = references.filter((reference) => !values.has(reference))
    const read = await Promise.all(missing.map((reference) => this.#access.ask(() => this.#store.read(reference.slice(1, KEY_CHARS + 1)))))
    for (const [index, record] of read.entries()) {
      const value = record === undefined || 'gone' in record ? undefined : record.fields.get(FIELD)
      if (value === undefined) return undefined
      const reference = missing[index] as string
      values.set(reference, value)
      this.#known.set(reference, value)
    }
    return values
  }
}

/** What the cells name in a store. */
export function referencesOf(cells: ReadonlyMap<string, { readonly value: string | undefined }>): string[] {
  const references: string[] = []
  for (const { value } of cells.values()) if (isSpilled(value)) references.push(value)
  return references
}
