/** What the PostgreSQL tests share: contexts, drafts, patches, and clients that are closed after each test. */
import pg from 'pg'
import { afterEach } from 'vitest'
import { deriveKeys } from '../../src/core/keys.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { Draft, PatchResult, RunningStrategy, SessionStore, StoreContext, StoredRecord, StorePatch } from '../../src/seam.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { within } from '../setup/servers.ts'
import { context, DEADLINE_MS } from './store-common.ts'

export { failure, LONG_MS } from './store-common.ts'
export { context, DEADLINE_MS }

const open: { close(): Promise<unknown> }[] = []

afterEach(async () => {
  for (const thing of open.splice(0)) await within(thing.close(), 15_000, 'close()')
})

export function tracked<T extends { close(): Promise<unknown> }>(thing: T): T {
  open.push(thing)
  return thing
}

export async function ready(store: SessionStore, over: Partial<StoreContext> = {}): Promise<SessionStore> {
  tracked(store)
  await store.ready(context(over))
  return store
}

/** A plain client, for what the store itself does not do. */
export async function plainClient(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  tracked({ close: () => client.end() })
  return client
}

/** All rows of one statement, as arrays. */
export async function rows(client: pg.Client | pg.Pool, text: string, values: unknown[] = []): Promise<unknown[][]> {
  return (await client.query<unknown[]>({ text, values, rowMode: 'array' })).rows
}

export function draft(fields: Record<string, string> = {}, over: Partial<Draft['meta']> = {}): Draft {
  const now = Date.now()
  const times = { createdAt: now, lastActiveAt: now, idleMs: 600_000, touchEveryMs: 30_000, absoluteAt: now + 3_600_000 }
  return { meta: { userId: undefined, ...times, persistent: false, ...over }, fields: new Map(Object.entries(fields)) }
}

let writes = 0
export function patchOf(over: Partial<StorePatch> = {}): StorePatch {
  return { set: new Map(), add: new Map(), touchAt: 0, writeId: `write${++writes}`, ...over }
}
export const setting = (field: string, value: string | undefined, over: Partial<StorePatch> = {}): StorePatch =>
  patchOf({ set: new Map([[field, value]]), ...over })
export const adding = (field: string, by: number, over: Partial<StorePatch> = {}): StorePatch =>
  patchOf({ add: new Map([[field, { by, from: 0 }]]), ...over })

export async function live(store: SessionStore, key: string): Promise<StoredRecord> {
  const found = await store.read(key)
  if (found === undefined || 'gone' in found) throw new Error(`${key} is not there`)
  return found
}

export function applied(result: PatchResult): Extract<PatchResult, { outcome: 'applied' }> {
  if (result.outcome !== 'applied') throw new Error(result.outcome)
  return result
}

export async function keysOf(store: SessionStore, filter: { userId?: string } = {}): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(filter)) keys.push(key)
  return keys
}

export function strategyOver(store: SessionStore, events: string[]): RunningStrategy {
  const strategy = dedicated({ store, deadlineMs: DEADLINE_MS }).start({
    node: 'n1',
    runtime: systemRuntime(),
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: (type) => void events.push(type),
    ended: () => {},
    logger: console,
  })
  return tracked(strategy)
}
