import { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'
import { unavailable } from './availability.ts'
import type { CorePoolLike, MysqlConnectionLike } from './mysql-driver.ts'
import { adviceOf, failureOf, isBroken, problemOf } from './mysql-errors.ts'
import { leases } from './mysql-leases.ts'
import type { Lease } from './mysql-leases.ts'
import { sessionOn } from './mysql-session.ts'
import type { MysqlSession, SessionOptions } from './mysql-session.ts'

export interface MysqlAccessOptions extends SessionOptions {
  readonly pool: CorePoolLike
  readonly limit: number
  readonly runtime: Runtime
  readonly deadlineMs: number
  /** Rejects while the database is of no use; decides whether it is up again. */
  reopen(session: MysqlSession): Promise<void>
  up(): void
  down(why: string): void
}

export interface MysqlAccess {
  /** Rejects with a SessionError within the deadline, whatever the server does. `work` may run again after a deadlock. */
  run<R>(work: (session: MysqlSession) => Promise<R>): Promise<R>
  open(): Promise<void>
  /** An idle connection broke: look whether the server is still there. */
  suspect(): void
  close(): void
}

interface Operation {
  lease: Lease | undefined
  phase: 'waiting' | 'talking'
  isOver: boolean
}

const AGAIN_WITHIN_MS = 20
const REOPEN_TRIES = 3
const REOPEN_FIRST_MS = 25
const REOPEN_MOST_MS = 400
/** What a wrong password or a missing permission costs the server is not worth asking often. */
const REOPEN_REFUSED_MS = 2_000

/** Operations on connections of a pool, each within a deadline that is ours: the driver's does not bound a command in flight. */
export function mysqlAccess(options: MysqlAccessOptions): MysqlAccess {
  const { runtime, deadlineMs, shown } = options
  const places = leases(options.pool, options.limit)
  let problem: SessionError | undefined
  /** It has been looked at, and nothing was heard against it since. */
  let isUsable = false
  let answeredAt = Number.NEGATIVE_INFINITY
  let reopening: Timer | undefined
  let opening: Promise<void> | undefined
  let waitMs = REOPEN_FIRST_MS
  let closed = false

  function failureText(error: unknown): SessionError {
    if (SessionError.is(error)) return error
    const word = typeof error === 'string' ? error : problemOf(error)
    return unavailable(`cannot use MySQL at ${shown} (${word}): ${adviceOf(error)}`)
  }

  /** Nobody waits for a server that is known to be away: it is asked again from here. */
  function failed(error: unknown, startedAt: number): SessionError {
    const failure = failureText(error)
    // Others were answered meanwhile: it is this row, or the number of connections, and not the server.
    if (closed || answeredAt >= startedAt) return failure
    problem = failure
    isUsable = false
    options.down(failure.message)
    if (reopening === undefined && opening === undefined) reopenLater(failureOf(error) === 'lost')
    return failure
  }

  function reopenLater(isAway: boolean): void {
    const wait = isAway ? waitMs : REOPEN_REFUSED_MS
    waitMs = Math.min(waitMs * 2, REOPEN_MOST_MS)
    reopening = runtime.setTimer(wait, () => {
      reopening = undefined
      open().catch(() => {})
    })
  }

  function suspect(): void {
    if (!closed && problem === undefined && reopening === undefined && opening === undefined) reopenLater(true)
  }

  function open(): Promise<void> {
    reopening?.cancel()
    reopening = undefined
    opening ??= attemptToOpen().finally(() => {
      opening = undefined
    })
    return opening
  }

  async function attemptToOpen(): Promise<void> {
    const wasUsable = isUsable
    let seen: unknown
    try {
      await retried((ms) =>
        operate(options.reopen, ms, (error) => {
          seen = error
        }),
      )
      if (closed) return
      problem = undefined
      isUsable = true
      waitMs = REOPEN_FIRST_MS
      options.up()
    } catch (error) {
      if (closed) throw error
      problem = error as SessionError
      isUsable = false
      options.down(problem.message)
      reopenLater(!SessionError.is(seen) && failureOf(seen) === 'lost')
      throw error
    }

    /** One connection that breaks is no outage yet, nor are several while others are answered. */
    async function retried(attemptWithin: (ms: number) => Promise<void>): Promise<void> {
      const startedAt = runtime.monotonic()
      const until = startedAt + deadlineMs
      for (let tries = 1; ; tries++) {
        try {
          return await attemptWithin(Math.max(1, until - runtime.monotonic()))
        } catch (error) {
          if (wasUsable && isBroken(seen) && answeredAt >= startedAt) return
          if (tries === REOPEN_TRIES || problem !== undefined || closed || SessionError.is(seen) || !isBroken(seen)) throw error
        }
        await pause()
      }
    }
  }

  function operate<R>(work: (session: MysqlSession) => Promise<R>, ms: number, sawError: (error: unknown) => void): Promise<R> {
    const operation: Operation = { lease: undefined, phase: 'waiting', isOver: false }
    const startedAt = runtime.monotonic()
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        if (operation.isOver) return
        operation.isOver = true
        timer.cancel()
        settle()
      }
      const miss = (): void =>
        end(() => {
          const why = operation.phase === 'talking' ? 'no answer' : 'no connection'
          operation.lease?.discard()
          sawError(undefined)
          reject(failed(why, startedAt))
        })
      // A server that was itself stalled first reads what has arrived: the timer fires before the sockets are polled.
      const timer = runtime.setTimer(ms, () => runtime.defer(miss))
      drive(operation, work, startedAt).then(
        (value) => end(() => resolve(value)),
        (error: unknown) =>
          end(() => {
            sawError(error)
            reject(failureText(error))
          }),
      )
    })
  }

  async function drive<R>(operation: Operation, work: (session: MysqlSession) => Promise<R>, startedAt: number): Promise<R> {
    for (;;) {
      const lease = places.take()
      if (lease === undefined) throw failureText('too many waiting')
      operation.lease = lease
      operation.phase = 'waiting'
      const connection = await lease.connection.catch((error: unknown) => {
        if (isBroken(error)) suspect()
        else failed(error, startedAt)
        throw error
      })
      operation.phase = 'talking'
      const outcome = await attempt(connection, lease, work)
      if ('value' in outcome) return outcome.value
      if (failureOf(outcome.error) !== 'again' || SessionError.is(outcome.error) || operation.isOver) throw outcome.error
      await pause()
      if (operation.isOver) throw outcome.error
    }
  }

  async function attempt<R>(
    connection: MysqlConnectionLike,
    lease: Lease,
    work: (session: MysqlSession) => Promise<R>,
  ): Promise<{ value: R } | { error: unknown }> {
    const session = sessionOn(connection, options)
    try {
      const value = await work(session)
      answeredAt = runtime.monotonic()
      lease.release()
      return { value }
    } catch (error) {
      if (!SessionError.is(error) && failureOf(error) === 'lost') {
        lease.discard()
        return { error }
      }
      answeredAt = runtime.monotonic()
      await session.rollback().then(lease.release, lease.discard)
      return { error }
    }
  }

  function pause(): Promise<void> {
    const wait = 1 + ((runtime.randomBytes(1)[0] as number) / 256) * AGAIN_WITHIN_MS
    return new Promise((done) => void runtime.setTimer(wait, done))
  }

  return {
    run(work) {
      return problem === undefined ? operate(work, deadlineMs, () => {}) : Promise.reject(problem)
    },
    open,
    suspect,
    close(): void {
      closed = true
      reopening?.cancel()
      places.close()
    },
  }
}
