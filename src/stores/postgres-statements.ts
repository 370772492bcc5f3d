/** One statement per operation, so that each is one round trip and atomic. */
import { createHash } from 'node:crypto'
import { IS_LIVE, patchText, touchText } from './postgres-patch.ts'
import { READ_COLUMNS, SUMMARY_COLUMNS } from './postgres-record.ts'
import { LOCK_CLASS, NOW } from './postgres-schema.ts'
import type { PostgresStatement } from './postgres-schema.ts'
import { MARK_MS } from './row.ts'

export type PostgresStatements = Readonly<
  Record<
    'read' | 'create' | 'touch' | 'patch' | 'count' | 'replace' | 'destroy' | 'endUser' | 'page' | 'pageOfUser' | 'sweep',
    PostgresStatement
  >
>

export const PAGE = 200
export const SWEEP_BATCH = 200

const COLUMNS =
  'key, user_id, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent, write_ids, fields, version, expires_at, gone'

/** Of `packDraft`, from `$from` on. */
function draftValues(from: number): string {
  const at = (index: number, type: string): string => `$${from + index}::${type}`
  const times = [2, 3, 4, 5, 6].map((index) => at(index, 'bigint'))
  const ending = `least(${times[1]} + ${times[2]}, ${times[4]})`
  const given = [at(0, 'text'), at(1, 'text'), ...times, at(7, 'boolean'), `ARRAY[${at(8, 'text')}]`, at(9, 'jsonb')]
  return [...given, '1', ending, 'NULL'].join(', ')
}

/** A row that expired and was not swept yet gives way. */
const OVERWRITE = COLUMNS.split(', ')
  .slice(1)
  .map((column) => `${column} = CASE WHEN s.expires_at <= ${NOW} THEN excluded.${column} ELSE s.${column} END`)
  .join(', ')

function notify(channel: string, payload: string, when = 'true'): string {
  return `CASE WHEN ${channel}::text IS NOT NULL AND ${when} THEN pg_notify(${channel}, ${payload}) END`
}

function markText(reason: string, until: string): string {
  return `user_id = NULL, write_ids = '{}', fields = '{}', gone = ${reason}, last_active_at = ${NOW}, expires_at = greatest(s.expires_at, ${until})`
}

/** $1… the draft. A row: created, or created by the same write before. */
function createText(table: string): string {
  return `INSERT INTO "${table}" AS s (${COLUMNS}) VALUES (${draftValues(1)})
ON CONFLICT (key) DO UPDATE SET ${OVERWRITE}
WHERE s.expires_at <= ${NOW} OR (s.gone IS NULL AND $9 = ANY (s.write_ids))
RETURNING 1`
}

/**
 * $1 old key, $2 channel, $3 payload, $4… the draft, $14 expected version of the old one or null. The mark keeps the id of the write that left it, for a retry. Whether the same
 * write made the new session before; the version of what is there; of the old one: gone, live, version, ended by this write.
 */
function replaceText(table: string): string {
  const isOurs = `s.gone = 'replaced' AND s.write_ids[1] = $12`
  return `WITH present AS MATERIALIZED (
  SELECT s.version, s.gone IS NULL AND $12 = ANY (s.write_ids) AS ours FROM "${table}" s WHERE s.key = $4 AND s.expires_at > ${NOW}
), ended AS (
  UPDATE "${table}" AS s SET (user_id, write_ids, fields, gone, last_active_at, expires_at) = (
    SELECT CASE WHEN apply THEN NULL ELSE s.user_id END, CASE WHEN apply THEN ARRAY[$12::text] ELSE s.write_ids END,
      CASE WHEN apply THEN '{}' ELSE s.fields END, CASE WHEN apply THEN 'replaced' ELSE s.gone END,
      CASE WHEN apply THEN ${NOW} ELSE s.last_active_at END,
      CASE WHEN apply THEN greatest(s.expires_at, ${NOW} + ${MARK_MS}) ELSE s.expires_at END
    FROM (SELECT ${IS_LIVE} AND NOT EXISTS (SELECT FROM present) AND ($14::bigint IS NULL OR s.version = $14) AS apply OFFSET 0) may
  ) WHERE s.key = $1
  RETURNING s.gone, s.expires_at > ${NOW} AS live, s.version, ${isOurs} AS ours, ${notify('$2', '$3::text', isOurs)}
), made AS (
  INSERT INTO "${table}" AS s (${COLUMNS}) SELECT ${draftValues(4)} FROM ended WHERE ended.ours AND NOT EXISTS (SELECT FROM present)
  ON CONFLICT (key) DO UPDATE SET ${OVERWRITE} WHERE s.expires_at <= ${NOW}
)
SELECT (SELECT ours FROM present), (SELECT version FROM present), ended.gone, ended.live, ended.version, ended.ours
FROM (SELECT) one LEFT JOIN ended ON true`
}

/** $1 key, $2 reason, $3 end of the mark, $4 user or null, $5 channel, $6 payload. A row: a live session was ended. */
function destroyText(table: string): string {
  return `UPDATE "${table}" AS s SET ${markText('$2', '$3::bigint')}
WHERE s.key = $1 AND ${IS_LIVE} AND ($4::text IS NULL OR s.user_id = $4)
RETURNING ${notify('$5', '$6::text')}`
}

/**
 * $1 user, $2 end of the marks, $3 key to spare, $4 channel, $5 what begins the payloads. How many there were when it began, and the keys
 * of those it ended: fewer when some got a new id meanwhile, which only a new statement can see. Locked in order, so that two of these
 * cannot wait for each other.
 */
function endUserText(table: string): string {
  return `WITH theirs AS MATERIALIZED (
  SELECT s.key FROM "${table}" s WHERE s.user_id = $1 AND s.key <> $3 AND ${IS_LIVE}
), locked AS MATERIALIZED (
  SELECT s.key FROM "${table}" s JOIN theirs ON theirs.key = s.key WHERE ${IS_LIVE} ORDER BY s.key FOR UPDATE OF s
), ended AS (
  UPDATE "${table}" AS s SET ${markText(`'destroyed'`, '$2::bigint')} FROM locked WHERE s.key = locked.key AND ${IS_LIVE}
  RETURNING s.key, ${notify('$4', '$5::text || s.key')}
)
SELECT (SELECT count(*) FROM theirs), ended.key FROM (SELECT) one LEFT JOIN ended ON true`
}

/** The time, and what was dropped: key, user, mark. One server at a time. Deleting a row is atomic, so exactly one reports it. */
function sweepText(table: string): string {
  return `WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${LOCK_CLASS}, hashtext('sweep ${table}')) AS ours
), due AS MATERIALIZED (
  SELECT s.key FROM "${table}" s WHERE s.due_at <= ${NOW} AND (SELECT ours FROM turn) ORDER BY s.due_at LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED
), dropped AS (DELETE FROM "${table}" s USING due WHERE s.key = due.key RETURNING s.key, s.user_id, s.gone)
SELECT ${NOW}, key, user_id, gone FROM (SELECT) one LEFT JOIN dropped ON true`
}

export function postgresStatements(table: string): PostgresStatements {
  const live = `${IS_LIVE} ORDER BY s.key LIMIT ${PAGE}`
  return {
    read: named(`SELECT ${READ_COLUMNS} FROM "${table}" WHERE key = $1 AND expires_at > ${NOW}`),
    create: named(createText(table)),
    touch: named(touchText(table)),
    patch: named(patchText(table, false)),
    count: named(patchText(table, true)),
    replace: named(replaceText(table)),
    destroy: named(destroyText(table)),
    endUser: named(endUserText(table)),
    page: named(`SELECT ${SUMMARY_COLUMNS} FROM "${table}" s WHERE s.key > $1 AND ${live}`),
    pageOfUser: named(`SELECT ${SUMMARY_COLUMNS} FROM "${table}" s WHERE s.key > $1 AND s.user_id = $2 AND ${live}`),
    sweep: named(sweepText(table)),
  }
}

function named(text: string): PostgresStatement {
  return { text, name: `holdfast_${createHash('sha1').update(text).digest('hex').slice(0, 20)}` }
}
