/**
 * Patches: one statement that always updates its row, to the same values where it must not apply. So RETURNING speaks of the newest
 * row, also when the statement had to wait for another writer (PostgreSQL, "Read Committed Isolation Level": the expressions are
 * evaluated again on the updated row), and the answer is read from what the row has become: a write id in it was applied.
 */
import { countOn, isTouch, notNumber, WRITE_IDS_KEPT } from '../core/stored-record.ts'
import type { PatchResult, StorePatch } from '../seam.ts'
import { packFields } from './postgres-record.ts'
import { packText, unpackText } from './sql-record.ts'
import type { Row } from './sql-record.ts'
import { wholeMs } from './store-clock.ts'
import { NOW } from './postgres-schema.ts'

export const IS_LIVE: string = `s.gone IS NULL AND s.expires_at > ${NOW}`
/** Anything else was written by something else, and stays as it is. */
const IS_VALID = `(jsonb_typeof(s.fields) = 'object' AND NOT s.fields @? '$.* ? (@.type() != "string" && @.type() != "null")')`
const MAY_APPLY = `${IS_LIVE} AND $2 <> ALL (s.write_ids) AND ($3::bigint IS NULL OR s.version = $3) AND ${IS_VALID}`
const ANSWER = `s.gone, s.expires_at > ${NOW}, ${IS_VALID}, s.version, array_position(s.write_ids, $2)`

const NUMBER = '^-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$'
const LARGEST = '1.7976931348623157e308'

/**
 * As JavaScript prints it: the shortest digits that give the same number, without an exponent from 1e-6 to below 1e21. Above 2^53
 * PostgreSQL prints a digit more where the shortest lie in the middle between two numbers.
 */
function javascriptText(x: string): string {
  const plain = `${x}::text::numeric`
  const sixteen = `round(${plain}, 16 - length(trunc(abs(${plain}))::text))`
  return `CASE WHEN ${x} = 0 THEN '0'
    WHEN abs(${x}) < 1e-6 OR abs(${x}) >= 1e21 THEN regexp_replace(${x}::text, 'e([+-])0+', 'e\\1')
    WHEN abs(${x}) >= 9007199254740992 AND ${sixteen}::float8 = ${x} THEN ${sixteen}::text
    ELSE ${plain}::text END`
}

/** All of the patch's counters, null when one does not count. OFFSET 0 keeps a step from being copied into the next. */
const SUMS = `SELECT CASE WHEN bool_and(total IS NOT NULL) THEN jsonb_object_agg(name, total) END AS sums FROM (
    SELECT a.name, ${javascriptText('c.total')} AS total FROM unnest($11::text[], $12::float8[], $13::float8[]) AS a (name, by, base)
    CROSS JOIN LATERAL (SELECT CASE WHEN $8::jsonb ? a.name THEN $8 ->> a.name ELSE s.fields ->> a.name END AS held OFFSET 0) h
    CROSS JOIN LATERAL (SELECT CASE WHEN h.held IS NULL THEN a.base WHEN h.held !~ '${NUMBER}' THEN NULL
      WHEN abs(h.held::numeric) > ${LARGEST} THEN NULL WHEN abs(h.held::numeric) < 2.5e-324 THEN 0 ELSE h.held::float8 END AS start OFFSET 0) b
    CROSS JOIN LATERAL (SELECT CASE WHEN (b.start < 0) <> (a.by < 0) OR abs(b.start) <= ${LARGEST} - abs(a.by)
      THEN b.start + a.by END AS total OFFSET 0) c
  ) counted`

/**
 * $1 key, $2 write id, $3 expected version, $4 touch, $5 idle, $6 touch every, $7 absolute end, $8 fields to set, $9 channel,
 * $10 payload; with counters $11 names, $12 by, $13 from.
 */
export function patchText(table: string, counts: boolean): string {
  const active = 'greatest(s.last_active_at, $4::bigint)'
  const idle = 'coalesce($5::bigint, s.idle_ms)'
  const absolute = 'least(s.absolute_at, $7::bigint)'
  const set = 'coalesce(s.fields || $8::jsonb, s.fields)'
  const changes: Readonly<Record<string, string>> = {
    last_active_at: active,
    idle_ms: idle,
    touch_every_ms: 'coalesce($6::bigint, s.touch_every_ms)',
    absolute_at: absolute,
    expires_at: `least(${active} + ${idle}, ${absolute})`,
    version: 's.version + 1',
    write_ids: `($2::text || s.write_ids)[1:${WRITE_IDS_KEPT}]`,
    fields: counts ? `${set} || may.sums` : set,
  }
  const values = Object.entries(changes).map(([column, value]) => `CASE WHEN may.apply THEN ${value} ELSE s.${column} END`)
  const may = counts
    ? `SELECT ${MAY_APPLY} AND summed.sums IS NOT NULL AS apply, summed.sums FROM (${SUMS}) summed OFFSET 0`
    : `SELECT ${MAY_APPLY} AS apply OFFSET 0`
  const counters = `(SELECT json_agg(s.fields ->> a.name ORDER BY a.place) FROM unnest($11::text[]) WITH ORDINALITY AS a (name, place))`
  return `UPDATE "${table}" AS s SET (${Object.keys(changes).join(', ')}) = (
  SELECT ${values.join(', ')}
  FROM (${may}) may
) WHERE s.key = $1
RETURNING ${ANSWER}, CASE WHEN $9::text IS NOT NULL AND s.write_ids[1] = $2 THEN pg_notify($9, $10::text) END${counts ? `, ${counters}` : ''}`
}

/** $1 key, $2 write id, $3 expected version, $4 touch. Neither counted as a write nor announced. */
export function touchText(table: string): string {
  const active = 'greatest(s.last_active_at, $4::bigint)'
  return `UPDATE "${table}" AS s SET
  last_active_at = CASE WHEN ${MAY_APPLY} THEN ${active} ELSE s.last_active_at END,
  expires_at = CASE WHEN ${MAY_APPLY} THEN least(${active} + s.idle_ms, s.absolute_at) ELSE s.expires_at END
WHERE s.key = $1
RETURNING ${ANSWER}`
}

interface PatchMessage {
  readonly statement: 'touch' | 'patch' | 'count'
  readonly values: readonly unknown[]
}

/** Throws FIELD_INVALID for an amount that no counter can take. */
export function patchMessage(
  key: string,
  patch: StorePatch,
  toStore: (ms: number) => number,
  channel: string | null,
  payload: string,
): PatchMessage {
  const { writeId, ifVersion, touchAt, lifetime, set, add } = patch
  const touch = [key, writeId, ifVersion ?? null, wholeMs(toStore(touchAt))]
  if (isTouch(patch)) return { statement: 'touch', values: touch }
  const times =
    lifetime === undefined ? [null, null, null] : [lifetime.idleMs, lifetime.touchEveryMs, toStore(lifetime.absoluteAt)].map(wholeMs)
  const values = [...touch, ...times, set.size === 0 ? null : packFields(set), channel, payload]
  if (add.size === 0) return { statement: 'patch', values }
  for (const [field, { by, from }] of add) if (!Number.isFinite(by) || !Number.isFinite(from)) throw notNumber(field)
  const amounts = [...add.values()]
  const counters = [[...add.keys()].map(packText), amounts.map(({ by }) => by), amounts.map(({ from }) => from)]
  return { statement: 'count', values: [...values, ...counters] }
}

/** Undefined: the record does not parse. Throws FIELD_INVALID. */
export function patchResult(row: Row | undefined, patch: StorePatch): PatchResult | undefined {
  if (row === undefined) return { outcome: 'gone', reason: 'unknown' }
  const [gone, isLive, isValid, versionText, place, , countersText] = row
  if (gone === 'destroyed' || gone === 'replaced') return { outcome: 'gone', reason: isLive === 't' ? gone : 'unknown' }
  const version = Number(versionText)
  const held = countersText === undefined || countersText === null ? [] : (JSON.parse(countersText) as (string | null)[])
  const counters = new Map([...patch.add.keys()].map((field, index) => [field, unpackText(held[index] ?? '0')]))
  if (typeof place === 'string') {
    const after = version - (Number(place) - 1)
    return { outcome: 'applied', before: after - 1, after, counters }
  }
  if (isLive !== 't') return { outcome: 'gone', reason: 'unknown' }
  if (isValid !== 't') return undefined
  if (patch.ifVersion !== undefined && patch.ifVersion !== version) return { outcome: 'conflict', version }
  if (isTouch(patch)) return { outcome: 'applied', before: version, after: version, counters }
  throw uncountable(patch, held)
}

function uncountable({ set, add }: StorePatch, held: readonly (string | null)[]): Error {
  const fields = [...add]
  try {
    fields.forEach(([field, { by, from }], index) => countOn(field, set.has(field) ? set.get(field) : (held[index] ?? undefined), by, from))
  } catch (error) {
    return error as Error
  }
  return notNumber((fields[0] as [string, unknown])[0])
}
