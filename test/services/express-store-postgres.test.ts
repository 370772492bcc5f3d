import connectPgSimple from 'connect-pg-simple'
import session from 'express-session'
import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { Draft, SessionStore, StoredRecord, StorePatch } from '../../src/seam.ts'
import { expressStore } from '../../src/stores/express-store.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { waitFor } from '../setup/servers.ts'

const PgStore = connectPgSimple(session)
const DEADLINE_MS = 1_000
let postgres: RunningPostgres
let pool: Pool
let kept: InstanceType<typeof PgStore>
let store: SessionStore
let states: string[]

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

beforeEach(async () => {
  pool = new Pool({ connectionString: postgres.url, max: 4 })
  // The application owns the pool and its errors.
  pool.on('error', () => {})
  // pool.end() does not wait for its connections: the server that stops next may be the one to end them.
  pool.on('connect', (client) => client.on('error', () => {}))
  kept = new PgStore({ pool, createTableIfMissing: true, pruneSessionInterval: false, errorLog: () => {} })
  store = expressStore(kept)
  states = []
  const context = {
    runtime: systemRuntime(),
    logger: console,
    deadlineMs: DEADLINE_MS,
    stateChanged: (state: string) => void states.push(state),
  }
  await store.ready(context)
})
afterEach(async () => {
  await store.close()
  kept.close()
  await pool.end()
})

const newKey = (): string => systemRuntime().randomBytes(32).toString('base64url')

function draft(idleMs = 600_000): Draft {
  const now = Date.now()
  const meta = {
    userId: 'ada',
    createdAt: now,
    lastActiveAt: now,
    idleMs,
    touchEveryMs: 30_000,
    absoluteAt: now + 3_600_000,
    persistent: false,
  }
  return { meta, fields: new Map([['a', '1']]) }
}

function patch(value: string): StorePatch {
  return { set: new Map([['a', value]]), add: new Map(), touchAt: 0, writeId: newKey().slice(0, 11) }
}

test('expressStore, connect-pg-simple - ready() lets the store create its table, and says if it cannot be reached', async () => {
  const found = await pool.query<{ count: string }>('SELECT count(*) FROM session')
  expect(Number(found.rows[0]?.count)).toBeGreaterThanOrEqual(0)
  const nowhere = new Pool({ connectionString: 'postgres://nobody:geheim@127.0.0.1:1/none' })
  nowhere.on('error', () => {})
  const lost = expressStore(new PgStore({ pool: nowhere, pruneSessionInterval: false, errorLog: () => {} }))
  const refused = lost.ready({ runtime: systemRuntime(), logger: console, deadlineMs: DEADLINE_MS, stateChanged: () => {} })
  await expect(refused).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('ECONNREFUSED') })
  await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('geheim') })
  await lost.close()
  await nowhere.end()
})

test('expressStore, connect-pg-simple - its pruning leaves live sessions and the marks of ended ones', async () => {
  const [live, ended] = [newKey(), newKey()]
  for (const key of [live, ended]) await store.create(key, draft(2_000), 'w')
  await store.destroy(ended, 'destroyed', Date.now() + 2_000)
  await new Promise<void>((resolve) => kept.pruneSessions(() => resolve()))
  expect(await store.read(live)).toMatchObject({ version: 1 })
  expect(await store.read(ended)).toMatchObject({ gone: 'destroyed' })
  const { rows } = await pool.query<{ seconds: string }>(
    'SELECT extract(epoch FROM expire - now()) AS seconds FROM session WHERE sid = $1',
    [live],
  )
  expect(Number(rows[0]?.seconds)).toBeGreaterThan(2)
})

test('expressStore, connect-pg-simple - a database that stands still ends each operation at the deadline, and all is there afterwards', async () => {
  const key = newKey()
  await store.create(key, draft(), 'w')
  postgres.pause()
  try {
    const startedAt = performance.now()
    await expect(store.read(key)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(store.patch(key, patch('2'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - startedAt).toBeLessThan(2 * DEADLINE_MS + 1_000)
    expect(states.at(-1)).toBe('down')
  } finally {
    postgres.resume()
  }
  await waitFor(() => store.patch(key, patch('3')), 10_000, 'a write after the pause')
  expect(((await store.read(key)) as StoredRecord).fields.get('a')).toBe('3')
  expect(states.at(-1)).toBe('up')
})

test('expressStore, connect-pg-simple - a restart of the database is survived', async () => {
  const key = newKey()
  await store.create(key, draft(), 'w')
  await postgres.stop({ keep: true })
  await expect(store.read(key)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  postgres = await postgres.restart()
  const record = await waitFor(async () => (await store.read(key)) as StoredRecord, 10_000, 'a read after the restart')
  expect(record.fields.get('a')).toBe('1')
  expect(await store.patch(key, patch('2'))).toMatchObject({ outcome: 'applied', after: 2 })
})
