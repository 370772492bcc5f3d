import type { Timer } from '../seam.ts'
import type { Availability } from './availability.ts'
import type { MysqlAccess } from './mysql-access.ts'
import type { StoreClock } from './store-clock.ts'
import { failureOf } from './mysql-errors.ts'
import { unpackText } from './sql-record.ts'
import type { Row } from './sql-record.ts'
import type { MysqlSession } from './mysql-session.ts'
import { BEGIN, COMMIT, NOW } from './mysql-statements.ts'
import type { MysqlStatements } from './mysql-statements.ts'

export interface MysqlSweep {
  start(): void
  stop(): void
}

const SWEEP_EVERY_MS = 30_000
const BATCH = 100
const NEXT_MS = 10

/**
 * Drops what has expired, in small batches, one server at a time, and reports what it dropped, once it is. Measures the clock on the
 * way. Where there are no user locks (Percona XtraDB Cluster refuses them, Galera keeps them to one node), servers that sweep at once
 * get different rows (SKIP LOCKED).
 */
export function mysqlSweep(
  users: Availability,
  access: () => MysqlAccess | undefined,
  clock: StoreClock,
  sql: MysqlStatements,
): MysqlSweep {
  let timer: Timer | undefined

  async function turn(session: MysqlSession): Promise<readonly Row[]> {
    const { runtime } = users.context()
    const askedAt = runtime.now()
    const time = await session.ask(`SELECT ${NOW} AS now`)
    clock.set(Number(time.rows[0]?.[0]), askedAt, runtime)
    if (!(await isOurs(session))) return []
    try {
      return await batch(session)
    } finally {
      // The connection goes back to a pool: what is left is the lock. A connection that broke has lost it.
      await session.ask(sql.endTurn).catch(() => {})
    }
  }

  async function isOurs(session: MysqlSession): Promise<boolean> {
    try {
      const { rows } = await session.ask(sql.takeTurn)
      return rows[0]?.[0] === '1'
    } catch (error) {
      if (failureOf(error) === 'other') return true
      throw error
    }
  }

  async function batch(session: MysqlSession): Promise<readonly Row[]> {
    await session.ask(BEGIN)
    const { rows } = await session.ask(sql.lockExpired(BATCH))
    if (rows.length > 0) await session.ask(sql.remove(rows.map(([key]) => String(key))))
    await session.ask(COMMIT)
    return rows
  }

  async function sweep(): Promise<void> {
    let dropped: readonly Row[] = []
    try {
      dropped = (await access()?.run(turn)) ?? []
      for (const [key, userId, gone] of dropped) {
        if (gone !== null) continue
        const user = typeof userId === 'string' ? unpackText(userId) : undefined
        for (const context of users.contexts) context.expired?.(String(key), user)
      }
    } catch {
      // The next operation or sweep reports it.
    }
    if (timer !== undefined) later(dropped.length === BATCH ? NEXT_MS : SWEEP_EVERY_MS)
  }

  function later(ms: number): void {
    timer?.cancel()
    for (const { runtime } of users.contexts) {
      timer = runtime.setTimer(ms, () => void sweep())
      return
    }
  }

  return {
    start(): void {
      if (timer === undefined) later(SWEEP_EVERY_MS)
    },
    stop(): void {
      timer?.cancel()
      timer = undefined
    },
  }
}
