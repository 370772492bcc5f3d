/** The table, and how to see that it is there and fit to be used. */
import type { SessionError } from '../errors.ts'
import { unavailable } from './availability.ts'
import type { MysqlSession } from './mysql-session.ts'
import { adviceOf, failureOf, problemOf } from './mysql-errors.ts'
import { COLUMNS, NOW } from './mysql-statements.ts'

const FORMAT = 1

/**
 * What `ready()` runs when the table is missing. Times are Unix ms of the database's clock, durations ms. Keys, users and write ids
 * are bytes, so that they compare exactly. `fields` maps names to encoded values, to a number where MySQL has summed a counter, and
 * to false for a removed field. `gone` marks what is left of an ended session; `last_active_at` is then when it ended.
 */
export function schemaSql(table: string): string {
  return `CREATE TABLE IF NOT EXISTS \`${table}\` (
  session_key VARBINARY(255) NOT NULL PRIMARY KEY,
  user_id MEDIUMBLOB NULL,
  created_at BIGINT NOT NULL,
  last_active_at BIGINT NOT NULL,
  idle_ms BIGINT NOT NULL,
  touch_every_ms BIGINT NOT NULL,
  absolute_at BIGINT NOT NULL,
  is_persistent TINYINT NOT NULL,
  version BIGINT NOT NULL,
  write_ids VARBINARY(1024) NOT NULL,
  fields MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  expires_at BIGINT NOT NULL,
  gone VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  KEY by_user (user_id(64)),
  KEY by_expiry (expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='Holdfast sessions, format ${FORMAT}'`
}

/** The time, the server's version, autocommit, the longest command, the database, the table's comment. */
function lookSql(table: string): string {
  const comment = `SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${table}' LIMIT 1`
  return `SELECT ${NOW} AS now, VERSION() AS version, @@autocommit AS autocommit, @@max_allowed_packet AS packet, DATABASE() AS db, (${comment}) AS comment`
}

/** They change nothing, and are refused where writing is. */
function probesOf(table: string): string[] {
  const columns = [...COLUMNS, 'gone'].join(', ')
  return [
    `INSERT INTO \`${table}\` (${columns}) SELECT ${columns} FROM \`${table}\` AS nobody WHERE session_key = ''`,
    `UPDATE \`${table}\` SET version = version WHERE session_key = ''`,
    `DELETE FROM \`${table}\` WHERE session_key = ''`,
  ]
}

export interface Look {
  /** Unix ms of the database. */
  readonly now: number
  readonly maxBytes: number
}

export interface TableOptions {
  readonly table: string
  readonly migrate: boolean
  readonly shown: string
}

/** Sees that the table can be used, and makes it if it may. Rejects with what to do. */
export async function prepareTable(session: MysqlSession, { table, migrate, shown }: TableOptions): Promise<Look> {
  const cannot = (advice: string): SessionError => unavailable(`mysqlStore cannot use MySQL at ${shown}: ${advice}`)
  const look = await session.ask(lookSql(table))
  const [now, version, autocommit, packet, database, comment] = look.rows[0] as readonly (string | null)[]
  const problem = problemWith(version ?? '', autocommit, database) ?? newerFormat(table, comment ?? '')
  if (problem !== undefined) throw cannot(problem)
  const missing = await probe()
  if (missing) {
    if (!migrate) throw cannot(`its table ${table} is missing; ${runThis(table)}`)
    await step(schemaSql(table), `its table ${table} is missing, and its user may not create it; ${runThis(table)}`)
    await probe()
  }
  return { now: Number(now), maxBytes: Number(packet) }

  /** True: there is no such table. */
  async function probe(): Promise<boolean> {
    for (const sql of probesOf(table)) {
      const denied = `its user may not use the table ${table}: GRANT SELECT, INSERT, UPDATE, DELETE ON \`${table}\` TO that user`
      if (await step(sql, denied)) return true
    }
    return false
  }

  async function step(sql: string, denied: string): Promise<boolean> {
    try {
      await session.ask(sql)
      return false
    } catch (error) {
      const kind = failureOf(error)
      if (kind === 'missing') return true
      if (kind === 'lost' || kind === 'again') throw error
      throw cannot(isDenied(error) ? denied : `${problemOf(error)}: ${adviceOf(error)}`)
    }
  }
}

function isDenied(error: unknown): boolean {
  const { errno } = error as { errno?: unknown }
  return errno === 1142 || errno === 1143 || errno === 1044
}

function problemWith(version: string, autocommit: unknown, database: unknown): string | undefined {
  const [major = 0, minor = 0] = (/^\d+\.\d+/.exec(version)?.[0] ?? '').split('.').map(Number)
  const isMariaDb = /mariadb/i.test(version)
  if (isMariaDb ? major < 10 || (major === 10 && minor < 6) : major < 8) return 'it is too old: MySQL 8 or MariaDB 10.6 is needed'
  if (database === null) return 'no database is chosen: name one in the url or the options of the pool'
  return autocommit === '0' ? 'its connections have autocommit off, so that nothing would be kept: leave it on' : undefined
}

function newerFormat(table: string, comment: string): string | undefined {
  const format = Number(/^Holdfast sessions, format (\d+)/.exec(comment)?.[1] ?? FORMAT)
  if (format <= FORMAT) return undefined
  return `its table ${table} was made by a newer version of Holdfast (format ${format}): update Holdfast on this server`
}

/** The SQL on one line, as the message is. */
function runThis(table: string): string {
  return `run as its owner: ${schemaSql(table).replaceAll(/\s+/g, ' ')};`
}
