import { endOf } from '../core/lifetime.ts'
import { endedError } from '../core/refusals.ts'
import { applyChange, StoredView } from '../core/stored-record.ts'
import type {
  Change,
  Draft,
  DraftOf,
  JarDelta,
  Opened,
  Opening,
  RecordMeta,
  RecordView,
  RunningStrategy,
  SessionId,
  SessionStrategy,
  StrategyContext,
  Written,
} from '../seam.ts'
import type { Capability, SessionSummary } from '../types.ts'

const NO_JAR: JarDelta = { set: [], delete: [] }
const SWEEP_EVERY_MS = 60_000

/**
 * Each server its own memory, nothing shared: shows the session consistency problem itself. Behind a balancer every other
 * server takes the visitor for a stranger. Never a default.
 */
export function isolated(): SessionStrategy {
  const capabilities: ReadonlySet<Capability> = new Set<Capability>(['update', 'list', 'revoke', 'revokeUser'])
  return { name: 'isolated', capabilities, start: (context) => new Isolated(context) }
}

class Isolated implements RunningStrategy {
  readonly #context: StrategyContext
  readonly #records = new Map<string, StoredView | Ended>()
  #closed = false

  constructor(context: StrategyContext) {
    this.#context = context
    this.#sweepLater()
  }

  open(jar: { key: string }): Opening {
    return this.#look(jar.key)
  }

  reload(opened: Opened): Opening {
    return this.#look(opened.record.key)
  }

  #look(key: string): Opening {
    const held = this.#records.get(key)
    if (held === undefined) return { outcome: 'gone', reason: 'unknown' }
    if (held instanceof Ended) return { outcome: 'gone', reason: held.reason, endedAt: held.at }
    if (this.#isExpired(held.meta)) {
      this.#expire(held)
      return { outcome: 'gone', reason: 'expired' }
    }
    return { outcome: 'found', opened: { record: held } }
  }

  create(id: SessionId, draft: Draft): Written {
    return this.#keep(new StoredView(id.key, { meta: draft.meta, fields: draft.fields, ...UNCOUNTED }))
  }

  write(opened: Opened, change: Change): Written {
    return this.#keep(changed(this.#live(opened.record.key), change))
  }

  update(opened: Opened, change: (record: RecordView) => Change): Written {
    const record = this.#live(opened.record.key)
    return this.#keep(changed(record, change(record)))
  }

  replace(opened: Opened, id: SessionId, draft: DraftOf): Written {
    const newest = this.#live(opened.record.key)
    this.#end(newest, 'replaced')
    return this.create(id, draft(newest))
  }

  destroy(opened: Opened): JarDelta {
    this.#live(opened.record.key)
    this.#end(opened.record, 'destroyed')
    return NO_JAR
  }

  settle(): undefined {
    return undefined
  }

  get(key: string): RecordView | undefined {
    const held = this.#records.get(key)
    return held instanceof StoredView && !this.#isExpired(held.meta) ? held : undefined
  }

  async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
    for (const record of [...this.#records.values()]) {
      if (record instanceof Ended || this.#isExpired(record.meta)) continue
      if (filter.userId !== undefined && record.meta.userId !== filter.userId) continue
      const { userId, createdAt, lastActiveAt, persistent } = record.meta
      yield { key: record.key, userId, createdAt, lastActiveAt, expiresAt: endOf(record.meta), persistent }
    }
  }

  async revoke(key: string, filter: { userId?: string }): Promise<boolean> {
    const record = this.get(key)
    if (record === undefined || (filter.userId !== undefined && record.meta.userId !== filter.userId)) return false
    this.#end(record, 'destroyed')
    return true
  }

  async revokeUser(userId: string, filter: { except?: string }): Promise<number> {
    let count = 0
    for await (const { key } of this.list({ userId })) {
      if (key !== filter.except && (await this.revoke(key, { userId }))) count++
    }
    return count
  }

  status(): { sessions: number; notProtected: string[] } {
    const sessions = [...this.#records.values()].filter((held) => held instanceof StoredView).length
    return {
      sessions,
      notProtected: ['Every other server takes this visitor for a stranger.', "A server's end loses all of its sessions."],
    }
  }

  async ready(): Promise<void> {}
  async drain(): Promise<void> {}
  async close(): Promise<void> {
    this.#closed = true
    this.#records.clear()
  }

  #live(key: string): StoredView {
    const held = this.#records.get(key)
    if (held instanceof StoredView && !this.#isExpired(held.meta)) return held
    throw endedError(held instanceof Ended && held.reason === 'replaced' ? 'SESSION_REPLACED' : 'SESSION_GONE')
  }

  #keep(record: StoredView): Written {
    this.#records.set(record.key, record)
    return { opened: { record }, jar: NO_JAR }
  }

  #end(record: RecordView, reason: 'destroyed' | 'replaced'): void {
    this.#records.set(record.key, new Ended(reason, this.#context.runtime.now(), record.meta.absoluteAt))
    this.#context.ended(record.key, reason)
  }

  #isExpired(meta: RecordMeta): boolean {
    return this.#context.runtime.now() >= endOf(meta)
  }

  #expire(record: RecordView): void {
    this.#records.delete(record.key)
    this.#context.ended(record.key, 'expired')
    this.#context.emit('expired', { key: record.key, ...(record.meta.userId !== undefined && { userId: record.meta.userId }) })
  }

  #sweepLater(): void {
    this.#context.runtime.setTimer(SWEEP_EVERY_MS, () => {
      if (this.#closed) return
      const now = this.#context.runtime.now()
      for (const [key, held] of this.#records) {
        if (held instanceof Ended) {
          if (now >= held.until) this.#records.delete(key)
        } else if (this.#isExpired(held.meta)) this.#expire(held)
      }
      this.#sweepLater()
    })
  }
}

/** Remembers why a session ended until no root can name it any more. */
class Ended {
  readonly reason: 'destroyed' | 'replaced'
  readonly at: number
  readonly until: number

  constructor(reason: 'destroyed' | 'replaced', at: number, until: number) {
    this.reason = reason
    this.at = at
    this.until = until
  }
}

/** Nobody asks for the versions of records that are never shared. */
const UNCOUNTED = { version: 0, writeIds: [] }

function changed({ key, stored }: StoredView, change: Change): StoredView {
  return new StoredView(key, applyChange(stored, change, UNCOUNTED))
}
