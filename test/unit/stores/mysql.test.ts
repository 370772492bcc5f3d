import { describe, expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { StoredRecord } from '../../../src/seam.ts'
import { adviceOf, failureOf, isBroken, problemOf } from '../../../src/stores/mysql-errors.ts'
import { leases } from '../../../src/stores/mysql-leases.ts'
import { checkedMysqlOptions } from '../../../src/stores/mysql-options.ts'
import { packFields, packName, unpackName, unpackRecord } from '../../../src/stores/mysql-record.ts'
import { packText, unpackText } from '../../../src/stores/sql-record.ts'
import { mysqlStatements } from '../../../src/stores/mysql-statements.ts'
import { mysqlStore } from '../../../src/stores/mysql.ts'

const PASSWORD = 'geheim-p4ssw0rd'

function thrown(run: () => unknown): SessionError {
  try {
    run()
  } catch (error) {
    expect(error).toSatisfy(SessionError.is)
    return error as SessionError
  }
  throw new Error('nothing was thrown')
}

describe('mysqlStore - options', () => {
  test('all problems are reported together, and the url is never repeated', () => {
    for (const url of [
      `mysql://u:${PASSWORD}@`,
      `http://u:${PASSWORD}@h/d`,
      `mysql://u:${PASSWORD}@h`,
      `mysql://u:${PASSWORD}@h/d/e`,
      `mysql://%zz:${PASSWORD}@h/d`,
      `mysql://h/d?password=${PASSWORD}`,
      `mysql://h/d?ssl=${PASSWORD}&ssl-mode=x`,
      PASSWORD,
      7,
    ]) {
      const error = thrown(() => mysqlStore({ url } as never, { table: 'a-b', migrate: 'no' } as never))
      expect(error.code).toBe('CONFIG_INVALID')
      expect(error.message).toMatch(/table must be.*migrate must be/)
      expect(JSON.stringify(Object.getOwnPropertyDescriptors(error)) + error.stack).not.toContain(PASSWORD)
    }
    expect(thrown(() => mysqlStore(undefined as never)).message).toMatch(/either \{ url:/)
    expect(thrown(() => mysqlStore({ url: 'mysql://h/d', pool: {} } as never)).message).toMatch(/either.*pool must be a pool of mysql2/)
    expect(thrown(() => mysqlStore({ url: 'mysql://h/d' }, { table: `t${'x'.repeat(63)}` })).message).toMatch(/at most 62/)
    expect(thrown(() => mysqlStore({ url: 'mysql://h/d' }, { table: 't`; --' })).message).toMatch(/at most 62/)
  })

  test('an address is taken apart, TLS verifies the certificate and the name, and credentials are not shown', () => {
    const { address, shown, table, migrate } = checkedMysqlOptions({ url: 'mysql://us%40er:p%2Fw@db.example:3307/app%20one?ssl=true' }, {})
    expect(address).toEqual({
      host: 'db.example',
      port: 3307,
      user: 'us@er',
      password: 'p/w',
      database: 'app one',
      ssl: { rejectUnauthorized: true, verifyIdentity: true },
    })
    expect([shown, table, migrate]).toEqual(['mysql://db.example:3307/app%20one', 'holdfast_sessions', true])
    const ssl = (suffix: string): unknown => checkedMysqlOptions({ url: `mysql://h/d${suffix}` }, {}).address?.ssl
    for (const suffix of ['', '?ssl=false', '?sslmode=disable', '?ssl-mode=DISABLED']) expect(ssl(suffix)).toBeUndefined()
    for (const suffix of ['?ssl-mode=VERIFY_IDENTITY', '?sslmode=require', '?ssl=1']) {
      expect(ssl(suffix)).toEqual({ rejectUnauthorized: true, verifyIdentity: true })
    }
    expect(checkedMysqlOptions({ url: 'mysql://h/d?ssl=false', ssl: { ca: 'x' } }, {}).address?.ssl).toMatchObject({
      ca: 'x',
      verifyIdentity: true,
    })
    expect(checkedMysqlOptions({ url: 'mysql://[::1]/d' }, {})).toMatchObject({
      address: { host: '::1', port: 3306 },
      shown: 'mysql://[::1]:3306/d',
    })
  })

  test('TLS in a way that would not verify, or that is not understood, is refused', () => {
    for (const suffix of ['?ssl=prefer', '?ssl-mode=PREFERRED', '?ssl=true&sslmode=disable']) {
      expect(thrown(() => mysqlStore({ url: `mysql://h/d${suffix}` })).message).toMatch(/TLS is asked for in an unknown way/)
    }
    expect(thrown(() => mysqlStore({ url: 'mysql://10.0.0.1/d?ssl=true' })).message).toMatch(/name of the host/)
  })

  test('before ready() and after close() every operation is STORE_UNAVAILABLE', async () => {
    const store = mysqlStore({ url: 'mysql://127.0.0.1:1/d' })
    await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const context = { runtime: systemRuntime(), logger: console, deadlineMs: 2_000, stateChanged: () => {} }
    await expect(store.ready(context)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await store.close()
    await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})

describe('mysqlStore - what is at rest', () => {
  test('any name and any text come back as they were', () => {
    for (const text of [
      '',
      'a',
      '=',
      '=x',
      '__proto__',
      'a.b',
      'a"b',
      "a'b",
      '\\',
      '\0',
      'ü',
      '🍪',
      '\ud800',
      '\udc00x',
      '\x1d',
      '\x1dd800',
      'x'.repeat(300),
    ]) {
      expect(unpackName(packName(text))).toBe(text)
      expect(unpackText(packText(text))).toBe(text)
      expect(packName(text)).toMatch(/^[\w.:=-]+$/)
      expect(packText(text).isWellFormed()).toBe(true)
      const row = [null, '1', null, '1', '1', '1', '1', '0', '1', 'w', packFields(new Map([[text, text]]), ['gone'])]
      const found = unpackRecord(row)
      expect(found).toMatchObject({ version: 1, writeIds: ['w'] })
      expect([...(found as StoredRecord).fields]).toEqual([[text, text]])
    }
  })

  test('no SQL holds what came from outside but as digits', () => {
    const hostile = "x'`\\; DROP --\0"
    const sql = mysqlStatements('t')
    const draft = {
      meta: { userId: hostile, createdAt: 1, lastActiveAt: 1, idleMs: 1, touchEveryMs: 1, absoluteAt: 1, persistent: false },
      fields: new Map([[hostile, hostile]]),
    }
    const set = new Map<string, string | undefined>([[hostile, hostile]])
    const add = new Map([[`${hostile}n`, { by: 1e21, from: -1 }]])
    const patch = { set, add, touchAt: 1, writeId: hostile, ifVersion: 1 }
    const all = [
      sql.read(hostile),
      sql.look(hostile),
      sql.insert(hostile, draft, hostile),
      sql.removeExpired(hostile),
      sql.update(hostile, { patch, set, add }),
      sql.counters(hostile, { patch, set, add }),
      ...sql.replace(hostile, hostile, draft, hostile),
      sql.destroy(hostile, 'destroyed', 1, hostile),
      ...sql.endUser(hostile, 1, hostile),
      sql.page(hostile, hostile, 1),
      sql.remove([hostile]),
    ]
    for (const statement of all) expect(statement).not.toMatch(/DROP|[\\;\0]/)
  })
})

describe('mysqlStore - errors of the driver', () => {
  test('what to do follows from the number, and nothing of the message is repeated', () => {
    const server = (errno: number, code: string) => ({ errno, code, sqlState: '42000', message: PASSWORD, sql: PASSWORD })
    expect(failureOf(server(1213, 'ER_LOCK_DEADLOCK'))).toBe('again')
    expect(failureOf(server(1062, 'ER_DUP_ENTRY'))).toBe('duplicate')
    expect(failureOf(server(1146, 'ER_NO_SUCH_TABLE'))).toBe('missing')
    expect(failureOf(server(1045, 'ER_ACCESS_DENIED_ERROR'))).toBe('other')
    expect(failureOf(server(1927, 'ER_CONNECTION_KILLED'))).toBe('lost')
    expect(failureOf({ code: 'ECONNREFUSED', errno: -111 })).toBe('lost')
    expect(isBroken({ code: 'PROTOCOL_CONNECTION_LOST' })).toBe(true)
    expect(isBroken({ code: 'ECONNREFUSED', errno: -111 })).toBe(false)
    expect(problemOf({ code: '', errors: [{ code: 'ECONNREFUSED' }] })).toBe('ECONNREFUSED')
    for (const error of [server(1045, 'ER_ACCESS_DENIED_ERROR'), server(9999, 'ER_NEW'), { message: PASSWORD }, undefined]) {
      expect(problemOf(error) + adviceOf(error)).not.toContain(PASSWORD)
    }
  })
})

describe('mysqlStore - connections', () => {
  const silent = { query: () => {}, release: () => {}, destroy: () => {}, on: () => {}, off: () => {} }

  test('no more are asked of a pool than it has, the rest wait in order, and too many are refused', async () => {
    const asked: ((error: unknown, connection: unknown) => void)[] = []
    const places = leases({ getConnection: (callback) => void asked.push(callback) }, 2)
    const taken = Array.from({ length: 5_003 }, () => places.take())
    expect(asked).toHaveLength(2)
    expect(taken.filter((lease) => lease === undefined)).toHaveLength(1)
    asked[0]?.(null, silent)
    await taken[0]?.connection
    taken[2]?.discard()
    taken[0]?.release()
    expect(asked).toHaveLength(3)
    asked[2]?.(null, silent)
    await taken[3]?.connection
    // What was given up while it connected frees its place once it has connected.
    taken[1]?.discard()
    expect(asked).toHaveLength(3)
    asked[1]?.(null, silent)
    expect(asked).toHaveLength(4)
    for (const lease of taken.slice(4)) lease?.connection.catch(() => {})
    places.close()
    await expect(taken[5]?.connection).rejects.toThrow('closed')
  })
})
