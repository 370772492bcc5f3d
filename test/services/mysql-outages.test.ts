import { createPool } from 'mysql2'
import type { Connection, RowDataPacket } from 'mysql2/promise'
import { afterEach, describe, expect, test } from 'vitest'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { startMariaDb } from '../setup/mariadb.ts'
import type { RunningMariaDb } from '../setup/mariadb.ts'
import { freePort } from '../setup/ports.ts'
import { waitFor, within } from '../setup/servers.ts'
import { DEADLINE_MS, add, closeAll, draft, failure, nextWriteId, plain, ready, record, set, tracked } from './mysql-tools.ts'

/** What a busy machine may add. */
const SLACK_MS = 1_500
/** The promise: usable within a second of the server's return, and what a busy machine may add. */
const BACK_MS = 1_000 + SLACK_MS

const servers: RunningMariaDb[] = []
afterEach(async () => {
  await closeAll()
  for (const server of servers.splice(0)) await server.stop()
})

async function started(options: Parameters<typeof startMariaDb>[0] = {}): Promise<RunningMariaDb> {
  const server = await startMariaDb(options)
  servers.push(server)
  return server
}

async function threads(connection: Connection): Promise<number> {
  const [rows] = await connection.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
  return Number(rows[0]?.['Value'])
}

function states(): { seen: string[]; stateChanged(state: 'up' | 'down'): void } {
  const seen: string[] = []
  return { seen, stateChanged: (state) => void seen.push(state) }
}

describe('mysqlStore - outages', () => {
  test('unreachable at the start: one clear line within the deadline, and usable once it is there', async () => {
    const port = await freePort()
    const { seen, stateChanged } = states()
    const store = mysqlStore({ url: `mysql://holdfast:geheim-p4ssw0rd@127.0.0.1:${port}/holdfast` })
    const startedAt = performance.now()
    const error = await failure(ready(store, { deadlineMs: DEADLINE_MS, stateChanged }))
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + SLACK_MS)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503, headers: { 'retry-after': '1' } })
    expect(error.message).toMatch(/^cannot use MySQL at mysql:\/\/127\.0\.0\.1:\d+\/holdfast \(ECONNREFUSED\): start it[^\n]*$/)
    await started({ port })
    await waitFor(() => store.create('k', draft(), nextWriteId()))
    expect(seen).toEqual(['down', 'up'])
  })

  test('stopped (SIGSTOP) for seconds: everything ends by the deadline, then at once, and it goes on after SIGCONT', async () => {
    const server = await started()
    const { seen, stateChanged } = states()
    const store = await ready(mysqlStore({ url: server.url }), { deadlineMs: DEADLINE_MS, stateChanged })
    await store.create('k', draft({ n: '0' }), nextWriteId())
    server.pause()
    try {
      const startedAt = performance.now()
      const asked = [...Array(40).keys()].map((index) => (index % 2 === 0 ? store.read('k') : store.patch('k', set('a', '1'))))
      for (const error of await Promise.all(asked.map((one) => failure(one))))
        expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + SLACK_MS)
      // It is known to be away by now: no request waits for it again.
      const again = performance.now()
      for (let index = 0; index < 20; index++)
        expect(await failure(store.patch('k', set('a', '1')))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - again).toBeLessThan(DEADLINE_MS / 2)
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      expect(seen).toEqual(['up', 'down'])
    } finally {
      server.resume()
    }
    await waitFor(() => store.read('k').then(() => true), BACK_MS)
    expect(seen).toEqual(['up', 'down', 'up'])
    const once = add('n', 1)
    expect(await store.patch('k', once)).toMatchObject({ outcome: 'applied', counters: new Map([['n', '1']]) })
    const connection = await plain(server.url)
    expect(await threads(connection)).toBeLessThanOrEqual(12)
  })

  test('killed (SIGKILL) and started again: noticed without a request, 503 at once in between, sessions are there again', async () => {
    const server = await started()
    const { seen, stateChanged } = states()
    const store = await ready(mysqlStore({ url: server.url }), { deadlineMs: DEADLINE_MS, stateChanged })
    await store.create('k', draft({ n: '41' }, 'ada'), nextWriteId())
    await server.kill()
    await waitFor(() => seen.includes('down'))
    const startedAt = performance.now()
    expect(await failure(store.patch('k', add('n', 1)))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS / 2)
    servers.push(await server.restart())
    await waitFor(() => store.read('k').then(() => true), BACK_MS)
    expect((await record(store, 'k')).meta.userId).toBe('ada')
    expect(await store.patch('k', add('n', 1))).toMatchObject({ outcome: 'applied', counters: new Map([['n', '42']]) })
    expect(seen).toEqual(['up', 'down', 'up'])
  })

  test('an orderly restart under load loses no acknowledged write', async () => {
    const server = await started()
    const store = await ready(mysqlStore({ url: server.url }), { deadlineMs: DEADLINE_MS })
    await store.create('k', draft({ n: '0' }), nextWriteId())
    let acknowledged = 0
    let isOver = false
    const writer = async (): Promise<void> => {
      while (!isOver) {
        const patch = add('n', 1)
        const applied = (): Promise<boolean> => store.patch('k', patch).then((result) => result.outcome === 'applied')
        await waitFor(applied, 20_000)
        acknowledged += 1
      }
    }
    const writers = Promise.all([writer(), writer(), writer()])
    await waitFor(() => acknowledged > 50)
    await server.stop({ keep: true })
    servers.push(await server.restart())
    const before = acknowledged
    await waitFor(() => acknowledged > before + 20)
    isOver = true
    await writers
    const counted = Number((await record(store, 'k')).fields.get('n'))
    expect(counted).toBeGreaterThanOrEqual(acknowledged)
    // One whose reply was lost counts twice if the other two have written nine times before it is tried again: 8 write ids are kept.
    expect(counted).toBeLessThanOrEqual(acknowledged + 3)
  })

  test('connections that die all the time crash nothing, and are no outage', async () => {
    const server = await started()
    const { seen, stateChanged } = states()
    const store = await ready(mysqlStore({ url: server.url }), { stateChanged })
    const connection = await plain(server.url)
    for (let round = 0; round < 20; round++) {
      const reading = store.read('k').catch((error: unknown) => expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' }))
      const [rows] = await connection.query<RowDataPacket[]>('SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()')
      for (const { id } of rows) await connection.query(`KILL ${id}`).catch(() => {})
      await reading
      await waitFor(() => store.read('k').then(() => true))
    }
    expect(seen).toEqual(['up'])
  })

  test('a row that somebody keeps locked ends its own writes by the deadline, and no others', async () => {
    const server = await started()
    const { seen, stateChanged } = states()
    const store = await ready(mysqlStore({ url: server.url }), { deadlineMs: DEADLINE_MS, stateChanged })
    for (const key of ['locked', 'free']) await store.create(key, draft({ n: '0' }), nextWriteId())
    const connection = await plain(server.url)
    await connection.query("START TRANSACTION; SELECT * FROM holdfast_sessions WHERE session_key = 'locked' FOR UPDATE")
    const writing = Array.from({ length: 3 }, (_, index) => failure(store.patch('locked', set(`a${index}`, '1'))))
    let isOver = false
    const others = (async () => {
      while (!isOver) expect(await store.patch('free', add('n', 1))).toMatchObject({ outcome: 'applied' })
    })()
    for (const error of await Promise.all(writing)) expect(error.message).toMatch(/no answer|LOCK_WAIT/)
    isOver = true
    await others
    expect(seen).toEqual(['up'])
    await connection.query('ROLLBACK')
    expect(await store.patch('locked', add('n', 1))).toMatchObject({ outcome: 'applied' })
  })

  test("on the application's own pool: by the deadline, too, and usable again afterwards", async () => {
    const server = await started()
    const core = createPool({ uri: server.url, connectionLimit: 4 })
    tracked({
      close: async () =>
        core
          .promise()
          .end()
          .catch(() => {}),
    })
    const store = await ready(mysqlStore({ pool: core }), { deadlineMs: DEADLINE_MS })
    await store.create('k', draft({ n: '0' }), nextWriteId())
    server.pause()
    try {
      const startedAt = performance.now()
      const asked = Array.from({ length: 12 }, () => failure(store.patch('k', add('n', 1))))
      for (const error of await Promise.all(asked)) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + SLACK_MS)
    } finally {
      server.resume()
    }
    await waitFor(() => store.read('k').then(() => true), BACK_MS)
    await waitFor(() =>
      core
        .promise()
        .query('SELECT 1')
        .then(() => true),
    )
  })

  test('close() while it is stopped or away ends at once, and nothing is left open', async () => {
    const server = await started()
    const paused = mysqlStore({ url: server.url })
    await ready(paused)
    await paused.create('k', draft(), nextWriteId())
    const connection = await plain(server.url)
    server.pause()
    const reading = failure(paused.read('k'), 10_000)
    await within(paused.close(), 3_000, 'closing a store whose server is stopped')
    expect(await failure(paused.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    server.resume()
    await reading
    await waitFor(async () => (await threads(connection)) === 1)
    const away = mysqlStore({ url: `mysql://u@127.0.0.1:${await freePort()}/d` })
    const opening = failure(ready(away))
    await away.close()
    await opening
  })
})
