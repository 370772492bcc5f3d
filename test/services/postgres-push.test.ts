import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ChangeWatch, SessionStore } from '../../src/seam.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { waitFor, within } from '../setup/servers.ts'
import { seededRandom } from '../setup/virtual-runtime.ts'
import { adding, applied, context, DEADLINE_MS, draft, patchOf, plainClient, ready, rows, setting, tracked } from './postgres-harness.ts'
import { startProxy } from './postgres-proxy.ts'

let postgres: RunningPostgres

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

interface Heard {
  readonly keys: string[]
  lost: number
  readonly watch: ChangeWatch
}

async function heardBy(store: SessionStore): Promise<Heard> {
  const heard = { keys: [] as string[], lost: 0, watch: undefined as unknown as ChangeWatch }
  heard.watch = (store.watch as NonNullable<SessionStore['watch']>)({
    changed: (key) => void heard.keys.push(key),
    lost: () => {
      heard.lost += 1
    },
  })
  expect(await within(heard.watch.confirm(), 5_000, 'confirm()')).toBe(true)
  return heard
}

const storeOf = (table: string, over = {}) => postgresStore({ url: postgres.url }, { table, ...over })
const later = (): number => Date.now() + 60_000

describe('postgres - announcements', () => {
  test('every foreign change is announced once it is confirmed, own ones and touches are not', async () => {
    const [mine, other] = [await ready(storeOf('told')), await ready(storeOf('told'))]
    const [heard, othersHeard] = [await heardBy(mine), await heardBy(other)]
    for (const key of ['set', 'count', 'touch', 'old', 'gone', 'u1', 'u2']) {
      await mine.create(key, draft({ n: '1' }, key.startsWith('u') ? { userId: 'ada' } : {}), 'w')
    }
    const told = async (work: () => Promise<unknown>): Promise<string[]> => {
      heard.keys.length = 0
      await work()
      expect(await heard.watch.confirm()).toBe(true)
      return heard.keys.toSorted()
    }
    expect(await told(() => other.patch('set', setting('a', '1')))).toEqual(['set'])
    expect(await told(() => other.patch('count', adding('n', 1)))).toEqual(['count'])
    expect(await told(() => other.patch('touch', patchOf({ touchAt: later() })))).toEqual([])
    expect(await told(() => other.patch('set', setting('a', '2', { ifVersion: 1 })))).toEqual([])
    expect(await told(() => other.patch('never', setting('a', '2')))).toEqual([])
    expect(await told(() => other.replace('old', 'new', draft(), 'x'))).toEqual(['old'])
    expect(await told(() => other.destroy('gone', 'destroyed', later()))).toEqual(['gone'])
    expect(await told(() => other.destroy('gone', 'destroyed', later()))).toEqual([])
    expect(await told(() => other.endUser?.('ada', later(), {}) ?? Promise.resolve())).toEqual(['u1', 'u2'])
    expect(await told(() => mine.patch('set', setting('a', '3')))).toEqual([])
    expect(await told(() => mine.destroy('set', 'destroyed', later()))).toEqual([])
    expect(await othersHeard.watch.confirm()).toBe(true)
    expect(othersHeard.keys).toEqual(['set', 'set'])
    expect([heard.lost, othersHeard.lost]).toEqual([1, 1])
  })

  test('randomised: after confirm() nothing that another server changed was left out', async () => {
    const random = seededRandom(20_261_124)
    const stores = [await ready(storeOf('random')), await ready(storeOf('random'))]
    const heard = await Promise.all(stores.map(heardBy))
    const keys = Array.from({ length: 8 }, (_, index) => `k${index}`)
    for (const key of keys) await stores[0]?.create(key, draft({ n: '0' }, { userId: random.pick(['ada', 'bob']) }), 'w')
    let made = 0
    for (let round = 0; round < 40; round++) {
      const expected = stores.map(() => new Set<string>())
      for (const one of heard) one.keys.length = 0
      const works = Array.from({ length: random.between(1, 12) }, async () => {
        const who = random.between(0, 1)
        const store = stores[who] as SessionStore
        const changed = await change(store, random.pick(keys), random.between(0, 9), () => `n${made++}`)
        for (const key of changed) expected[1 - who]?.add(key)
      })
      await Promise.all(works)
      expect(await Promise.all(heard.map(({ watch }) => watch.confirm()))).toEqual([true, true])
      heard.forEach((one, index) => expect(new Set(one.keys), `round ${round}`).toEqual(expected[index]))
    }
    expect(heard.map(({ lost }) => lost)).toEqual([1, 1])

    async function change(store: SessionStore, key: string, what: number, newKey: () => string): Promise<readonly string[]> {
      if (what === 0) return (await store.endUser?.('bob', later(), {})) ?? []
      if (what === 1) return (await store.destroy(key, 'destroyed', later())) ? [key] : []
      if (what === 2) {
        const fresh = newKey()
        const result = await store.replace(key, fresh, draft({ n: '0' }, { userId: 'bob' }), fresh)
        if (result.outcome === 'applied') keys[keys.indexOf(key)] = fresh
        return result.outcome === 'applied' ? [key] : []
      }
      const result = await store.patch(key, what < 6 ? adding('n', 1) : setting('a', String(what)))
      return result.outcome === 'applied' ? [key] : []
    }
  })

  test('confirmations under way together share pings', async () => {
    const store = await ready(storeOf('share'))
    const { watch } = await heardBy(store)
    const client = await plainClient(postgres.url)
    const transactions = async (): Promise<number> => Number((await rows(client, 'SELECT pg_current_xact_id()'))[0]?.[0])
    const before = await transactions()
    expect(await Promise.all(Array.from({ length: 500 }, () => watch.confirm()))).toEqual(Array.from({ length: 500 }, () => true))
    // One in flight, one queued, and the question itself; a busy machine may see one more.
    expect((await transactions()) - before).toBeLessThanOrEqual(4)
  })

  test('a confirmation covers a change that commits while the answer to an earlier ping is still on its way', async () => {
    const proxy = await startProxy(postgres.port)
    const mine = await ready(postgresStore({ url: postgres.url.replace(`:${postgres.port}/`, `:${proxy.port}/`) }, { table: 'during' }))
    const other = await ready(storeOf('during'))
    const heard = await heardBy(mine)
    await mine.create('k', draft(), 'w')
    for (let round = 0; round < 5; round++) {
      heard.keys.length = 0
      proxy.hold()
      const early = heard.watch.confirm()
      await waitFor(() => proxy.held === 1)
      await other.patch('k', setting('a', String(round)))
      await waitFor(() => proxy.held === 2)
      const late = heard.watch.confirm().then((isConfirmed) => [isConfirmed, ...heard.keys])
      proxy.pass(1)
      expect(await early).toBe(true)
      expect(heard.keys).toEqual([])
      proxy.pass()
      expect(await late).toEqual([true, 'k'])
    }
  })

  test('a listening connection that breaks is told at once and renewed; changes meanwhile are told by lost()', async () => {
    const [mine, other] = [await ready(storeOf('broken')), await ready(storeOf('broken'))]
    const heard = await heardBy(mine)
    await mine.create('k', draft(), 'w')
    const client = await plainClient(postgres.url)
    const killed = await rows(
      client,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_notify($1, $2)%' AND pid <> pg_backend_pid()`,
    )
    expect(killed.length).toBeGreaterThan(0)
    await waitFor(() => heard.lost === 3)
    await waitFor(() => heard.watch.confirm())
    await other.patch('k', setting('a', '1'))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.keys).toEqual(['k'])
    expect(applied(await mine.patch('k', setting('a', '2'))).after).toBe(3)
  })

  test('a stopped server (SIGSTOP): confirm() is false by the deadline, and true again after SIGCONT', async () => {
    const own = await startPostgres()
    try {
      const store = tracked(postgresStore({ url: own.url }))
      await store.ready(context({ deadlineMs: DEADLINE_MS }))
      const heard = await heardBy(store)
      own.pause()
      const startedAt = performance.now()
      expect(await within(Promise.all([heard.watch.confirm(), heard.watch.confirm()]), 5_000, 'confirm()')).toEqual([false, false])
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_000)
      expect(heard.lost).toBe(2)
      own.resume()
      const resumedAt = performance.now()
      await waitFor(() => heard.watch.confirm())
      expect(performance.now() - resumedAt).toBeLessThan(1_500)
    } finally {
      own.resume()
      await own.stop()
    }
  })

  test('a given pool lends one connection while somebody watches, and gets none back that listens', async () => {
    const pool = new pg.Pool({ connectionString: postgres.url, max: 2 })
    tracked({ close: () => pool.end() })
    const [mine, other] = [await ready(postgresStore({ pool }, { table: 'lent' })), await ready(storeOf('lent'))]
    expect(mine.freshness).toBe('push')
    const heard = await heardBy(mine)
    await mine.create('k', draft(), 'w')
    await other.patch('k', setting('a', '1'))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.keys).toEqual(['k'])
    expect([pool.totalCount, pool.idleCount]).toEqual([2, 1])
    heard.watch.close()
    expect(await heard.watch.confirm()).toBe(false)
    await waitFor(() => pool.totalCount === 1)
    expect(await rows(pool, 'SELECT pg_listening_channels()')).toEqual([])
    expect(await rows(pool, 'SHOW synchronous_commit')).toEqual([['on']])
  })

  test('with freshness lease, and with a pool of one, nothing is announced', async () => {
    const single = new pg.Pool({ connectionString: postgres.url, max: 1 })
    tracked({ close: () => single.end() })
    const [mine, leased, alone] = [
      await ready(storeOf('lease')),
      await ready(storeOf('lease', { freshness: 'lease' })),
      await ready(postgresStore({ pool: single }, { table: 'lease' })),
    ]
    expect([leased.freshness, alone.freshness]).toEqual(['lease', 'lease'])
    const heard = await heardBy(mine)
    await mine.create('k', draft(), 'w')
    for (const store of [leased, alone]) applied(await store.patch('k', setting('a', '1')))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.keys).toEqual([])
  })
})
