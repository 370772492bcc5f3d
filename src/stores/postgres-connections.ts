/** Statements with deadlines: the driver bounds neither one in flight nor how many wait for a connection. */
import type { Runtime } from '../seam.ts'
import type { PostgresClientLike, PostgresPoolLike } from './postgres-options.ts'
import type { OwnPool } from './postgres-pool.ts'
import { CONNECTIONS_MOST } from './postgres-pool.ts'
import type { Row } from './sql-record.ts'
import type { PostgresStatement } from './postgres-schema.ts'

export interface PostgresConnections {
  /** Rejects with the driver's error, or with `NoAnswer` after `ms`: the connection is then closed, and what it did is unknown. */
  query(statement: PostgresStatement, values: readonly unknown[], ms: number): Promise<readonly Row[]>
  /** A connection to keep. Give it back with `release(true)`. */
  take(ms: number): Promise<PostgresClientLike>
  /** Those that wait for a connection end with this: a pool that is ended would forget them. */
  refuse(error: Error): void
  /** A connection that nobody used broke. */
  onIdleError(listener: (error: Error) => void): void
  close(ms: number): Promise<void>
}

const WAITING_MOST = 1_000

class NoAnswer extends Error {
  override readonly message = 'timeout'
}

/** Values arrive as the text that PostgreSQL sent, whatever parsers the application has set. */
const asText = (value: string): string => value
const AS_TEXT = { getTypeParser: () => asText }
const ignore = (): void => {}
/** A pool tells of connections that break while they are closed, also after `close()`: without a listener that ends the process. */
const guarded = new WeakSet<PostgresPoolLike>()

export function postgresConnections(pool: PostgresPoolLike, runtime: Runtime, own: OwnPool | undefined): PostgresConnections {
  const most = own === undefined ? Math.max(1, pool.options?.max ?? CONNECTIONS_MOST) : CONNECTIONS_MOST
  const waiting = new Set<{ start(): void; refuse(error: Error): void }>()
  const connecting = new Set<(error: Error) => void>()
  const idleListeners = new Set<(error: Error) => void>()
  const onError = (error: Error): void => {
    for (const listener of idleListeners) listener(error)
  }
  let used = 0
  pool.on('error', onError)
  if (!guarded.has(pool)) pool.on('error', ignore)
  guarded.add(pool)

  function leave(): void {
    used -= 1
    for (const next of waiting) {
      waiting.delete(next)
      return next.start()
    }
  }

  function enter(ms: number): Promise<void> {
    if (used < most) {
      used += 1
      return Promise.resolve()
    }
    if (waiting.size >= WAITING_MOST) return Promise.reject(new NoAnswer())
    return new Promise((resolve, reject) => {
      const one = {
        start(): void {
          used += 1
          timer.cancel()
          resolve()
        },
        refuse(error: Error): void {
          waiting.delete(one)
          timer.cancel()
          reject(error)
        },
      }
      const timer = runtime.setTimer(ms, () => one.refuse(new NoAnswer()))
      waiting.add(one)
    })
  }

  /** Where the pool is full or the server slow, what it gives too late goes back to it. */
  function connect(ms: number, whenBack: () => void): Promise<PostgresClientLike> {
    return new Promise((resolve, reject) => {
      const refuse = (error: Error): void => {
        connecting.delete(refuse)
        if (timer.cancel()) isRefused = true
        reject(error)
      }
      let isRefused = false
      const timer = lateTimer(runtime, ms, () => refuse(new NoAnswer()))
      connecting.add(refuse)
      const got = (error: Error | undefined, client: PostgresClientLike | undefined): void => {
        connecting.delete(refuse)
        if (client === undefined) {
          whenBack()
          return refuse(error ?? new NoAnswer())
        }
        // At once: the server may say goodbye in the same breath, and an error that nobody listens to ends the process.
        client.on('error', ignore)
        if (!isRefused && timer.cancel()) return resolve(client)
        release(client, false)
        whenBack()
      }
      try {
        pool.connect(got)
      } catch (error) {
        got(error as Error, undefined)
      }
    })
  }

  function release(client: PostgresClientLike, destroy: boolean): void {
    client.release(destroy)
    client.off('error', ignore)
  }

  function send(
    client: PostgresClientLike,
    { text, name, isUseless }: PostgresStatement,
    values: readonly unknown[],
    ms: number,
  ): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      const giveBack = (destroy: boolean): void => {
        release(client, destroy)
        leave()
      }
      const timer = lateTimer(runtime, ms, () => {
        // Closing it rejects the query, which nobody waits for any more; its error must still find a listener.
        client.release(true)
        leave()
        reject(new NoAnswer())
      })
      client.query({ text, values, rowMode: 'array', types: AS_TEXT, ...(name !== undefined && { name }) }).then(
        (result) => {
          if (!timer.cancel()) return
          // Several statements in one text have several results: of them only the last says anything.
          const { rows } = Array.isArray(result) ? (result.at(-1) as { rows: Row[] }) : (result as { rows: Row[] })
          giveBack(isUseless?.(rows) === true)
          resolve(rows)
        },
        (error: unknown) => {
          if (!timer.cancel()) return
          giveBack(!isFromServer(error))
          reject(error)
        },
      )
    })
  }

  return {
    async query(statement, values, ms): Promise<readonly Row[]> {
      const until = runtime.monotonic() + ms
      await enter(ms)
      const client = await connect(until - runtime.monotonic(), leave)
      return send(client, statement, values, until - runtime.monotonic())
    },
    take: (ms) => connect(ms, () => {}),
    refuse(error): void {
      for (const one of [...waiting]) one.refuse(error)
      for (const refuse of [...connecting]) refuse(error)
    },
    onIdleError: (listener) => void idleListeners.add(listener),
    async close(ms): Promise<void> {
      idleListeners.clear()
      if (own === undefined) return void pool.off('error', onError)
      await new Promise<void>((resolve) => {
        const timer = runtime.setTimer(ms, resolve)
        const done = (): void => {
          timer.cancel()
          resolve()
        }
        own.end().then(done, done)
      })
      own.destroy()
    },
  }
}

/** The server answered: the connection can be used again, unless it ends it (class 57) or leads to a replica. */
function isFromServer(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !/^(08|57P|25006|E)/.test(code)
}

/** `cancel` is false when it was too late. A process that was stalled first reads what has arrived: timers fire before sockets are polled. */
function lateTimer(runtime: Runtime, ms: number, miss: () => void): { cancel(): boolean } {
  let state: 'waiting' | 'cancelled' | 'missed' = 'waiting'
  const timer = runtime.setTimer(Math.max(0, ms), () =>
    runtime.defer(() => {
      if (state !== 'waiting') return
      state = 'missed'
      miss()
    }),
  )
  return {
    cancel(): boolean {
      if (state === 'waiting') {
        state = 'cancelled'
        timer.cancel()
      }
      return state === 'cancelled'
    },
  }
}
