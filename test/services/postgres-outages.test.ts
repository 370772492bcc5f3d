import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { freePort } from '../setup/ports.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { waitFor, within } from '../setup/servers.ts'
import {
  adding,
  applied,
  context,
  DEADLINE_MS,
  draft,
  failure,
  live,
  patchOf,
  plainClient,
  ready,
  rows,
  setting,
  strategyOver,
  tracked,
} from './postgres-harness.ts'
import { startProxy } from './postgres-proxy.ts'

let postgres: RunningPostgres

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

const jar = (key: string) => ({ id: 'secret', key, absoluteAt: 0, notes: [], headerBytes: 0 })
const id = (key: string) => ({ id: 'secret', key, absoluteAt: 0 })
const write = () => ({ set: new Map([['a', '1']]), add: new Map(), touchAt: Date.now() })

/** How long after `since` the store answers again. */
async function backAfter(store: SessionStore, since = performance.now()): Promise<number> {
  await waitFor(() => store.read('k').then(() => true))
  return performance.now() - since
}

describe('postgres - outages', () => {
  test('unreachable at the start: one clear line within the deadline, and usable, table and all, once it is there', async () => {
    const port = await freePort()
    const states: string[] = []
    const store = tracked(postgresStore({ url: `postgres://holdfast:geheim-p4ssw0rd@127.0.0.1:${port}/postgres` }))
    const error = await failure(store.ready(context({ deadlineMs: DEADLINE_MS, stateChanged: (state) => states.push(state) })))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503, headers: { 'retry-after': '1' } })
    expect(error.message).toMatch(
      new RegExp(`^cannot use PostgreSQL at postgres://127\\.0\\.0\\.1:${port}/postgres \\(ECONNREFUSED\\): start it[^\\n]*$`),
    )
    const late = await startPostgres({ port })
    try {
      await waitFor(() => store.create('k', draft(), 'w'))
      expect(states).toEqual(['down', 'up'])
    } finally {
      await store.close()
      await late.stop()
    }
  })

  test('stopped (SIGSTOP): requests end with 503 by the deadline, nothing hangs, and it goes on after SIGCONT with everyone logged in', async () => {
    const own = await startPostgres()
    const events: string[] = []
    const store = postgresStore({ url: own.url })
    const strategy = strategyOver(store, events)
    try {
      await strategy.create(id('k'), draft({ user: '"ada"' }, { userId: 'ada' }))
      own.pause()
      const startedAt = performance.now()
      const errors = await Promise.all(Array.from({ length: 30 }, () => failure(store.read('other'))))
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
      for (const error of errors) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
      const again = performance.now()
      expect(await failure(store.patch('k', setting('a', '1')))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      // The dead server is known by now: no request waits for it again.
      expect(performance.now() - again).toBeLessThan(DEADLINE_MS / 2)
      own.resume()
      expect(await backAfter(store)).toBeLessThan(1_000)
      await waitFor(() => Promise.resolve(strategy.open(jar('k'))).then(({ outcome }) => outcome === 'found'))
      expect(events).toEqual(['degraded', 'recovered'])
    } finally {
      own.resume()
      await own.stop()
    }
  })

  test('killed (SIGKILL) and started again: 503 at once in between, no crash, back within a second, what was acknowledged is there', async () => {
    const own = await startPostgres({ args: ['-c', 'fsync=on', '-c', 'full_page_writes=on'] })
    let again: RunningPostgres | undefined
    const events: string[] = []
    const store = postgresStore({ url: own.url })
    const strategy = strategyOver(store, events)
    try {
      const { opened } = await strategy.create(id('k'), draft())
      for (let index = 0; index < 50; index++) applied(await store.patch('k', adding('n', 1)))
      await own.kill()
      await waitFor(() => events.includes('degraded'))
      const startedAt = performance.now()
      expect(await failure(strategy.write(opened, write()))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS / 2)
      expect(await strategy.status()).toMatchObject({ store: { name: 'postgres', state: 'down' } })
      again = await own.restart()
      expect(await backAfter(store)).toBeLessThan(1_000)
      expect((await live(store, 'k')).fields.get('n')).toBe('50')
      expect(events).toEqual(['degraded', 'recovered'])
    } finally {
      await (again ?? own).stop()
    }
  })

  test('a pool of the application: stopped, killed and back, and never ended by the store', async () => {
    const own = await startPostgres()
    let again: RunningPostgres | undefined
    const pool = new pg.Pool({ connectionString: own.url, max: 4 })
    pool.on('error', () => {})
    const store = postgresStore({ pool })
    try {
      await store.ready(context({ deadlineMs: DEADLINE_MS }))
      await store.create('k', draft(), 'w')
      own.pause()
      const startedAt = performance.now()
      for (const error of await Promise.all(Array.from({ length: 30 }, () => failure(store.read('k')))))
        expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
      own.resume()
      expect(await backAfter(store)).toBeLessThan(1_000)
      await own.kill()
      expect(await failure(store.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      again = await own.restart()
      expect(await backAfter(store)).toBeLessThan(1_000)
      await store.close()
      expect(await rows(pool, 'SELECT 1')).toEqual([[1]])
    } finally {
      own.resume()
      await store.close()
      await pool.end()
      await (again ?? own).stop()
    }
  })

  test('down for five seconds: every request is answered at once, and it is back within a second', async () => {
    const own = await startPostgres()
    const states: string[] = []
    const store = tracked(postgresStore({ url: own.url }))
    await store.ready(context({ deadlineMs: DEADLINE_MS, stateChanged: (state) => states.push(state) }))
    await own.stop({ keep: true })
    const until = performance.now() + 5_000
    let slowest = 0
    while (performance.now() < until) {
      const startedAt = performance.now()
      expect(await failure(store.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      slowest = Math.max(slowest, performance.now() - startedAt)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(slowest).toBeLessThan(DEADLINE_MS / 2)
    const again = await own.restart()
    try {
      expect(await backAfter(store)).toBeLessThan(1_000)
      expect(states).toEqual(['up', 'down', 'up'])
    } finally {
      await again.stop()
    }
  })

  test('a lost reply is retried and counts once', async () => {
    const proxy = await startProxy(postgres.port)
    const store = postgresStore({ url: postgres.url.replace(`:${postgres.port}/`, `:${proxy.port}/`) }, { table: 'lost' })
    const strategy = strategyOver(store, [])
    await strategy.create(id('k'), draft({ n: '0' }))
    for (let round = 1; round <= 10; round++) {
      const opening = await waitFor(async () => strategy.open(jar('k')))
      if (opening.outcome !== 'found') throw new Error('not found')
      proxy.swallowNextReply()
      await strategy.write(opening.opened, { set: new Map(), add: new Map([['n', { by: 1, from: 0 }]]), touchAt: Date.now() })
      expect(proxy.swallowed).toBe(round)
      expect((await live(store, 'k')).fields.get('n')).toBe(String(round))
    }
    expect((await live(store, 'k')).version).toBe(11)
    // The same for a new session and a login.
    proxy.swallowNextReply()
    await failure(store.create('c', draft(), 'cw'))
    await waitFor(() => store.create('c', draft(), 'cw'))
    proxy.swallowNextReply()
    await failure(store.replace('c', 'd', draft(), 'dw'))
    expect(await waitFor(() => store.replace('c', 'd', draft(), 'dw'))).toMatchObject({ outcome: 'applied', after: 1 })
    expect((await live(store, 'd')).version).toBe(1)
  })

  test('backends that are terminated all the time crash nothing, and no write counts twice', async () => {
    const strategy = strategyOver(postgresStore({ url: postgres.url }, { table: 'dying' }), [])
    const admin = await plainClient(postgres.url)
    await strategy.create(id('k'), draft({ n: '0' }))
    let acknowledged = 0
    let unknown = 0
    for (let round = 0; round < 30; round++) {
      const opening = await waitFor(async () => strategy.open(jar('k')))
      if (opening.outcome !== 'found') throw new Error('not found')
      const change = { set: new Map(), add: new Map([['n', { by: 1, from: 0 }]]), touchAt: Date.now() }
      const [result] = await Promise.allSettled([
        strategy.write(opening.opened, change),
        rows(admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'`),
      ])
      if (result?.status === 'fulfilled') acknowledged += 1
      else unknown += 1
    }
    const count = Number((await waitFor(async () => strategy.get('k')))?.get('n'))
    expect(count).toBeGreaterThanOrEqual(acknowledged)
    expect(count).toBeLessThanOrEqual(acknowledged + unknown)
    expect(unknown).toBeLessThan(10)
  })

  test('one row that is locked too long fails by the deadline; the others go on and nothing is called down', async () => {
    const states: string[] = []
    const store = await ready(postgresStore({ url: postgres.url }, { table: 'locked' }), {
      deadlineMs: DEADLINE_MS,
      stateChanged: (state) => states.push(state),
    })
    for (const key of ['k', 'free']) await store.create(key, draft({ n: '0' }), 'w')
    const admin = await plainClient(postgres.url)
    await admin.query(`BEGIN; SELECT FROM locked WHERE key = 'k' FOR UPDATE`)
    const startedAt = performance.now()
    const failing = [failure(store.patch('k', adding('n', 1))), failure(store.destroy('k', 'destroyed', Date.now()))]
    for (let index = 0; index < 20; index++) applied(await store.patch('free', adding('n', 1)))
    for (const error of await Promise.all(failing)) {
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(error.message).toMatch(/long transaction|does not answer/)
    }
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
    await admin.query('ROLLBACK')
    applied(await store.patch('k', adding('n', 1)))
    // Given up by the server, too: nothing is written behind the caller's back.
    expect((await live(store, 'k')).fields.get('n')).toBe('1')
    expect(states).toEqual(['up'])
  })

  test('more work than connections waits its turn, and no more than eleven are opened', async () => {
    const store = await ready(postgresStore({ url: postgres.url }, { table: 'busy' }))
    await store.create('k', draft({ n: '0' }), 'w')
    store.watch?.({ changed: () => {}, lost: () => {} })
    await Promise.all(
      Array.from({ length: 500 }, (_, index) => store.patch('k', index % 2 === 0 ? adding('n', 1) : patchOf({ touchAt: Date.now() }))),
    )
    expect((await live(store, 'k')).fields.get('n')).toBe('250')
    const admin = await plainClient(postgres.url)
    const connections = Number((await rows(admin, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'`))[0]?.[0])
    expect(connections).toBeGreaterThan(1)
    expect(connections).toBeLessThanOrEqual(11)
  })

  test('close() ends soon whether the server is unreachable, stopped or well, and a store can be opened again', async () => {
    const closed = async (store: SessionStore): Promise<void> => within(store.close(), 2_500, 'close()')
    const unreachable = postgresStore({ url: `postgres://127.0.0.1:${await freePort()}/x` })
    const opening = failure(unreachable.ready(context()))
    await closed(unreachable)
    await opening
    expect(await failure(unreachable.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const own = await startPostgres()
    try {
      const store = postgresStore({ url: own.url })
      await store.ready(context())
      store.watch?.({ changed: () => {}, lost: () => {} })
      await store.create('k', draft(), 'w')
      await closed(store)
      await store.ready(context())
      await live(store, 'k')
      own.pause()
      const hanging = failure(store.read('k'))
      await closed(store)
      await hanging
    } finally {
      own.resume()
      await own.stop()
    }
  })
})
