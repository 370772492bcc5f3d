/**
 * How a session looks in an express-session store: `{ cookie, holdfast }`. The cookie is there because such stores take their time to
 * live from it; `holdfast` holds the record in lists, so that no name of a field can be one of an object's own.
 */
import * as v from 'valibot'
import { expiresAt } from '../core/stored-record.ts'
import type { RecordMeta, StoredRecord } from '../seam.ts'
import type { GoneMark } from './row.ts'

/** Raise it when the layout changes. */
const FORMAT = 1
/** Stores count in seconds and by their own clocks: they must not be the first to end a session. */
const KEPT_LONGER_MS = 60_000

export interface KeptMark extends GoneMark {
  /** Unix ms. */
  readonly until: number
}

const instant = v.pipe(v.number(), v.finite())
const recordShape = v.object({
  format: v.literal(FORMAT),
  key: v.string(),
  version: v.pipe(v.number(), v.integer(), v.minValue(1)),
  writeIds: v.array(v.string()),
  meta: v.object({
    userId: v.optional(v.string()),
    createdAt: instant,
    lastActiveAt: instant,
    idleMs: instant,
    touchEveryMs: instant,
    absoluteAt: instant,
    persistent: v.boolean(),
  }),
  fields: v.array(v.tuple([v.string(), v.string()])),
  removed: v.optional(v.array(v.string())),
})
const markShape = v.object({
  format: v.literal(FORMAT),
  key: v.string(),
  gone: v.picklist(['destroyed', 'replaced']),
  endedAt: instant,
  until: instant,
})
const sessionShape = v.object({ holdfast: v.union([recordShape, markShape]) })

export function packSession(key: string, { meta, fields, removed, version, writeIds }: StoredRecord, now: number): object {
  const holdfast = {
    format: FORMAT,
    key,
    version,
    writeIds: [...writeIds],
    meta: packMeta(meta),
    fields: [...fields],
    ...(removed !== undefined && removed.size > 0 && { removed: [...removed] }),
  }
  return { cookie: cookieUntil(expiresAt(meta), now), holdfast }
}

export function packMark(key: string, { gone, endedAt, until }: KeptMark, now: number): object {
  return { cookie: cookieUntil(until, now), holdfast: { format: FORMAT, key, gone, endedAt, until } }
}

/** Undefined: not ours, of another session, or it does not parse. */
export function unpackSession(session: unknown, key: string): StoredRecord | KeptMark | undefined {
  const found = unpackAny(session)
  return found?.key === key ? found.entry : undefined
}

/** With the key that it was written under: lists of all sessions do not always tell. */
export function unpackAny(session: unknown): { readonly key: string; readonly entry: StoredRecord | KeptMark } | undefined {
  const parsed = v.safeParse(sessionShape, session)
  if (!parsed.success) return undefined
  const { holdfast } = parsed.output
  const { key } = holdfast
  if ('gone' in holdfast) return { key, entry: { gone: holdfast.gone, endedAt: holdfast.endedAt, until: holdfast.until } }
  const { meta, fields, removed = [], version, writeIds } = holdfast
  const record = { meta: { ...meta, userId: meta.userId }, fields: new Map(fields), version, writeIds }
  return { key, entry: removed.length === 0 ? record : { ...record, removed: new Set(removed) } }
}

/** Without a user there is no such member: databases turn undefined into null. */
function packMeta({ userId, ...meta }: RecordMeta): object {
  return userId === undefined ? { ...meta } : { ...meta, userId }
}

/** As express-session's own: stores look at `expires`, `maxAge` or `originalMaxAge`. */
function cookieUntil(end: number, now: number): object {
  const expires = new Date(Math.ceil(end) + KEPT_LONGER_MS)
  const maxAge = Math.max(KEPT_LONGER_MS, expires.getTime() - Math.floor(now))
  return { originalMaxAge: maxAge, maxAge, expires, httpOnly: true, path: '/' }
}
