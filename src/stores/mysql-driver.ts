import type * as Driver from 'mysql2'
import { SessionError } from '../errors.ts'
import type { Row } from './sql-record.ts'

/** The part of a connection of `mysql2` that the store uses. */
export interface MysqlConnectionLike {
  query(options: any, callback: (error: any, results: any) => void): unknown
  release(): void
  destroy(): void
  on(event: string, listener: (...args: any[]) => void): unknown
  off(event: string, listener: (...args: any[]) => void): unknown
}

/** The part of a pool of `mysql2` that the store uses. */
export interface CorePoolLike {
  getConnection(callback: (error: any, connection: any) => void): void
}

/** As the driver takes it. */
export interface MysqlAddress {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly ssl?: Readonly<Record<string, unknown>>
}

export interface MysqlResult {
  /** Of a change: rows that it matched or changed. */
  readonly affected: number
  readonly insertId: number
  /** Of a SELECT. */
  readonly rows: readonly Row[]
}

/** The driver takes 50 ms to load: only a store that is used pays for it. */
export async function loadDriver(): Promise<typeof Driver> {
  try {
    return await import('mysql2')
  } catch {
    throw new SessionError('DEPENDENCY_MISSING', 'mysqlStore needs the package mysql2, which is not installed: npm install mysql2')
  }
}

export interface OwnPool extends CorePoolLike {
  /** Lets what is under way end, for a moment; `wait` resolves when the moment is over. */
  close(wait: () => Promise<void>): Promise<void>
}

export const OWN_CONNECTIONS = 10

/** What a mode or a setting of the server could change is set here; a row that stays locked ends before the connection is given up. */
function sessionSettings(deadlineMs: number): string {
  const seconds = Math.max(1, Math.ceil(deadlineMs / 1_000))
  return `SET SESSION sql_mode = 'STRICT_TRANS_TABLES', SESSION autocommit = 1, SESSION innodb_lock_wait_timeout = ${seconds}`
}

/** `broke`: a connection ended, perhaps because the server did. */
export function ownPool(driver: typeof Driver, address: MysqlAddress, deadlineMs: number, broke: () => void): OwnPool {
  const pool = driver.createPool({
    ...(address as Driver.PoolOptions),
    connectionLimit: OWN_CONNECTIONS,
    connectTimeout: deadlineMs,
    charset: 'utf8mb4',
    multipleStatements: true,
    trace: false,
  })
  const living = new Set<MysqlConnectionLike>()
  pool.on('connection', (connection) => {
    const one = connection as unknown as MysqlConnectionLike
    living.add(one)
    one.on('error', () => {})
    streamOf(one)?.once?.('close', () => {
      living.delete(one)
      broke()
    })
    one.query({ sql: sessionSettings(deadlineMs) }, () => {})
  })
  return {
    getConnection: (callback) => pool.getConnection(callback),
    async close(wait): Promise<void> {
      const ended = new Promise<void>((resolve) => {
        pool.end(() => resolve())
      })
      await Promise.race([ended, wait()])
      for (const connection of living) destroy(connection)
    },
  }
}

/** True where one command may hold several statements. */
export function takesSeveral(pool: CorePoolLike): boolean {
  return configOf(pool)?.connectionConfig?.multipleStatements === true
}

/** How many connections a given pool has at most. */
export function limitOf(pool: CorePoolLike): number {
  const limit = configOf(pool)?.connectionLimit
  return typeof limit === 'number' && limit > 0 ? limit : OWN_CONNECTIONS
}

function configOf(pool: CorePoolLike): { connectionLimit?: unknown; connectionConfig?: { multipleStatements?: unknown } } | undefined {
  return (pool as { config?: { connectionLimit?: unknown; connectionConfig?: { multipleStatements?: unknown } } }).config
}

/** Values arrive as text, whatever a given pool makes of them. */
const asText = (field: { string(encoding: string): string | null }): string | null => field.string('utf8')

export function ask(connection: MysqlConnectionLike, statements: readonly string[]): Promise<MysqlResult[]> {
  const sql = statements.join(';')
  return new Promise((resolve, reject) => {
    const options = { sql, rowsAsArray: true, nestTables: false, namedPlaceholders: false, typeCast: asText }
    connection.query(options, (error: unknown, results: unknown) => {
      if (error !== null && error !== undefined) reject(error as Error)
      else resolve((statements.length === 1 ? [results] : (results as unknown[])).map(resultOf))
    })
  })
}

function resultOf(result: unknown): MysqlResult {
  if (Array.isArray(result)) return { affected: 0, insertId: 0, rows: result as Row[] }
  const { affectedRows, insertId } = result as { affectedRows?: number; insertId?: number | string }
  return { affected: affectedRows ?? 0, insertId: Number(insertId ?? 0), rows: [] }
}

/** The driver's own `destroy()` only says that it will send no more, and waits for a server that may be stopped. */
export function destroy(connection: MysqlConnectionLike): void {
  try {
    connection.destroy()
    streamOf(connection)?.destroy?.()
  } catch {
    // It was closed already.
  }
}

function streamOf(connection: object): { destroy?(): void; once?(event: 'close', run: () => void): void } | undefined {
  return (connection as { stream?: { destroy?(): void; once?(event: 'close', run: () => void): void } }).stream
}
