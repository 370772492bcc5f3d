/** What the cases of the store contract share: keys, drafts, patches, and what to expect of answers. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, RecordMeta, SessionStore, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'

/** What a store, or the test of it, may be without. */
export type StoreAbility =
  /** Lists all sessions, those of a user; ends those of a user in one step; announces foreign changes. */
  | 'list'
  | 'users'
  | 'endUser'
  | 'push'
  /** Lists more than 200 sessions of one user. */
  | 'manySessions'
  /** Writes of several servers to one session at once: none is lost, and none is stored after the session was ended. */
  | 'atomicPatches'
  /** An ended session leaves a mark that says why. */
  | 'endedMarks'
  /** The test gives a second store on the same data, as another server would have it. */
  | 'another'

/** `another` gives a second store on the same data, ready. */
export type StoreCaseBody = (store: SessionStore, another: () => Promise<SessionStore>) => Promise<void>

export type StoreCase = readonly [name: string, body: StoreCaseBody, ...needs: StoreAbility[]]

export function newKey(): string {
  return createHash('sha256').update(randomBytes(16)).digest('base64url')
}

export function writeId(): string {
  return randomBytes(8).toString('base64url')
}

export function newMeta(changed: Partial<RecordMeta> = {}): RecordMeta {
  const now = Date.now()
  const meta = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 600_000,
    touchEveryMs: 30_000,
    absoluteAt: now + 3_600_000,
    persistent: false,
  }
  return { ...meta, ...changed }
}

export function draft(fields: Record<string, string>, meta: RecordMeta = newMeta()): Draft {
  return { meta, fields: new Map(Object.entries(fields)) }
}

export async function created(store: SessionStore, fields: Record<string, string>, meta: RecordMeta = newMeta()): Promise<string> {
  const key = newKey()
  assert.equal(await store.create(key, draft(fields, meta), writeId()), true)
  return key
}

export interface PatchShape {
  set?: Record<string, string | undefined>
  add?: Record<string, [by: number, from: number]>
  touchAt?: number
  lifetime?: StorePatch['lifetime']
  ifVersion?: number
}

export function patch({ set = {}, add = {}, touchAt = 0, lifetime, ifVersion }: PatchShape): StorePatch {
  return {
    set: new Map(Object.entries(set)),
    add: new Map(Object.entries(add).map(([field, [by, from]]) => [field, { by, from }])),
    touchAt,
    writeId: writeId(),
    ...(lifetime === undefined ? {} : { lifetime }),
    ...(ifVersion === undefined ? {} : { ifVersion }),
  }
}

export async function live(store: SessionStore, key: string): Promise<StoredRecord> {
  const record = await store.read(key)
  assert.ok(record !== undefined && 'fields' in record, 'the session is there')
  return record
}

export async function gone(store: SessionStore, key: string, reason: 'destroyed' | 'replaced'): Promise<number> {
  const mark = await store.read(key)
  assert.ok(mark !== undefined && 'gone' in mark, 'a mark is there')
  assert.equal(mark.gone, reason)
  return mark.endedAt ?? Date.now()
}

export function applied(result: PatchResult): Extract<PatchResult, { outcome: 'applied' }> {
  assert.equal(result.outcome, 'applied')
  return result as Extract<PatchResult, { outcome: 'applied' }>
}

export function sorted(map: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...map].sort())
}

export async function all(store: SessionStore, filter: { userId?: string }): Promise<SessionSummary[]> {
  const found: SessionSummary[] = []
  for await (const summary of store.list(filter)) found.push(summary)
  return found
}

/** Ends in a minute. */
export function inAMinute(): number {
  return Date.now() + 60_000
}

export function endUser(store: SessionStore, userId: string, except?: string): Promise<readonly string[]> {
  return (store.endUser as NonNullable<SessionStore['endUser']>)(userId, inAMinute(), except === undefined ? {} : { except })
}

/** Ended or absent: with or without a mark. */
export async function ended(store: SessionStore, key: string): Promise<void> {
  const found = await store.read(key)
  assert.ok(found === undefined || 'gone' in found, 'the session ended')
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => SessionError.is(error) && error.code === code
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'waited 10 s in vain')
    await delay(10)
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((done) => void setTimeout(done, ms))
}
