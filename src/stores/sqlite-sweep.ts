import type { Timer } from '../seam.ts'
import type { Availability } from './availability.ts'
import type { Statements } from './sqlite-schema.ts'

export interface SqliteSweep {
  start(): void
  /** With the statements of a file that is still open: lets another process sweep at once. */
  stop(statements: Statements | undefined): void
}

const EVERY_MS = 30_000
const BATCH = 100
const NEXT_MS = 10
/** A process that died is succeeded after this: more than two turns, so that a busy one keeps its own. */
const TURN_MS = 75_000

interface Dropped {
  readonly key: string
  readonly user_id: string | null
  readonly gone: string | null
}

/** Drops what has expired, in small batches, one process at a time, and reports what it dropped. */
export function sqliteSweep(users: Availability, transaction: <R>(work: (sql: Statements, now: number) => R) => Promise<R>): SqliteSweep {
  let timer: Timer | undefined
  let owner: string | undefined

  function turn(sql: Statements, now: number): readonly Dropped[] {
    owner ??= users.context().runtime.randomBytes(9).toString('base64url')
    if (sql.takeTurn.get({ $owner: owner, $now: now, $ms: TURN_MS }) === undefined) return []
    return sql.sweep.all(now, BATCH) as unknown as Dropped[]
  }

  async function sweep(): Promise<void> {
    let found: readonly Dropped[] = []
    try {
      found = await transaction(turn)
      for (const { key, user_id: userId, gone } of found) {
        if (gone === null) for (const context of users.contexts) context.expired?.(key, userId ?? undefined)
      }
    } catch {
      // The next operation or sweep reports it.
    }
    if (timer !== undefined) later(found.length === BATCH ? NEXT_MS : EVERY_MS)
  }

  function later(ms: number): void {
    timer?.cancel()
    timer = users.context().runtime.setTimer(ms, () => void sweep())
  }

  return {
    start(): void {
      if (timer === undefined) later(EVERY_MS)
    },
    stop(statements): void {
      timer?.cancel()
      timer = undefined
      if (owner === undefined) return
      try {
        statements?.endTurn.run(owner)
      } catch {
        // Locked just now: the turn ends by itself.
      }
      owner = undefined
    },
  }
}
