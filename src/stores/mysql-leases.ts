import { destroy } from './mysql-driver.ts'
import type { CorePoolLike, MysqlConnectionLike } from './mysql-driver.ts'

/** A connection for a while. What is let go while it still waits or connects frees its place when it can. */
export interface Lease {
  /** Rejects when there is none to be had. */
  readonly connection: Promise<MysqlConnectionLike>
  /** It may be used again. */
  release(): void
  /** It is not to be used again. */
  discard(): void
}

export interface Leases {
  /** Undefined: too many wait already. */
  take(): Lease | undefined
  /** Nobody waits any more. */
  close(): void
}

const WAITING_MOST = 5_000

/** The driver's own queue knows no deadline: nothing waits in it, because no more is asked of the pool than it has. */
export function leases(pool: CorePoolLike, limit: number): Leases {
  const waiting = new Set<{ start(): void; fail(error: Error): void }>()
  let free = limit

  function next(): void {
    for (const first of waiting) {
      if (free === 0) return
      waiting.delete(first)
      first.start()
    }
  }

  function giveBack(): void {
    free += 1
    next()
  }

  return {
    take(): Lease | undefined {
      if (free === 0 && waiting.size >= WAITING_MOST) return undefined
      let held: MysqlConnectionLike | undefined
      let isOver = false
      const silence = (): void => {}
      const { promise, resolve, reject } = Promise.withResolvers<MysqlConnectionLike>()
      const place = { start, fail: reject }

      function start(): void {
        free -= 1
        pool.getConnection((error: unknown, connection: MysqlConnectionLike | undefined) => {
          if (connection === undefined || connection === null) {
            giveBack()
            return reject(error as Error)
          }
          if (isOver) {
            connection.release()
            return giveBack()
          }
          held = connection
          connection.on('error', silence)
          resolve(connection)
        })
      }

      function end(how: (connection: MysqlConnectionLike) => void): void {
        if (isOver) return
        isOver = true
        waiting.delete(place)
        if (held === undefined) return
        how(held)
        giveBack()
      }

      if (free > 0) start()
      else waiting.add(place)
      return {
        connection: promise,
        release: () =>
          end((connection) => {
            connection.off('error', silence)
            connection.release()
          }),
        discard: () => end(destroy),
      }
    },
    close(): void {
      for (const { fail } of waiting) fail(new Error('closed'))
      waiting.clear()
    },
  }
}
