import { createPool } from 'mysql2'
import type { Connection, RowDataPacket } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { PatchResult, SessionStore, StoreContext } from '../../src/seam.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { startMariaDb } from '../setup/mariadb.ts'
import type { RunningMariaDb } from '../setup/mariadb.ts'
import { waitFor } from '../setup/servers.ts'
import { add, closeAll, countingProxy, draft, failure, nextWriteId, plain, ready, record, set } from './mysql-tools.ts'

let server: RunningMariaDb

beforeAll(async () => {
  server = await startMariaDb()
})
afterEach(closeAll)
afterAll(() => server.stop())

let tables = 0
const nextTable = (): string => `t${++tables}`

async function status(connection: Connection, name: string): Promise<number> {
  const [rows] = await connection.query<RowDataPacket[]>(`SHOW GLOBAL STATUS LIKE '${name}'`)
  return Number(rows[0]?.['Value'])
}

describe('mysqlStore - at rest', () => {
  test('keys, users, names and values compare exactly: case and trailing spaces count', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    for (const [index, key] of ['k', 'K', 'k ', 'k\0', 'ḱ'].entries()) {
      expect(await store.create(key, draft({ n: String(index), N: 'x', 'n ': 'y' }, `ada${key.slice(1)}${key}`), nextWriteId())).toBe(true)
      await store.patch(key, set('N ', 'z'))
    }
    for (const [index, key] of ['k', 'K', 'k ', 'k\0', 'ḱ'].entries()) {
      expect(Object.fromEntries((await record(store, key)).fields)).toEqual({ n: String(index), N: 'x', 'n ': 'y', 'N ': 'z' })
      const theirs: string[] = []
      for await (const found of store.list({ userId: `ada${key.slice(1)}${key}` })) theirs.push(found.key)
      expect(theirs).toEqual([key])
    }
    expect(await store.endUser?.('adak', Date.now() + 1_000, {})).toEqual(['k'])
    expect(await store.destroy('K', 'destroyed', Date.now() + 1_000, { userId: 'adak' })).toBe(false)
  })

  test('halves of surrogate pairs come back as they were', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    const odd = ['\ud800', 'a\udfff', '\x1d', '\x1dd800', '🍪\ud83c']
    for (const text of odd) {
      await store.create(`k${text.length}${text.charCodeAt(0)}`, draft({ [text]: text }, text), nextWriteId())
      const found = await record(store, `k${text.length}${text.charCodeAt(0)}`)
      expect([...found.fields]).toEqual([[text, text]])
      expect(found.meta.userId).toBe(text)
    }
  })

  test("sums are JavaScript's, to the last digit and in its spelling", async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    const numbers = [0, -1, 0.1, 1e15, 123456789012345680, 1e21, 1.5e-7, -2.5e-300, 5e-324, 9007199254740991, 1.7976931348623157e308, 1 / 3]
    for (let index = 0; index < 60; index++) numbers.push((Math.random() - 0.5) * 10 ** Math.floor(Math.random() * 60 - 30))
    await store.create('k', draft(Object.fromEntries(numbers.map((value, index) => [`f${index}`, JSON.stringify(value)]))), nextWriteId())
    const by = numbers.map((_, index) => numbers[(index * 7 + 3) % numbers.length] as number)
    const expected = numbers.map((value, index) => String(value + (by[index] as number)))
    const patch = { ...set('other', '1'), add: new Map(by.map((value, index) => [`f${index}`, { by: value, from: 0 }])) }
    const result = (await store.patch('k', patch)) as Extract<PatchResult, { outcome: 'applied' }>
    expect(result).toMatchObject({ outcome: 'applied', before: 1, after: 2 })
    expect([...result.counters.values()]).toEqual(expected)
    const { fields } = await record(store, 'k')
    expect(numbers.map((_, index) => fields.get(`f${index}`))).toEqual(expected)
    // Twice, because the first sum is stored in another form than what was assigned.
    await store.patch('k', { ...set('other', '2'), add: new Map(by.map((_, index) => [`f${index}`, { by: 1, from: 0 }])) })
    const again = (await record(store, 'k')).fields
    expect(numbers.map((_, index) => again.get(`f${index}`))).toEqual(expected.map((text) => String(Number(text) + 1)))
  })

  test('a counter that would leave the finite numbers is FIELD_INVALID and changes nothing', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    await store.create('k', draft({ big: '1.7e308', endless: '1e999', line: '7\n', a: '1' }), nextWriteId())
    for (const field of ['big', 'endless', 'line']) {
      expect(await failure(store.patch('k', add(field, 1.7e308)))).toMatchObject({ code: 'FIELD_INVALID' })
    }
    expect(await record(store, 'k')).toMatchObject({ version: 1 })
    expect(await store.patch('k', add('a', 1))).toMatchObject({ outcome: 'applied' })
  })

  test('a record that does not parse is STORE_RECORD_INVALID with its key, and stays as it is', async () => {
    const table = nextTable()
    const store = await ready(mysqlStore({ url: server.url }, { table }))
    const connection = await plain(server.url)
    const broken = { text: 'text', half: '{"a":"1"', list: '["a"]', nested: '{"a":{"b":"1"}}', empty: '' }
    for (const [key, fields] of Object.entries(broken)) {
      await store.create(key, draft({ a: '1' }, 'ada'), nextWriteId())
      await connection.query(`UPDATE ${table} SET fields = ? WHERE session_key = ?`, [fields, key])
      const reading = await failure(store.read(key))
      expect(reading).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(reading.message).toContain(key)
      if (key !== 'nested') {
        expect(await failure(store.patch(key, set('a', '2')))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
        expect(await failure(store.patch(key, add('a', 2)))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      }
      const [rows] = await connection.query<RowDataPacket[]>(`SELECT fields FROM ${table} WHERE session_key = ?`, [key])
      expect(rows[0]?.['fields']).toBe(fields)
    }
    const listed: string[] = []
    for await (const { key } of store.list({ userId: 'ada' })) listed.push(key)
    expect(listed.sort()).toEqual(Object.keys(broken).sort())
    expect(await store.destroy('text', 'destroyed', Date.now() + 60_000)).toBe(true)
  })

  test('a server whose clock is an hour off expires nobody and lengthens nothing', async () => {
    const table = nextTable()
    const right = await ready(mysqlStore({ url: server.url }, { table }))
    const connection = await plain(server.url)
    for (const offMs of [3_600_000, -3_600_000]) {
      const runtime = { ...systemRuntime(), now: () => Date.now() + offMs }
      const wrong = await ready(mysqlStore({ url: server.url }, { table }), { runtime })
      const key = `k${offMs}`
      const made = draft()
      await right.create(key, made, nextWriteId())
      const seen = await record(wrong, key)
      expect(Math.abs(seen.meta.lastActiveAt - (made.meta.lastActiveAt + offMs))).toBeLessThan(1_000)
      await wrong.patch(key, { ...set('a', '1'), touchAt: runtime.now() })
      const after = await record(right, key)
      expect(Math.abs(after.meta.lastActiveAt - Date.now())).toBeLessThan(1_000)
      expect(Math.abs(after.meta.absoluteAt - made.meta.absoluteAt)).toBeLessThan(1_000)
      await wrong.create(
        `${key}new`,
        { ...made, meta: { ...made.meta, lastActiveAt: runtime.now(), absoluteAt: runtime.now() + 60_000 } },
        'w',
      )
      expect(Math.abs((await record(right, `${key}new`)).meta.absoluteAt - Date.now() - 60_000)).toBeLessThan(1_000)
      await wrong.destroy(key, 'destroyed', runtime.now() + 60_000)
      const mark = (await right.read(key)) as { endedAt: number }
      expect(Math.abs(mark.endedAt - Date.now())).toBeLessThan(1_000)
      const [rows] = await connection.query<RowDataPacket[]>(`SELECT expires_at FROM ${table} WHERE session_key = ?`, [key])
      expect(Math.abs(Number(rows[0]?.['expires_at']) - made.meta.lastActiveAt - made.meta.idleMs)).toBeLessThan(2_000)
    }
  })
})

describe('mysqlStore - the schema', () => {
  test('several servers start at once: all can be used, and the table is made once', async () => {
    const table = nextTable()
    const stores = await Promise.all(Array.from({ length: 6 }, () => ready(mysqlStore({ url: server.url }, { table }))))
    await stores[0]?.create('k', draft({ a: '1' }), nextWriteId())
    for (const store of stores) expect((await record(store, 'k')).fields.get('a')).toBe('1')
  })

  test('migrate: false and no table: one line with the SQL to run, which makes it usable without a restart', async () => {
    const table = nextTable()
    const store = mysqlStore({ url: server.url }, { table, migrate: false })
    const error = await failure(ready(store))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
    expect(error.message).toMatch(
      new RegExp(
        `^mysqlStore cannot use MySQL at mysql://127[^\\n]*its table ${table} is missing; run as its owner: CREATE TABLE[^\\n]*;$`,
      ),
    )
    const connection = await plain(server.url)
    const sql = /CREATE TABLE .*$/.exec(error.message)?.[0] ?? ''
    await connection.query(sql)
    await waitFor(() => store.create('k', draft(), 'w'), 15_000)
    const [rows] = await connection.query<RowDataPacket[]>(`SHOW CREATE TABLE ${table}`)
    expect(JSON.stringify(rows)).toContain('KEY `by_expiry` (`expires_at`)')
  })

  test('a table of a newer format, or of something else, is refused', async () => {
    const connection = await plain(server.url)
    const newer = nextTable()
    await ready(mysqlStore({ url: server.url }, { table: newer }))
    await connection.query(`ALTER TABLE ${newer} COMMENT = 'Holdfast sessions, format 2'`)
    expect((await failure(ready(mysqlStore({ url: server.url }, { table: newer })))).message).toMatch(
      /newer version of Holdfast \(format 2\): update/,
    )
    const other = nextTable()
    await connection.query(`CREATE TABLE ${other} (id INT)`)
    expect((await failure(ready(mysqlStore({ url: server.url }, { table: other })))).message).toMatch(
      /columns of Holdfast: choose another name/,
    )
  })
})

describe('mysqlStore - what it costs', () => {
  test('each operation is one round trip, and most are one statement', async () => {
    const table = nextTable()
    const proxy = await countingProxy(server.port)
    const store = await ready(mysqlStore({ url: server.url.replace(String(server.port), String(proxy.port)) }, { table }))
    const connection = await plain(server.url)
    const cost = async (what: () => Promise<unknown>): Promise<[trips: number, statements: number]> => {
      const [trips, before] = [proxy.trips(), await status(connection, 'Questions')]
      await what()
      return [proxy.trips() - trips, (await status(connection, 'Questions')) - before - 1]
    }
    await store.create('warm', draft(), nextWriteId())
    expect(await cost(() => store.create('k', draft({ n: '1' }, 'ada'), nextWriteId()))).toEqual([1, 1])
    expect(await cost(() => store.read('k'))).toEqual([1, 1])
    expect(await cost(() => store.patch('k', set('a', '1')))).toEqual([1, 1])
    expect(await cost(() => store.patch('k', { ...set('a', '1'), set: new Map(), touchAt: Date.now() + 1_000 }))).toEqual([1, 1])
    expect(await cost(() => store.patch('k', { ...set('n', '5'), add: new Map([['n', { by: 1, from: 0 }]]) }))).toEqual([1, 1])
    expect(await cost(() => store.patch('k', add('n', 1)))).toEqual([1, 4])
    expect(await cost(() => store.replace('k', 'k2', draft({}, 'ada'), nextWriteId()))).toEqual([1, 4])
    expect(await cost(() => store.destroy('k2', 'destroyed', Date.now() + 60_000))).toEqual([1, 1])
    expect(await cost(() => Promise.resolve(store.endUser?.('ada', Date.now() + 60_000, {})))).toEqual([1, 4])
    // A write that does not apply looks why.
    expect(await cost(() => store.patch('k2', set('a', '1')))).toEqual([2, 2])
  })

  test('on a pool that takes one statement at a time, what needs a transaction takes four round trips', async () => {
    const proxy = await countingProxy(server.port)
    const pool = createPool({ uri: server.url.replace(String(server.port), String(proxy.port)), connectionLimit: 1 })
    const store = await ready(mysqlStore({ pool }, { table: nextTable() }))
    await store.create('k', draft({ n: '1' }), nextWriteId())
    const before = proxy.trips()
    await store.patch('k', set('a', '1'))
    expect(proxy.trips() - before).toBe(1)
    await store.patch('k', add('n', 1))
    expect(proxy.trips() - before).toBe(5)
    const several = createPool({
      uri: server.url.replace(String(server.port), String(proxy.port)),
      multipleStatements: true,
      connectionLimit: 1,
    })
    const better = await ready(mysqlStore({ pool: several }, { table: nextTable() }))
    await better.create('k', draft({ n: '1' }), nextWriteId())
    const start = proxy.trips()
    await better.patch('k', add('n', 1))
    expect(proxy.trips() - start).toBe(1)
    await several.promise().end()
    await store.close()
    expect(await pool.promise().query('SELECT 1 AS one')).toMatchObject([[{ one: 1 }], {}])
    await pool.promise().end()
  })
})

describe('mysqlStore - many at once', () => {
  test('logins, logouts and writes of one user all end well', async () => {
    const table = nextTable()
    const stores = [await ready(mysqlStore({ url: server.url }, { table })), await ready(mysqlStore({ url: server.url }, { table }))]
    const [one, two] = stores as [SessionStore, SessionStore]
    for (let round = 0; round < 5; round++) {
      const keys = Array.from({ length: 12 }, (_, index) => `r${round}k${index}`)
      await Promise.all(keys.map((key) => one.create(key, draft({ n: '0' }, 'ada'), nextWriteId())))
      const ended: string[] = []
      await Promise.all([
        ...keys.flatMap((key, index) => [
          one.patch(key, add('n', 1)),
          two.patch(key, set('a', '1')),
          two.replace(key, `${key}n${index}`, draft({}, 'ada'), nextWriteId()),
        ]),
        ...stores.map(async (store) => ended.push(...((await store.endUser?.('ada', Date.now() + 60_000, {})) ?? []))),
      ])
      expect(new Set(ended).size).toBe(ended.length)
      await one.endUser?.('ada', Date.now() + 60_000, {})
      for await (const summary of one.list({ userId: 'ada' })) expect(summary).toBeUndefined()
    }
  })

  test('what InnoDB undid to end a deadlock is tried again, and applies once', async () => {
    const table = nextTable()
    const store = await ready(mysqlStore({ url: server.url }, { table }))
    await store.create('old', draft(), nextWriteId())
    const [other, watcher] = [await plain(server.url), await plain(server.url)]
    const columns =
      'session_key, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, is_persistent, version, write_ids, fields, expires_at'
    const rows = ['new', ...Array.from({ length: 20 }, (_, index) => `heavy${index}`)].map(
      (key) => `('${key}', 1, 1, 1, 1, 1, 0, 1, 'w', '{}', 1)`,
    )
    await other.query(`START TRANSACTION; INSERT INTO ${table} (${columns}) VALUES ${rows.join()}`)
    const before = await status(watcher, 'Innodb_deadlocks')
    const replacing = store.replace('old', 'new', draft(), nextWriteId())
    await waitFor(async () => {
      // InnoDB renews this table only when nobody has looked for 100 ms.
      await new Promise((resolve) => setTimeout(resolve, 150))
      const [found] = await watcher.query<RowDataPacket[]>(
        "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
      )
      return Number(found[0]?.['n']) === 1
    })
    await other.query(`UPDATE ${table} SET version = version WHERE session_key = 'old'`)
    expect((await status(watcher, 'Innodb_deadlocks')) - before).toBe(1)
    await other.query('ROLLBACK')
    expect(await replacing).toMatchObject({ outcome: 'applied', before: 1 })
    expect(await record(store, 'new')).toMatchObject({ version: 1 })
    expect(await store.read('old')).toMatchObject({ gone: 'replaced' })
  })

  test('a reply lost with its connection is retried with the same write id and counts once', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    await store.create('k', draft({ n: '0' }), nextWriteId())
    const connection = await plain(server.url)
    let lost = 0
    let round = 0
    // On a busy machine the connection may end too late for many rounds.
    for (; round < 30 || (lost === 0 && round < 500); round++) {
      const patch = add('n', 1)
      const killing = killOthers(connection)
      const first = store.patch('k', patch).catch(() => {
        lost += 1
      })
      await Promise.all([killing, first])
      const result = await waitFor(() => store.patch('k', patch).catch(() => undefined))
      expect(result).toMatchObject({ outcome: 'applied', before: round + 1, after: round + 2 })
    }
    expect(lost).toBeGreaterThan(0)
    expect((await record(store, 'k')).fields.get('n')).toBe(String(round))
  }, 60_000)

  test('a retry of what was stored is answered as the first time, for each kind of write', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: nextTable() }))
    expect(await store.create('k', draft({ n: '0' }), 'w1')).toBe(true)
    expect(await store.create('k', draft({ n: '0' }), 'w1')).toBe(true)
    const both = { ...add('n', 1), set: new Map([['a', '1']]) }
    const first = await store.patch('k', both)
    expect(await store.patch('k', both)).toEqual(first)
    expect(await store.replace('k', 'k2', draft(), 'w2')).toMatchObject({ outcome: 'applied', before: 2 })
    expect(await store.replace('k', 'k2', draft(), 'w2')).toMatchObject({ outcome: 'applied' })
    expect(await store.create('k3', draft(), 'w3')).toBe(true)
    expect(await store.replace('k3', 'k2', draft(), 'w4')).toEqual({ outcome: 'conflict', version: 1 })
    expect(await record(store, 'k3')).toMatchObject({ version: 1 })
  })
})

async function killOthers(connection: Connection): Promise<void> {
  const [rows] = await connection.query<RowDataPacket[]>(
    "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'holdfast'",
  )
  for (const { id } of rows) await connection.query(`KILL ${id}`).catch(() => {})
}

describe('mysqlStore - the sweep', () => {
  test('two servers sweep, and each expired session is reported once and dropped, ended ones silently', async () => {
    const table = nextTable()
    const reported: [string, string | undefined][] = []
    const runtime = systemRuntime()
    const quick = { ...runtime, setTimer: (ms: number, run: () => void) => runtime.setTimer(ms === 30_000 ? 20 : ms, run) }
    const over: Partial<StoreContext> = { runtime: quick, expired: (key, userId) => void reported.push([key, userId]) }
    const maker = await ready(mysqlStore({ url: server.url }, { table }))
    const connection = await plain(server.url)
    const count = 450
    for (let index = 0; index < count; index++)
      await maker.create(`k${index}`, draft({}, index % 2 === 0 ? 'ada' : undefined), nextWriteId())
    await maker.create('living', draft(), nextWriteId())
    await maker.create('ended', draft(), nextWriteId())
    await maker.destroy('ended', 'destroyed', Date.now() + 60_000)
    await connection.query(`UPDATE ${table} SET expires_at = 1000 WHERE session_key <> 'living'`)
    await Promise.all([ready(mysqlStore({ url: server.url }, { table }), over), ready(mysqlStore({ url: server.url }, { table }), over)])
    await waitFor(() => reported.length >= count, 20_000)
    await waitFor(async () => {
      const [rows] = await connection.query<RowDataPacket[]>(`SELECT COUNT(*) AS n FROM ${table}`)
      return Number(rows[0]?.['n']) === 1
    })
    expect(new Set(reported.map(([key]) => key)).size).toBe(count)
    expect(reported).toHaveLength(count)
    expect(reported.filter(([, userId]) => userId === 'ada')).toHaveLength(count / 2)
  })

  test('one server sweeps at a time: while its batch is held up, the other drops nothing', async () => {
    const table = nextTable()
    const runtime = systemRuntime()
    let sweeps = 0
    const counting = {
      ...runtime,
      setTimer: (ms: number, run: () => void) => {
        if (ms === 30_000) sweeps += 1
        return runtime.setTimer(ms === 30_000 ? 20 : ms, run)
      },
    }
    const reported: string[] = []
    const over: Partial<StoreContext> = { runtime: counting, expired: (key) => void reported.push(key) }
    const maker = await ready(mysqlStore({ url: server.url }, { table }))
    for (let index = 0; index < 250; index++) await maker.create(`k${index}`, draft(), nextWriteId())
    const connection = await plain(server.url)
    const gate = await plain(server.url)
    await gate.query("SELECT GET_LOCK('gate', 0)")
    await connection.query(
      `CREATE TRIGGER held_${table} BEFORE DELETE ON ${table} FOR EACH ROW BEGIN DO GET_LOCK('gate', 20); DO RELEASE_LOCK('gate'); END`,
    )
    await connection.query(`UPDATE ${table} SET expires_at = 1000`)
    // Many that live: else InnoDB scans, and so locks, the whole table for the first of both.
    const columns = 'created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, is_persistent, version, write_ids, fields'
    await connection.query(`INSERT INTO ${table} (session_key, ${columns}, expires_at)
      SELECT CONCAT('living', seq), ${columns}, 99999999999999 FROM ${table} JOIN seq_1_to_5000 WHERE session_key = 'k0'; ANALYZE TABLE ${table}`)
    await Promise.all([ready(mysqlStore({ url: server.url }, { table }), over), ready(mysqlStore({ url: server.url }, { table }), over)])
    const deleting = async (): Promise<number> => {
      const [rows] = await connection.query<RowDataPacket[]>(
        "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state = 'User lock'",
      )
      return Number(rows[0]?.['n'])
    }
    await waitFor(async () => (await deleting()) === 1)
    const before = sweeps
    await waitFor(() => sweeps >= before + 5)
    expect(await deleting()).toBe(1)
    expect(reported).toEqual([])
    await gate.query("DO RELEASE_LOCK('gate')")
    await waitFor(() => reported.length >= 250)
    expect(new Set(reported).size).toBe(250)
  })
})
