/** Whether the database can be used just now: operations during an outage fail at once, and it is looked at until it is back. */
import { SessionError } from '../errors.ts'
import type { StoreContext, Timer } from '../seam.ts'
import type { Availability } from './availability.ts'
import { unavailable } from './availability.ts'
import type { StoreClock } from './store-clock.ts'
import { isLostRace, isStatementsOwn, isUnprepared, postgresError, problemOf, unfit } from './postgres-errors.ts'
import type { CheckedPostgresOptions } from './postgres-options.ts'
import type { PostgresConnections } from './postgres-connections.ts'
import type { Row } from './sql-record.ts'
import { CREATED_MEANWHILE, lookAt, lookStatement, migrationSql, runThis } from './postgres-schema.ts'
import type { PostgresStatement } from './postgres-schema.ts'

export interface PostgresLink {
  /** One statement; rejects with a SessionError within the deadline. */
  run(statement: PostgresStatement, values: readonly unknown[]): Promise<readonly Row[]>
  /** Looks whether the database and the table can be used, and creates the table. False: `problem` says why not. */
  check(ms: number): Promise<boolean>
  readonly problem: SessionError
  close(): void
}

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 500
/** How long a look may take: short while requests wait for what it finds, longer during an outage. */
const SUSPECT_MS = 1_000
const SUSPECT_PART = 0.25
const LOOK_MS = 2_000

export function postgresLink(
  connections: PostgresConnections,
  options: CheckedPostgresOptions,
  users: Availability,
  clock: StoreClock,
): PostgresLink {
  const { shown, table, migrate } = options
  const look = lookStatement(table)
  let problem = unfit(shown, 'await ready() first')
  let looking: Promise<boolean> | undefined
  let next: Timer | undefined
  let failures = 0
  let isPrepared = true
  let closed = false

  async function lookOnce(context: StoreContext, ms: number): Promise<void> {
    const { runtime } = context
    const until = runtime.monotonic() + ms
    for (let isFirst = true; ; isFirst = false) {
      const askedAt = runtime.now()
      const rows = await connections.query(look, [], until - runtime.monotonic())
      const found = lookAt(rows[0] as Row, table)
      clock.set(found.now, askedAt, runtime)
      if (found.problem !== undefined) throw unfit(shown, found.problem)
      if (found.isThere) return
      if (!migrate || !isFirst) throw unfit(shown, `its table ${table} is missing: ${runThis(table)}`)
      await create(until - runtime.monotonic())
    }
  }

  async function create(ms: number): Promise<void> {
    try {
      await connections.query({ text: migrationSql(table) }, [], ms)
    } catch (error) {
      const code = problemOf(error)
      if (CREATED_MEANWHILE.has(code)) return
      if (code === '42501') throw unfit(shown, `its user may not create the table ${table}: ${runThis(table)}`)
      throw error
    }
  }

  function check(ms: number): Promise<boolean> {
    looking ??= attempt(ms).finally(() => {
      looking = undefined
    })
    return looking
  }

  async function attempt(ms: number): Promise<boolean> {
    next?.cancel()
    try {
      await lookOnce(users.context(), ms)
      if (closed) return false
      failures = 0
      users.set('up', shown)
      return true
    } catch (error) {
      if (closed) return false
      down(SessionError.is(error) ? error : postgresError(shown, problemOf(error)))
      return false
    }
  }

  function down(why: SessionError): void {
    problem = why
    users.set('down', why.message)
    connections.refuse(why)
    const { runtime, deadlineMs } = users.context()
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    // Jittered, so that not all servers come back at once.
    const wait = most * (0.5 + (runtime.randomBytes(1)[0] as number) / 512)
    next = runtime.setTimer(wait, () => void check(Math.min(deadlineMs, LOOK_MS)))
  }

  /** A connection broke or went silent: is it the server? */
  function suspect(): void {
    if (closed || users.state === 'down' || users.contexts.size === 0) return
    void check(Math.min(users.context().deadlineMs * SUSPECT_PART, SUSPECT_MS))
  }

  async function run(statement: PostgresStatement, values: readonly unknown[]): Promise<readonly Row[]> {
    const { runtime, deadlineMs } = users.context()
    const until = runtime.monotonic() + deadlineMs
    if (looking !== undefined && users.state !== 'down') await looking
    for (;;) {
      if (closed) throw unavailable('postgresStore was closed: use nothing after close()')
      if (users.state !== 'up') throw unavailable(problem.message)
      try {
        return await connections.query(isPrepared ? statement : { text: statement.text }, values, until - runtime.monotonic())
      } catch (error) {
        if (SessionError.is(error)) throw error
        const again = (isPrepared && isUnprepared(error)) || isLostRace(error)
        if (isUnprepared(error)) isPrepared = false
        if (again && runtime.monotonic() < until) continue
        if (!isStatementsOwn(error)) suspect()
        throw postgresError(shown, problemOf(error))
      }
    }
  }

  connections.onIdleError(suspect)
  return {
    run,
    check,
    get problem(): SessionError {
      return problem
    },
    close(): void {
      closed = true
      next?.cancel()
      connections.refuse(unavailable('postgresStore was closed: use nothing after close()'))
    },
  }
}
