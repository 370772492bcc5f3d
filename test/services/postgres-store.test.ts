import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { Runtime } from '../../src/seam.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { waitFor } from '../setup/servers.ts'
import {
  adding,
  applied,
  context,
  draft,
  failure,
  keysOf,
  live,
  patchOf,
  plainClient,
  ready,
  rows,
  setting,
  tracked,
} from './postgres-harness.ts'

let postgres: RunningPostgres

beforeAll(async () => {
  postgres = await startPostgres({ args: ['-c', 'shared_preload_libraries=pg_stat_statements', '-c', 'pg_stat_statements.track=all'] })
})
afterAll(() => postgres.stop())

const storeOf = (table: string, over = {}) => postgresStore({ url: postgres.url }, { table, ...over })

describe('postgres - at rest', () => {
  test('each operation is one statement, counted by the server', async () => {
    const store = await ready(storeOf('trip'))
    const client = await plainClient(postgres.url)
    await client.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements')
    const statements = async (): Promise<number> =>
      Number((await rows(client, `SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%"trip"%'`))[0]?.[0])
    const transactions = async (): Promise<number> =>
      Number((await rows(client, 'SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()'))[0]?.[0])
    const counted = async (work: () => Promise<unknown>): Promise<number> => {
      const before = await statements()
      await work()
      return (await statements()) - before
    }
    expect(await counted(() => store.create('k', draft({ a: '1', n: '0' }, { userId: 'ada' }), 'w'))).toBe(1)
    expect(await counted(() => store.read('k'))).toBe(1)
    expect(await counted(() => store.patch('k', setting('a', '2')))).toBe(1)
    expect(await counted(() => store.patch('k', adding('n', 1)))).toBe(1)
    expect(await counted(() => store.patch('k', patchOf({ touchAt: Date.now() })))).toBe(1)
    expect(await counted(() => store.patch('k', setting('a', '3', { ifVersion: 1 })))).toBe(1)
    expect(await counted(() => store.replace('k', 'k2', draft({}, { userId: 'ada' }), 'x'))).toBe(1)
    expect(await counted(() => store.destroy('k2', 'destroyed', Date.now() + 60_000))).toBe(1)
    expect(await counted(() => store.endUser?.('ada', Date.now() + 60_000, {}) ?? Promise.resolve())).toBe(1)
    expect(await counted(() => keysOf(store))).toBe(1)
    // No BEGIN, no COMMIT, nothing beside: as many transactions as operations.
    const quiet = await ready(storeOf('trip', { freshness: 'lease' }))
    await quiet.create('k3', draft(), 'w')
    await waitFor(async () => (await transactions()) > 0)
    await rows(client, 'SELECT pg_stat_reset()')
    const ops = 40
    for (let index = 0; index < ops; index++) await (index % 2 === 0 ? quiet.read('k3') : quiet.patch('k3', setting('a', String(index))))
    await quiet.close()
    let looks = 0
    await waitFor(async () => {
      looks += 1
      return (await transactions()) >= ops + looks - 1
    })
    expect((await transactions()) - looks).toBeLessThan(ops + 10)
  })

  test('most writes touch no index (HOT), also when they move the end of the session', async () => {
    const store = await ready(storeOf('hot'))
    await store.create('k', draft({ a: '1' }), 'w')
    for (let index = 0; index < 40; index++) await store.patch('k', setting('a', String(index), { touchAt: Date.now() + index }))
    const client = await plainClient(postgres.url)
    await store.close()
    await waitFor(async () => {
      const [row] = await rows(client, `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'hot'`)
      return Number(row?.[0]) === 40 && Number(row?.[1]) > 30
    })
  })

  test('a server whose clock is an hour off expires nobody and lengthens nothing', async () => {
    const right = await ready(storeOf('clock'))
    const client = await plainClient(postgres.url)
    for (const offMs of [3_600_000, -3_600_000]) {
      const key = `k${offMs}`
      const runtime: Runtime = { ...systemRuntime(), now: () => Date.now() + offMs }
      const wrong = await ready(storeOf('clock'), { runtime })
      const created = draft()
      await right.create(key, created, 'w')
      expect(Math.abs((await live(wrong, key)).meta.lastActiveAt - (created.meta.lastActiveAt + offMs))).toBeLessThan(1_000)
      applied(await wrong.patch(key, setting('a', '1', { touchAt: runtime.now() })))
      const after = await live(right, key)
      expect(Math.abs(after.meta.lastActiveAt - Date.now())).toBeLessThan(1_000)
      expect(Math.abs(after.meta.absoluteAt - created.meta.absoluteAt)).toBeLessThan(1_000)
      const own = `own${offMs}`
      await wrong.create(
        own,
        { ...created, meta: { ...created.meta, lastActiveAt: runtime.now(), absoluteAt: runtime.now() + 60_000 } },
        'w',
      )
      const ends = (await rows(client, 'SELECT expires_at FROM clock WHERE key = $1', [own]))[0]?.[0]
      expect(Math.abs(Number(ends) - Date.now() - 60_000)).toBeLessThan(2_000)
      expect((await keysOf(wrong)).sort()).toEqual((await keysOf(right)).sort())
      await wrong.destroy(key, 'destroyed', runtime.now() + 60_000)
      const mark = (await right.read(key)) as { endedAt: number }
      expect(Math.abs(mark.endedAt - Date.now())).toBeLessThan(1_000)
    }
  })

  test('a record that does not parse is STORE_RECORD_INVALID, names its key and stays', async () => {
    const store = await ready(storeOf('bad'))
    const client = await plainClient(postgres.url)
    for (const [key, fields] of Object.entries({ list: '["a"]', text: '"a"', number: '{"a":1}', deep: '{"a":{"b":"c"}}' })) {
      await store.create(key, draft({ n: '1' }), 'w')
      await client.query('UPDATE bad SET fields = $2 WHERE key = $1', [key, fields])
      const all = async (): Promise<unknown> => (await rows(client, 'SELECT to_jsonb(bad) FROM bad WHERE key = $1', [key]))[0]?.[0]
      const before = await all()
      const failing = [store.read(key), store.patch(key, setting('b', '"2"')), store.patch(key, adding('n', 1))]
      for (const error of await Promise.all(failing.map((one) => failure(one)))) {
        expect(error).toMatchObject({ code: 'STORE_RECORD_INVALID' })
        expect(error.message).toContain(`session ${key} `)
      }
      expect(await all()).toEqual(before)
    }
    await client.query(`UPDATE bad SET gone = 'eaten' WHERE key = 'list'`)
    expect(await failure(store.read('list'))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
  })

  test('counters add as JavaScript does and are printed as it prints', async () => {
    const store = await ready(storeOf('count'))
    const pairs = [
      [0, 1], [0.1, 0.2], [1e15, 1], [2 ** 53 - 2, 1], [1e20, 1e20], [9e20, 1e20], [1e-7, 0], [1e-6, 0], [0.00001, 0], [-1, 1], [5e-324, 0],
      [123_456_789_012_345_680_000, 0], [120_220_455_278_467_800, 0], [1.5e300, 1.5e300], [-0.5, -0.25], [1, -1e-9], [1e21, -1e21],
    ] as const // biome-ignore format: a table
    for (const [index, [start, by]] of pairs.entries()) {
      await store.create(`k${index}`, draft({ n: String(start) }), 'w')
      const { counters } = applied(await store.patch(`k${index}`, adding('n', by)))
      expect(counters.get('n'), `${start} + ${by}`).toBe(String(start + by))
      expect((await live(store, `k${index}`)).fields.get('n')).toBe(String(start + by))
    }
  })

  test('what is no finite number is FIELD_INVALID, names its field and changes nothing', async () => {
    const store = await ready(storeOf('uncount'))
    const hopeless = ['"7"', 'null', '', '1e400', '+1', '0x10', '1.', '.5', ' 1', '1 ', 'NaN', 'Infinity', '١', '1e99999999999', '1\n']
    for (const [index, value] of hopeless.entries()) {
      await store.create(`k${index}`, draft({ ok: '1', n: value }), 'w')
      const add = new Map([['ok', { by: 1, from: 0 }], ['n', { by: 1, from: 0 }]]) // biome-ignore format: a table
      const error = await failure(store.patch(`k${index}`, patchOf({ add })))
      expect(error.code, value).toBe('FIELD_INVALID')
      expect(error.message).toContain('"n"')
      expect(await live(store, `k${index}`)).toMatchObject({ version: 1, fields: new Map([['n', value], ['ok', '1']]) }) // biome-ignore format: a table
    }
    await store.create('huge', draft({ n: '1.7e308' }), 'w')
    expect(await failure(store.patch('huge', adding('n', 1.7e308)))).toMatchObject({ code: 'FIELD_INVALID' })
    for (const by of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(await failure(store.patch('huge', adding('n', by)))).toMatchObject({ code: 'FIELD_INVALID' })
    expect(applied(await store.patch('huge', adding('n', -1.7e308))).counters.get('n')).toBe('0')
    await store.create('tiny', draft({ n: '1e-400' }), 'w')
    expect(applied(await store.patch('tiny', adding('n', 2))).counters.get('n')).toBe('2')
  })

  test('half surrogate pairs come back as they were', async () => {
    const store = await ready(storeOf('half'))
    await store.create('k', draft({ '\ud800': '\udc00x\ud800', '\x1d0000': '\x1d' }, { userId: '\udfff' }), 'w')
    const { fields, meta } = await live(store, 'k')
    expect([...fields].sort()).toEqual([['\x1d0000', '\x1d'], ['\ud800', '\udc00x\ud800']].sort()) // biome-ignore format: a table
    expect(meta.userId).toBe('\udfff')
  })

  test('parsers that the application has set do not matter', async () => {
    const types = { getTypeParser: () => () => 'nonsense' } as unknown as pg.CustomTypesConfig
    const pool = new pg.Pool({ connectionString: postgres.url, types })
    tracked({ close: () => pool.end() })
    const store = await ready(postgresStore({ pool }, { table: 'parsers' }))
    await store.create('k', draft({ a: '1' }, { userId: 'ada', persistent: true }), 'w')
    applied(await store.patch('k', adding('n', 2)))
    expect(await live(store, 'k')).toMatchObject({ version: 2, meta: { userId: 'ada', persistent: true }, fields: new Map([['a', '1'], ['n', '2']]) }) // biome-ignore format: a table
  })

  test('a database that isolates more strictly loses no write either', async () => {
    const url = `${postgres.url}?options=-c%20default_transaction_isolation=serializable`
    const store = await ready(postgresStore({ url }, { table: 'strict' }))
    await store.create('k', draft(), 'w')
    await Promise.all(Array.from({ length: 30 }, () => store.patch('k', adding('n', 1))))
    expect(await live(store, 'k')).toMatchObject({ version: 31, fields: new Map([['n', '30']]) })
  })
})

describe('postgres - users and expiry', () => {
  test('endUser ends all sessions of a user but one, leaves marks and tells which were live', async () => {
    const store = await ready(storeOf('users'))
    for (const key of ['a', 'b', 'c']) await store.create(key, draft({ secret: '"s"' }, { userId: 'ada' }), 'w')
    await store.create('other', draft({}, { userId: 'bob' }), 'w')
    expect(((await store.endUser?.('ada', Date.now() + 60_000, { except: 'b' })) ?? []).toSorted()).toEqual(['a', 'c'])
    expect(await store.endUser?.('ada', Date.now() + 60_000, { except: 'b' })).toEqual([])
    expect(await store.read('a')).toMatchObject({ gone: 'destroyed' })
    expect((await keysOf(store)).toSorted()).toEqual(['b', 'other'])
    const client = await plainClient(postgres.url)
    expect(await rows(client, `SELECT user_id, fields, write_ids FROM users WHERE key = 'a'`)).toEqual([[null, {}, []]])
  })

  test('listings go page by page, each session once', async () => {
    const store = await ready(storeOf('pages'))
    const client = await plainClient(postgres.url)
    await store.create('k', draft({}, { userId: 'ada' }), 'w')
    await client.query(`INSERT INTO pages (key, user_id, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent, version, write_ids, fields, expires_at)
      SELECT 'k' || n, user_id, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent, version, write_ids, fields, expires_at
      FROM pages, generate_series(1, 999) n`)
    const found = await keysOf(store)
    expect([found.length, new Set(found).size]).toEqual([1_000, 1_000])
    expect(await keysOf(store, { userId: 'ada' })).toHaveLength(1_000)
  })

  test('two servers sweep, and each expired session is reported once, marks silently', async () => {
    // Long timers come at once, so that the sweep need not be waited for.
    const runtime: Runtime = {
      ...systemRuntime(),
      setTimer: (ms, run) => systemRuntime().setTimer(ms >= 20_000 && ms < 60_000 ? 30 : ms, run),
    }
    const reported: [string, string | undefined][] = []
    const expired = (key: string, userId: string | undefined): void => void reported.push([key, userId])
    const stores = [storeOf('swept'), storeOf('swept')]
    for (const store of stores) await ready(store, { runtime, expired })
    const [first] = stores as [(typeof stores)[0], (typeof stores)[0]]
    const client = await plainClient(postgres.url)
    await first?.create('long', draft(), 'w')
    await first?.create('mark', draft(), 'w')
    await first?.destroy('mark', 'destroyed', Date.now() + 60_000)
    await client.query('UPDATE swept SET idle_ms = 100, expires_at = 1000 WHERE key = $1', ['mark'])
    await client.query(`INSERT INTO swept (key, user_id, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent, version, write_ids, fields, expires_at)
      SELECT 'old' || n, 'ada', 0, 0, 100, 1, 1000, false, 1, '{}', '{}', 100 FROM generate_series(1, 1000) n`)
    await waitFor(async () => Number((await rows(client, 'SELECT count(*) FROM swept'))[0]?.[0]) === 1)
    await waitFor(() => reported.length >= 1_000)
    for (const store of stores) await store.close()
    expect(reported).toHaveLength(1_000)
    expect(new Set(reported.map(([key]) => key)).size).toBe(1_000)
    expect(reported.every(([key, userId]) => key.startsWith('old') && userId === 'ada')).toBe(true)
  })
})

test('postgres - one server sweeps at a time: while its batch is held up, the other drops nothing', async () => {
  let sweeps = 0
  const runtime: Runtime = {
    ...systemRuntime(),
    setTimer: (ms, run) => {
      const isSweep = ms >= 20_000 && ms < 60_000
      if (isSweep) sweeps += 1
      return systemRuntime().setTimer(isSweep ? 20 : ms, run)
    },
  }
  const reported: string[] = []
  const stores = [storeOf('turns'), storeOf('turns')]
  for (const store of stores) await ready(store, { runtime, expired: (key) => void reported.push(key) })
  const gate = await plainClient(postgres.url)
  await gate.query('SELECT pg_advisory_lock(4711)')
  const client = await plainClient(postgres.url)
  await client.query(`CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN OLD; END $$;
    CREATE TRIGGER held BEFORE DELETE ON turns FOR EACH ROW EXECUTE FUNCTION held();
    INSERT INTO turns (key, created_at, last_active_at, idle_ms, touch_every_ms, absolute_at, persistent, version, write_ids, fields, expires_at)
      SELECT 'old' || n, 0, 0, 100, 1, 1000, false, 1, '{}', '{}', 100 FROM generate_series(1, 500) n`)
  const deleting = async (): Promise<number> =>
    Number(
      (
        await rows(client, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE '%DELETE FROM "turns"%'`)
      )[0]?.[0],
    )
  await waitFor(async () => (await deleting()) === 1)
  const before = sweeps
  await waitFor(() => sweeps >= before + 5)
  expect(await deleting()).toBe(1)
  expect(reported).toEqual([])
  await gate.query('SELECT pg_advisory_unlock(4711)')
  await waitFor(() => reported.length >= 500)
  expect(new Set(reported).size).toBe(500)
})

describe('postgres - the table', () => {
  test('several servers that start at once create it together', async () => {
    const stores = Array.from({ length: 6 }, () => storeOf('together'))
    await Promise.all(stores.map((store) => ready(store)))
    await stores[0]?.create('k', draft({ a: '1' }), 'w')
    for (const store of stores) expect((await live(store, 'k')).fields.get('a')).toBe('1')
    const client = await plainClient(postgres.url)
    expect(await rows(client, `SELECT count(*) FROM pg_indexes WHERE tablename = 'together'`)).toEqual([['3']])
  })

  test('without migrate a missing table is one line with the SQL to run; once it is run, the store works', async () => {
    const states: string[] = []
    const store = tracked(storeOf('Manual', { migrate: false }))
    const error = await failure(store.ready(context({ stateChanged: (state) => states.push(state) })))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
    expect(error.message).toMatch(
      /^cannot use PostgreSQL at postgres:\/\/127\.0\.0\.1:\d+\/postgres: its table Manual is missing: run as its owner: CREATE TABLE [^\n]*;$/,
    )
    expect(await failure(store.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const client = await plainClient(postgres.url)
    await client.query(error.message.slice(error.message.indexOf('CREATE TABLE')))
    await waitFor(() => store.create('k', draft(), 'w'))
    expect(states).toEqual(['down', 'up'])
  })

  test('a table of a newer format, or of somebody else, is refused and left alone', async () => {
    const client = await plainClient(postgres.url)
    await ready(storeOf('newer'))
    await client.query(`COMMENT ON TABLE newer IS 'Holdfast sessions, format 2'; CREATE TABLE theirs (key text)`)
    expect((await failure(tracked(storeOf('newer')).ready(context()))).message).toMatch(
      /newer version of Holdfast \(format 2\): update Holdfast/,
    )
    expect((await failure(tracked(storeOf('theirs')).ready(context()))).message).toMatch(
      /does not have the columns of Holdfast: choose another name/,
    )
    expect(await rows(client, `SELECT count(*) FROM information_schema.columns WHERE table_name = 'theirs'`)).toEqual([['1']])
  })

  test('the longest table name works, and two that differ at its end are two', async () => {
    const [a, b] = [`t${'x'.repeat(61)}a`, `t${'x'.repeat(61)}b`]
    const [first, second] = [await ready(storeOf(a)), await ready(storeOf(b))]
    await first.create('k', draft(), 'w')
    expect(await second.read('k')).toBeUndefined()
    const client = await plainClient(postgres.url)
    expect(await rows(client, 'SELECT count(*) FROM pg_indexes WHERE tablename IN ($1, $2)', [a, b])).toEqual([['6']])
  })
})
