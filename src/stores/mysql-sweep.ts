import type { Timer } from '../seam.ts'
import type { Availability } from './availability.ts'
import type { MysqlAccess } from './mysql-access.ts'
import type { StoreClock } from './store-clock.ts'
import type { Row } from './mysql-record.ts'
import { unpackText } from './mysql-record.ts'
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
 * Drops what has expired, in small batches. Servers that sweep at once get different rows (SKIP LOCKED), and each reports the ones it
 * dropped, once they are. Measures the clock on the way.
 */
export function mysqlSweep(
  users: Availability,
  access: () => MysqlAccess | undefined,
  clock: StoreClock,
  sql: MysqlStatements,
): MysqlSweep {
  let timer: Timer | undefined

  async function batch(session: MysqlSession): Promise<readonly Row[]> {
    const { runtime } = users.context()
    const askedAt = runtime.now()
    const time = await session.ask(`SELECT ${NOW} AS now`)
    clock.set(Number(time.rows[0]?.[0]), askedAt, runtime)
    await session.ask(BEGIN)
    const { rows } = await session.ask(sql.lockExpired(BATCH))
    if (rows.length > 0) await session.ask(sql.remove(rows.map(([key]) => String(key))))
    await session.ask(COMMIT)
    return rows
  }

  async function sweep(): Promise<void> {
    let dropped: readonly Row[] = []
    try {
      dropped = (await access()?.run(batch)) ?? []
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
