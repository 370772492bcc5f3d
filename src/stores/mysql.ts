import { summaryOf } from '../core/stored-record.ts'
import type { Draft, PatchResult, SessionStore, StoreContext, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, unavailable } from './availability.ts'
import { mysqlAccess } from './mysql-access.ts'
import type { MysqlAccess } from './mysql-access.ts'
import { storeClock } from './store-clock.ts'
import { limitOf, loadDriver, ownPool, takesSeveral } from './mysql-driver.ts'
import type { CorePoolLike, MysqlAddress, OwnPool } from './mysql-driver.ts'
import { checkedMysqlOptions } from './mysql-options.ts'
import type { MysqlStoreOptions, MysqlTarget } from './mysql-options.ts'
import { TRUE } from './mysql-record.ts'
import { unpackMeta } from './sql-record.ts'
import { prepareTable } from './mysql-schema.ts'
import type { MysqlSession } from './mysql-session.ts'
import { mysqlStatements } from './mysql-statements.ts'
import { mysqlSweep } from './mysql-sweep.ts'
import { mysqlWrites, parsedRow } from './mysql-writes.ts'
import type { GoneMark } from './row.ts'

export type { CorePoolLike } from './mysql-driver.ts'
export type { MysqlPoolLike, MysqlStoreOptions, MysqlTarget } from './mysql-options.ts'

const PAGE = 200
const CLOSE_MS = 500

/**
 * Keeps sessions in a table of MySQL 8 or MariaDB 10.6 and newer (`mysql2` 3 is an optional peer, loaded by `ready()`), which `ready()`
 * creates:
 *
 * ```sql
 * CREATE TABLE holdfast_sessions (
 *   session_key VARBINARY(255) NOT NULL PRIMARY KEY, user_id MEDIUMBLOB NULL, created_at BIGINT NOT NULL, last_active_at BIGINT NOT NULL,
 *   idle_ms BIGINT NOT NULL, touch_every_ms BIGINT NOT NULL, absolute_at BIGINT NOT NULL, is_persistent TINYINT NOT NULL,
 *   version BIGINT NOT NULL, write_ids VARBINARY(1024) NOT NULL,
 *   fields MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, expires_at BIGINT NOT NULL,
 *   gone VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL, KEY by_user (user_id(64)), KEY by_expiry (expires_at)
 * ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='Holdfast sessions, format 1'
 * ```
 *
 * Each operation is one round trip: one statement, or (a patch that counts, `replace`, `endUser`) a transaction of four sent as one text. On a
 * pool of your own without `multipleStatements` these three take a round trip per statement, four. A write that does not apply takes one more,
 * to learn why. Rejects with STORE_UNAVAILABLE within the deadline while the server cannot be reached, and comes back by itself. A write that
 * was answered 503 may still have been stored: retry it with its write id. A pool of your own stays open at the end. Expired rows are dropped
 * in batches, by one server at a time (`GET_LOCK`).
 *
 * Throws CONFIG_INVALID with all problems of the options; `ready()` rejects with DEPENDENCY_MISSING without `mysql2`. What is larger than
 * `max_allowed_packet` is SESSION_TOO_LARGE. A record that does not parse is STORE_RECORD_INVALID, names its key and stays; a counter
 * that cannot be summed is FIELD_INVALID, and nothing is written.
 */
export function mysqlStore(target: MysqlTarget, options: MysqlStoreOptions = {}): SessionStore {
  const { address, pool: givenPool, table, migrate, shown } = checkedMysqlOptions(target, options)
  const users = availability('mysqlStore')
  const clock = storeClock()
  const sql = mysqlStatements(table)
  let maxBytes = Number.POSITIVE_INFINITY
  const writes = mysqlWrites(sql, shown, () => maxBytes)
  const sweep = mysqlSweep(users, () => access, clock, sql)
  let access: MysqlAccess | undefined
  let own: OwnPool | undefined
  let starting: Promise<void> | undefined

  async function start(context: StoreContext): Promise<void> {
    const { runtime, deadlineMs } = context
    const pool = givenPool ?? (await connectOwn(context))
    access = mysqlAccess({
      pool,
      limit: limitOf(pool),
      several: own !== undefined || takesSeveral(pool),
      runtime,
      deadlineMs,
      shown,
      maxBytes: () => maxBytes,
      reopen,
      up: () => users.set('up', shown),
      down: (why) => users.set('down', why),
    })
    sweep.start()
  }

  async function connectOwn(context: StoreContext): Promise<CorePoolLike> {
    const driver = await loadDriver()
    if (!users.contexts.has(context)) throw unavailable('mysqlStore was closed while it opened')
    own = ownPool(driver, address as MysqlAddress, context.deadlineMs, () => access?.suspect())
    return own
  }

  async function reopen(session: MysqlSession): Promise<void> {
    const { runtime } = users.context()
    const askedAt = runtime.now()
    const look = await prepareTable(session, { table, migrate, shown })
    maxBytes = look.maxBytes
    clock.set(look.now, askedAt, runtime)
  }

  async function run<R>(work: (session: MysqlSession) => Promise<R>): Promise<R> {
    users.context()
    if (access === undefined) throw unavailable('mysqlStore is not open: await ready() first')
    return access.run(work)
  }

  function toStore(draft: Draft): Draft {
    return { ...draft, meta: clock.metaToStore(draft.meta) }
  }

  return {
    name: 'mysql',
    capabilities: new Set(['list', 'users'] as const),
    freshness: 'lease',
    notProtected: [
      'MySQL acknowledges a write before its replicas have it: what a fail-over loses is lost (mysqlStore; see innodb_flush_log_at_trx_commit for a crash).',
    ],
    async ready(context: StoreContext): Promise<void> {
      users.join(context)
      starting ??= start(context)
      try {
        await starting
      } catch (error) {
        starting = undefined
        throw error
      }
      if (users.state !== 'up') await access?.open()
    },
    read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      return run(async (session) => {
        const { rows } = await session.ask(sql.read(key))
        return rows[0] === undefined ? undefined : clock.fromStore(parsedRow(key, rows[0]))
      })
    },
    create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return run((session) => writes.create(session, key, toStore(draft), writeId))
    },
    patch(key: string, patch: StorePatch): Promise<PatchResult> {
      const { lifetime, touchAt } = patch
      const absoluteAt = clock.toStore(lifetime?.absoluteAt ?? 0)
      const moved = { ...patch, touchAt: clock.toStore(touchAt), ...(lifetime !== undefined && { lifetime: { ...lifetime, absoluteAt } }) }
      return run((session) => writes.patch(session, key, moved))
    },
    replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      return run((session) => writes.replace(session, oldKey, newKey, toStore(draft), writeId, ifVersion))
    },
    destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      return run(async (session) => {
        const { affected } = await session.ask(sql.destroy(key, reason, clock.toStore(markUntil), filter.userId))
        return affected === 1
      })
    },
    endUser(userId: string, markUntil: number, { except }: { except?: string }): Promise<readonly string[]> {
      return run((session) => writes.endUser(session, userId, clock.toStore(markUntil), except))
    },
    async *list(filter: { userId?: string }): AsyncIterable<SessionSummary> {
      let after = ''
      for (;;) {
        const from = after
        const { rows } = await run((session) => session.ask(sql.page(from, filter.userId, PAGE)))
        for (const row of rows) yield summaryOf(row[0] as string, clock.metaFromStore(unpackMeta(row, TRUE)))
        if (rows.length < PAGE) return
        after = rows.at(-1)?.[0] as string
      }
    },
    async close(): Promise<void> {
      const { runtime } = firstOf(users.contexts) ?? {}
      if (!users.leave()) return
      sweep.stop()
      access?.close()
      const closing = own
      access = undefined
      own = undefined
      starting = undefined
      await closing?.close(() => new Promise((done) => void runtime?.setTimer(CLOSE_MS, done)))
    },
  }
}

function firstOf<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item
  return undefined
}
