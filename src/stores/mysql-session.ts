import { SessionError } from '../errors.ts'
import { ask } from './mysql-driver.ts'
import type { MysqlConnectionLike, MysqlResult } from './mysql-driver.ts'
import { BEGIN, COMMIT, ROLLBACK } from './mysql-statements.ts'

/** One connection, for the length of one operation. */
export interface MysqlSession {
  ask(statement: string): Promise<MysqlResult>
  /** All or nothing; their results without those of the frame. One round trip where a command may hold several statements. */
  transaction(statements: readonly string[]): Promise<readonly MysqlResult[]>
  /** Nothing to do where no transaction is open. */
  rollback(): Promise<void>
}

export interface SessionOptions {
  /** One command may hold several statements. */
  readonly several: boolean
  /** The longest command that the server takes. */
  maxBytes(): number
  /** The address without credentials. */
  readonly shown: string
}

export function sessionOn(connection: MysqlConnectionLike, { several, maxBytes, shown }: SessionOptions): MysqlSession {
  let isOpen = false

  /** The server would close the connection. What is sent is ASCII. */
  function checkSize(statements: readonly string[]): void {
    const size = statements.reduce((sum, statement) => sum + statement.length + 1, 0)
    if (size > maxBytes()) throw tooLarge(shown, size, maxBytes())
  }

  async function one(statement: string): Promise<MysqlResult> {
    checkSize([statement])
    if (statement === BEGIN) isOpen = true
    const results = await ask(connection, [statement])
    if (statement === COMMIT || statement === ROLLBACK) isOpen = false
    return results[0] as MysqlResult
  }

  return {
    ask: one,
    async transaction(statements): Promise<readonly MysqlResult[]> {
      const all = [BEGIN, ...statements, COMMIT]
      checkSize(several ? all : [])
      isOpen = true
      const results: MysqlResult[] = several ? await ask(connection, all) : []
      if (!several) for (const statement of all) results.push(await one(statement))
      isOpen = false
      return results.slice(1, -1)
    },
    async rollback(): Promise<void> {
      if (isOpen) await one(ROLLBACK)
    },
  }
}

export function tooLarge(shown: string, bytes: number, maxBytes: number): SessionError {
  return new SessionError(
    'SESSION_TOO_LARGE',
    `the session takes ${bytes} bytes, and MySQL at ${shown} takes ${maxBytes}: nothing was stored. Raise its max_allowed_packet, or lower limits.sessionBytes.`,
  )
}
