/** The table, and how to see that it is there and fit to be used. */
import type { Row } from './sql-record.ts'

export interface PostgresStatement {
  readonly text: string
  /** Prepared under this name, once per connection. */
  readonly name?: string
  /** The connection is not used again after such an answer. */
  readonly isUseless?: (rows: readonly Row[]) => boolean
}

/** Unix ms of the database, the same throughout a statement. */
export const NOW = '(floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)'

const FORMAT = 1

/** Of advisory locks: the first half says whose they are, the second is made of the table's name. */
export const LOCK_CLASS = 1_752_132_708

/**
 * What `ready()` runs when the table is missing. Times are Unix ms of the database's clock, durations ms. `fields` maps names to
 * encoded values, null for a removed field. `gone` marks what is left of an ended session; `last_active_at` is then when it ended.
 * `due_at` is `expires_at` rounded up to a sixteenth of `idle_ms`: only it is indexed, so that most writes touch no index.
 */
function schemaSql(table: string): string {
  return `CREATE TABLE "${table}" (
  key text COLLATE "C" PRIMARY KEY,
  user_id text COLLATE "C",
  created_at bigint NOT NULL,
  last_active_at bigint NOT NULL,
  idle_ms bigint NOT NULL,
  touch_every_ms bigint NOT NULL,
  absolute_at bigint NOT NULL,
  persistent boolean NOT NULL,
  version bigint NOT NULL,
  write_ids text[] NOT NULL,
  fields jsonb NOT NULL,
  expires_at bigint NOT NULL,
  gone text,
  due_at bigint NOT NULL GENERATED ALWAYS AS ((expires_at / greatest(idle_ms / 16, 1) + 1) * greatest(idle_ms / 16, 1)) STORED
) WITH (fillfactor = 75);
CREATE INDEX ON "${table}" USING hash (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ON "${table}" (due_at);
COMMENT ON TABLE "${table}" IS 'Holdfast sessions, format ${FORMAT}';`
}

/** Several servers may start at once: the second waits, and then finds the table. */
export function migrationSql(table: string): string {
  return `SELECT pg_advisory_xact_lock(${LOCK_CLASS}, hashtext('${table}')); ${schemaSql(table)}`
}

/** SQLSTATE: somebody else has just created it. */
export const CREATED_MEANWHILE: ReadonlySet<string> = new Set(['42P07', '42710', '23505'])

/** There (by the snapshot, as the rest: `to_regclass` sees more), comment, read-only, permitted, its columns, the time. */
export function lookStatement(table: string): PostgresStatement {
  const privileges = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'].map((privilege) => `has_table_privilege(t.oid, '${privilege}')`)
  return {
    text: `SELECT t.oid IS NOT NULL, obj_description(t.oid, 'pg_class'), current_setting('transaction_read_only'),
  ${privileges.join(' AND ')},
  (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = t.oid AND NOT a.attisdropped
    AND a.attname = ANY ('{key,user_id,created_at,last_active_at,idle_ms,touch_every_ms,absolute_at,persistent,version,write_ids,fields,expires_at,gone,due_at}')),
  ${NOW}
FROM (SELECT (SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass('"${table}"')) AS oid) t`,
    // The host may lead to another server by now.
    isUseless: ([row]) => row?.[2] === 'on',
  }
}

const COLUMNS = 14

interface Look {
  readonly isThere: boolean
  /** What is wrong, as advice; undefined: nothing. */
  readonly problem: string | undefined
  readonly now: number
}

export function lookAt(row: Row, table: string): Look {
  const [isThere, comment, readOnly, permitted, columns, now] = row
  return { isThere: isThere === 't', now: Number(now), problem: problemOf() }

  function problemOf(): string | undefined {
    if (readOnly === 'on') return 'it is read-only, like a replica: name the primary'
    if (isThere !== 't') return undefined
    const format = Number(/^Holdfast sessions, format (\d+)/.exec(comment ?? '')?.[1] ?? FORMAT)
    if (format > FORMAT)
      return `its table ${table} was made by a newer version of Holdfast (format ${format}): update Holdfast on this server`
    if (Number(columns) < COLUMNS)
      return `its table ${table} does not have the columns of Holdfast: choose another name with the option table`
    if (permitted !== 't') return `its user may not use the table ${table}: GRANT SELECT, INSERT, UPDATE, DELETE ON "${table}" TO that user`
    return undefined
  }
}

/** The SQL on one line, as the message is. */
export function runThis(table: string): string {
  return `run as its owner: ${schemaSql(table).replaceAll(/\s+/g, ' ')}`
}
