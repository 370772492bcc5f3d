/** The driver, and a pool of our own where the application gives none. */
import { Socket } from 'node:net'
import type * as Driver from 'pg'
import { SessionError } from '../errors.ts'
import type { CheckedPostgresOptions, PostgresPoolLike } from './postgres-options.ts'

/** Of an own pool that serve operations; one more listens to announcements. */
export const CONNECTIONS_MOST = 10
const IDLE_MS = 30_000
/** The server gives a statement up a little before we do: the connection is then kept. */
const STATEMENT_PART = 0.9

type PgDriver = Pick<typeof Driver, 'Pool'>

export async function loadDriver(): Promise<PgDriver> {
  try {
    return (await import('pg')).default
  } catch {
    throw new SessionError('DEPENDENCY_MISSING', 'postgresStore needs the package pg, which is not installed: npm install pg')
  }
}

export interface OwnPool {
  readonly pool: PostgresPoolLike
  /** Ends once the server has answered, which it may never do. */
  end(): Promise<void>
  destroy(): void
}

/** Its sockets are ours, too, so that it can be closed while the server does not answer. */
export function ownPool({ Pool }: PgDriver, connection: NonNullable<CheckedPostgresOptions['connection']>, deadlineMs: number): OwnPool {
  const sockets = new Set<Socket>()
  const pool = new Pool({
    ...connection,
    max: CONNECTIONS_MOST + 1,
    application_name: 'holdfast',
    connectionTimeoutMillis: deadlineMs,
    statement_timeout: Math.max(1, Math.floor(deadlineMs * STATEMENT_PART)),
    idleTimeoutMillis: IDLE_MS,
    allowExitOnIdle: true,
    keepAlive: true,
    stream: () => {
      const socket = new Socket()
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      return socket
    },
  })
  const destroy = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return { pool: pool as PostgresPoolLike, end: () => pool.end(), destroy }
}
