import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SessionError } from '../../src/errors.ts'
import type { SessionStore, StoredRecord, StorePatch } from '../../src/seam.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { packItem, unpackItem } from '../../src/stores/memcached-record.ts'
import type { UserItem } from '../../src/stores/memcached-record.ts'
import { type RunningMemcached, startMemcached } from '../setup/memcached.ts'
import { waitFor } from '../setup/servers.ts'
import { context, draft, failure, set } from './store-common.ts'

let memcached: RunningMemcached
let prefixes = 0
const open: SessionStore[] = []

beforeAll(async () => {
  memcached = await startMemcached()
})
afterEach(async () => {
  for (const store of open.splice(0)) await store.close()
})
afterAll(() => memcached.stop())

const nextPrefix = (): string => `s${++prefixes}`

async function opened(prefix: string = nextPrefix(), server: RunningMemcached = memcached): Promise<SessionStore> {
  const store = memcachedStore({ servers: [server.address] }, { prefix })
  open.push(store)
  await store.ready(context())
  return store
}

const add = (field: string, writeId: string): StorePatch => ({
  set: new Map(),
  add: new Map([[field, { by: 1, from: 0 }]]),
  touchAt: 0,
  writeId,
})

async function live(store: SessionStore, key: string): Promise<StoredRecord> {
  const found = await store.read(key)
  if (found === undefined || 'gone' in found) throw new Error('not there')
  return found
}

async function listed(store: SessionStore, userId: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list({ userId })) keys.push(key)
  return keys.sort()
}

/** What the server counted while `work` ran. */
async function counted(work: () => Promise<unknown>, server: RunningMemcached = memcached): Promise<Record<string, number>> {
  const before = await server.stats()
  await work()
  const after = await server.stats()
  const names = ['cmd_get', 'cmd_set', 'cas_hits', 'cas_badval', 'cas_misses', 'delete_hits'] as const
  return Object.fromEntries(names.map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]).filter(([, count]) => count !== 0))
}

const userKey = (prefix: string, userId: string): string => `${prefix}:u:${createHash('sha256').update(userId).digest('hex')}`
const evict = (name: string): Promise<string> => memcached.ask(`delete ${name}\r\n`, /\r\n$/)
const until = (): number => Date.now() + 60_000

describe('memcached - commands', () => {
  test('in steady state a write is one set and no get, a touch as well', async () => {
    const store = await opened()
    await store.create('k', draft({ a: '1' }, 'ada'), 'w')
    const writes = async (): Promise<void> => {
      for (let index = 0; index < 20; index++) {
        expect(await store.patch('k', set('a', String(index), `w${index}`))).toMatchObject({ outcome: 'applied', after: index + 2 })
      }
      await store.patch('k', { ...set('a', '1', 't'), set: new Map(), touchAt: Date.now() + 1_000 })
    }
    expect(await counted(writes)).toEqual({ cmd_set: 21, cas_hits: 21 })
  })

  test('a read is one get, of a session with a user two', async () => {
    const store = await opened()
    await store.create('anonymous', draft(), 'w')
    await store.create('bound', draft({}, 'ada'), 'w')
    expect(await counted(() => store.read('anonymous'))).toEqual({ cmd_get: 1 })
    expect(await counted(() => store.read('bound'))).toEqual({ cmd_get: 2 })
  })

  test('a create is one set, a logout one; a change from elsewhere costs one get more', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    expect(await counted(() => store.create('k', draft(), 'w'))).toEqual({ cmd_set: 1 })
    await other.patch('k', set('a', '1', 'v'))
    expect(await counted(() => store.patch('k', set('b', '2', 'x')))).toEqual({ cmd_get: 1, cmd_set: 2, cas_hits: 1, cas_badval: 1 })
    expect((await live(store, 'k')).fields).toEqual(
      new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    )
    expect(await counted(() => store.destroy('k', 'destroyed', until()))).toEqual({ cmd_set: 1, cas_hits: 1 })
  })

  test('every item expires, and no name of a user is in a key', async () => {
    const prefix = nextPrefix()
    const store = await opened(prefix)
    await store.create('k', draft({}, 'ada@example.org'), 'w')
    await store.create('bad key\r\nflush_all', draft(), 'w')
    expect((await live(store, 'bad key\r\nflush_all')).version).toBe(1)
    await store.destroy('k', 'destroyed', until())
    const dump = await memcached.ask('lru_crawler metadump all\r\n', /^END\r$/m)
    const items = dump.split(/\r?\n/).filter((line) => line.startsWith(`key=${prefix}`))
    expect(items).toHaveLength(3)
    for (const line of items) expect(Number(/exp=(-?\d+)/.exec(line)?.[1])).toBeGreaterThan(Date.now() / 1_000)
    expect(items.join()).not.toContain('ada')
  })
})

describe('memcached - parallel writers', () => {
  test('one client: 200 writes and additions at once lose none', async () => {
    const store = await opened()
    await store.create('k', draft(), 'w')
    await Promise.all(
      Array.from({ length: 200 }, (_, index) => store.patch('k', { ...add('n', `w${index}`), set: new Map([[`f${index}`, '1']]) })),
    )
    const { fields, version } = await live(store, 'k')
    expect([fields.get('n'), fields.size, version]).toEqual(['200', 201, 201])
  })

  test('five clients: 300 writes and additions lose none', async () => {
    const prefix = nextPrefix()
    const stores = await Promise.all(Array.from({ length: 5 }, () => opened(prefix)))
    await (stores[0] as SessionStore).create('k', draft(), 'w')
    const writes = stores.flatMap((store, client) =>
      Array.from({ length: 60 }, (_, index) =>
        store.patch('k', { ...add('n', `${client}-${index}`), set: new Map([[`f${client}-${index}`, '1']]) }),
      ),
    )
    for (const result of await Promise.all(writes)) expect(result.outcome).toBe('applied')
    const { fields, version } = await live(stores[0] as SessionStore, 'k')
    expect([fields.get('n'), fields.size, version]).toEqual(['300', 301, 301])
  })

  test('logouts raced by writes of another client stay logged out', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    for (let round = 0; round < 50; round++) {
      const key = `k${round}`
      await store.create(key, draft(), 'w')
      await other.read(key)
      const writes = Array.from({ length: 4 }, (_, index) => other.patch(key, set('a', '1', `w${index}`)))
      const [ended] = await Promise.all([store.destroy(key, 'destroyed', until()), ...writes])
      expect(ended).toBe(true)
      expect(await other.patch(key, set('a', '2', 'late'))).toEqual({ outcome: 'gone', reason: 'destroyed' })
      expect(await store.read(key)).toMatchObject({ gone: 'destroyed' })
    }
  })

  test('of a logout and replacements at once one wins, and a loser leaves no session', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    for (let round = 0; round < 30; round++) {
      const key = `k${round}`
      await store.create(key, draft({}, 'ada'), 'w')
      await other.read(key)
      const news = [`${key}-a`, `${key}-b`] as const
      const [ended, one, two] = await Promise.all([
        store.destroy(key, 'destroyed', until()),
        other.replace(key, news[0], draft({}, 'ada'), 'wa'),
        store.replace(key, news[1], draft({}, 'ada'), 'wb'),
      ])
      const alive = (await Promise.all(news.map((name) => store.read(name)))).map((found) => found !== undefined)
      expect(alive).toEqual([one.outcome === 'applied', two.outcome === 'applied'])
      expect([ended, ...alive].filter(Boolean)).toHaveLength(1)
    }
    const survivors = await Promise.all((await listed(store, 'ada')).map((key) => store.read(key)))
    for (const survivor of survivors) expect(survivor).toMatchObject({ version: 1 })
  })
})

describe('memcached - retries', () => {
  test('a write sent again by another client counts once', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    await store.create('k', draft(), 'w')
    const first = await store.patch('k', add('n', 'once'))
    for (let index = 0; index < 7; index++) await other.patch('k', set('a', String(index), `w${index}`))
    for (const again of [store, other]) expect(await again.patch('k', add('n', 'once'))).toMatchObject({ ...first, outcome: 'applied' })
    expect((await live(store, 'k')).fields.get('n')).toBe('1')
  })

  test('a replacement sent again succeeds, whatever became of the new session', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    await store.create('old', draft({ a: '1' }), 'w')
    const first = await store.replace('old', 'new', draft({}, 'ada'), 'login')
    expect(first).toMatchObject({ outcome: 'applied', before: 1, after: 1 })
    for (let index = 0; index < 10; index++) await store.patch('new', set('a', String(index), `w${index}`))
    expect(await other.replace('old', 'new', draft({}, 'ada'), 'login')).toEqual(first)
    expect((await live(store, 'new')).fields.get('a')).toBe('9')
    expect(await other.replace('old', 'other', draft(), 'else')).toEqual({ outcome: 'gone', reason: 'replaced' })
    expect(await store.read('other')).toBeUndefined()
  })

  test('a replacement that broke off before the old session ended goes on, or is undone when that one ended meanwhile', async () => {
    const prefix = nextPrefix()
    const store = await opened(prefix)
    for (const key of ['kept', 'ended']) {
      await store.create(key, draft({ a: '1' }), 'w')
      // What a crash leaves: the new session, and the old one as it was.
      await store.create(`${key}-new`, draft({ b: '2' }), 'login')
    }
    expect(await store.replace('kept', 'kept-new', draft({ b: '2' }), 'login')).toMatchObject({ outcome: 'applied' })
    expect((await live(store, 'kept-new')).fields.get('b')).toBe('2')
    await store.destroy('ended', 'destroyed', until())
    expect(await store.replace('ended', 'ended-new', draft({ b: '2' }), 'login')).toEqual({ outcome: 'gone', reason: 'destroyed' })
    expect(await store.read('ended-new')).toBeUndefined()
  })

  test('a key that is taken by another session is not replaced onto', async () => {
    const store = await opened()
    await store.create('old', draft(), 'w')
    await store.create('taken', draft({ a: '1' }), 'w')
    expect(await store.replace('old', 'taken', draft(), 'login')).toMatchObject({ outcome: 'conflict' })
    expect((await live(store, 'taken')).fields.get('a')).toBe('1')
    expect((await live(store, 'old')).version).toBe(1)
  })
})

describe('memcached - users', () => {
  test('a revocation ends all sessions of a user at once, on every client, and login after it works', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    for (const key of ['a1', 'a2', 'a3']) await store.create(key, draft({}, 'ada'), key)
    await store.create('b1', draft({}, 'bob'), 'b1')
    for (const key of ['a1', 'b1']) await live(other, key)
    expect([...((await store.endUser?.('ada', until(), {})) ?? [])].sort()).toEqual(['a1', 'a2', 'a3'])
    for (const key of ['a1', 'a2', 'a3']) {
      expect(await other.read(key)).toMatchObject({ gone: 'destroyed', endedAt: expect.closeTo(Date.now(), -4) })
      expect(await other.patch(key, set('x', '1', 'late'))).toEqual({ outcome: 'gone', reason: 'destroyed' })
    }
    expect(await listed(store, 'ada')).toEqual([])
    expect((await live(other, 'b1')).meta.userId).toBe('bob')
    await store.create('anonymous', draft(), 'w')
    expect(await store.replace('anonymous', 'a4', draft({}, 'ada'), 'login')).toMatchObject({ outcome: 'applied' })
    expect(await listed(other, 'ada')).toEqual(['a4'])
    expect(await store.endUser?.('nobody', until(), {})).toEqual([])
  })

  test('the excepted session goes on, through writes, a new id and the next revocation', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    for (const key of ['a1', 'a2']) await store.create(key, draft({}, 'ada'), key)
    expect(await store.endUser?.('ada', until(), { except: 'a1' })).toEqual(['a2'])
    expect(await other.patch('a1', set('x', '1', 'v'))).toMatchObject({ outcome: 'applied' })
    expect((await live(store, 'a1')).fields.get('x')).toBe('1')
    expect(await listed(other, 'ada')).toEqual(['a1'])
    expect(await other.endUser?.('ada', until(), { except: 'a1' })).toEqual([])
    expect((await live(store, 'a1')).version).toBe(2)
    expect(await store.replace('a1', 'a3', draft({}, 'ada'), 'new')).toMatchObject({ outcome: 'applied' })
    expect(await listed(other, 'ada')).toEqual(['a3'])
    expect(await other.endUser?.('ada', until(), {})).toEqual(['a3'])
    expect(await store.read('a3')).toMatchObject({ gone: 'destroyed' })
  })

  test('what is not theirs, or over, is not excepted: no revocation brings a session back', async () => {
    const prefix = nextPrefix()
    const store = await opened(prefix)
    await store.create('a1', draft({}, 'ada'), 'w')
    await store.create('b1', draft({}, 'bob'), 'w')
    expect(await store.endUser?.('ada', until(), { except: 'b1' })).toEqual(['a1'])
    await store.create('a2', draft({}, 'ada'), 'w')
    // The marks are lost: only the epoch knows.
    await evict(`${prefix}:s:a1`)
    await store.endUser?.('ada', until(), { except: 'a1' })
    expect(await listed(store, 'ada')).toEqual([])
    expect(await store.read('a1')).toBeUndefined()
  })

  test('sessions beyond those that are listed end as well, by the epoch alone', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    for (let index = 0; index < 203; index++) await store.create(`k${index}`, draft({}, 'ada'), 'w')
    await live(other, 'k0')
    expect(await listed(store, 'ada')).toHaveLength(200)
    expect(await store.endUser?.('ada', until(), { except: 'k1' })).toHaveLength(200)
    expect((await live(other, 'k1')).meta.userId).toBe('ada')
    expect(await other.read('k0')).toMatchObject({ gone: 'destroyed' })
    expect(await other.patch('k0', set('a', '1', 'late'))).toEqual({ outcome: 'gone', reason: 'destroyed' })
    await store.endUser?.('ada', until(), { except: 'k0' })
    expect(await other.read('k0')).toMatchObject({ gone: 'destroyed' })
    expect(await other.replace('k2', 'k2-new', draft({}, 'ada'), 'login')).toEqual({ outcome: 'gone', reason: 'destroyed' })
    expect(await store.read('k2-new')).toBeUndefined()
  })

  test('when the item of a user was dropped their sessions are absent, and stay so after the next login', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    await store.create('a1', draft({}, 'ada'), 'w')
    await live(other, 'a1')
    await evict(userKey(prefix, 'ada'))
    expect(await other.read('a1')).toBeUndefined()
    expect(await listed(store, 'ada')).toEqual([])
    expect(await other.patch('a1', set('a', '1', 'late'))).toEqual({ outcome: 'gone', reason: 'unknown' })
    await store.create('a2', draft({}, 'ada'), 'w')
    expect(await other.read('a1')).toMatchObject({ gone: 'destroyed' })
    expect(await listed(other, 'ada')).toEqual(['a2'])
  })

  test('a session that takes a new id while its user is revoked does not survive it, listed or not', async () => {
    const prefix = nextPrefix()
    const [store, other] = await Promise.all([opened(prefix), opened(prefix)])
    const name = userKey(prefix, 'ada')
    const outcomes = new Set<string>()
    for (let round = 0; round < 120; round++) {
      await store.create(`k${round}`, draft({}, 'ada'), 'w')
      if (round % 3 > 0) {
        const bytes = Buffer.from(/\r\n(.*)\r\n$/s.exec(await memcached.ask(`mg ${name} v\r\n`, /\r\n.*\r\n$/s))?.[1] ?? '', 'latin1')
        const item = { ...(unpackItem(bytes) as UserItem), sessions: [] }
        await memcached.ask(
          Buffer.concat([Buffer.from(`set ${name} 0 0 ${packItem(item).length}\r\n`), packItem(item), Buffer.from('\r\n')]),
          /STORED/,
        )
      }
      const replacing = other.replace(`k${round}`, `n${round}`, draft({}, 'ada'), 'new')
      for (let wait = (round % 24) * 2; wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve))
      const [{ outcome }] = await Promise.all([replacing, store.endUser?.('ada', until(), {})])
      outcomes.add(outcome)
      // Whatever came first: one that replaced before the revocation was ended by it.
      const found = await other.read(`n${round}`)
      expect(found === undefined || 'gone' in found).toBe(true)
    }
    expect([...outcomes].sort()).toEqual(['applied', 'gone'])
  })

  test('the item of a user forgets sessions that ended, and expires with the last of them', async () => {
    const prefix = nextPrefix()
    const store = await opened(prefix)
    const bytes = async (): Promise<number> =>
      Number(/^VA (\d+)|^EN/.exec(await memcached.ask(`mg ${userKey(prefix, 'ada')} v\r\n`, /\r\n$/))?.[1] ?? 0)
    await store.create('a1', draft({}, 'ada'), 'w')
    const one = await bytes()
    for (let index = 0; index < 10; index++) await store.create(`k${index}`, draft({}, 'ada'), 'w')
    expect(await bytes()).toBeGreaterThan(one)
    for (let index = 0; index < 10; index++) await store.destroy(`k${index}`, 'destroyed', until())
    await waitFor(async () => (await bytes()) === one)
    const short = draft({}, 'bob')
    await store.create('short', { ...short, meta: { ...short.meta, absoluteAt: Date.now() + 500 } }, 'w')
    await waitFor(async () => (await memcached.ask(`mg ${userKey(prefix, 'bob')}\r\n`, /\r\n$/)).startsWith('EN'))
  })

  test('there is no list of all sessions, and the error says so', async () => {
    const store = await opened()
    const all = async (): Promise<void> => {
      for await (const { key } of store.list({})) expect(key).toBe('none')
    }
    expect(await failure(all())).toMatchObject({ code: 'STRATEGY_UNSUPPORTED', message: expect.stringMatching(/no index.*of one user/) })
  })
})

describe('memcached - what does not fit or parse', () => {
  test('a record that does not parse is STORE_RECORD_INVALID and stays', async () => {
    const prefix = nextPrefix()
    const store = await opened(prefix)
    await memcached.ask(`set ${prefix}:s:text 0 0 4\r\ntext\r\n`, /STORED/)
    await memcached.ask(`set ${prefix}:s:newer 0 0 4\r\nh2s!\r\n`, /STORED/)
    for (const key of ['text', 'newer']) {
      expect(await failure(store.read(key))).toMatchObject({ code: 'STORE_RECORD_INVALID', message: expect.stringContaining(key) })
      expect(await failure(store.patch(key, set('a', '1', 'v')))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(await failure(store.destroy(key, 'destroyed', until()))).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(await memcached.ask(`mg ${prefix}:s:${key} v\r\n`, /\r\n.*\r\n$/)).toMatch(/^VA 4/)
    }
  })

  test('a session larger than -I is refused by name, and the one before stays', async () => {
    const server = await startMemcached({ args: ['-I', '64k', '-o', 'slab_chunk_max=16384'] })
    try {
      const store = await opened(nextPrefix(), server)
      await store.create('k', draft({ a: '1' }), 'w')
      const error = await failure(store.patch('k', set('a', 'x'.repeat(70_000), 'v')))
      expect(error).toMatchObject({ code: 'SESSION_TOO_LARGE', message: expect.stringMatching(/65536.*nothing was stored.*memcached -I/) })
      expect((await live(store, 'k')).fields.get('a')).toBe('1')
      expect(await failure(store.create('big', draft({ a: 'x'.repeat(70_000) }), 'w'))).toMatchObject({ code: 'SESSION_TOO_LARGE' })
      // As close to the limit as it goes: what the store lets pass, Memcached takes.
      for (let bytes = 65_536 - 400; bytes < 65_536; bytes += 7) {
        const result = await store.patch('k', set('a', 'x'.repeat(bytes), `w${bytes}`)).catch((reason: unknown) => reason)
        if (SessionError.is(result)) expect(result.code).toBe('SESSION_TOO_LARGE')
        expect((await live(store, 'k')).fields.size).toBe(1)
      }
    } finally {
      await server.stop()
    }
  })

  test('a full Memcached that may not evict: one clear error', async () => {
    const server = await startMemcached({ args: ['-M', '-m', '2', '-I', '512k'] })
    try {
      const store = await opened(nextPrefix(), server)
      const fill = async (): Promise<void> => {
        for (let index = 0; index < 100; index++) await store.create(`k${index}`, draft({ a: 'x'.repeat(100_000) }), 'w')
      }
      expect(await failure(fill())).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringMatching(/out of memory.*-m/) })
      expect((await live(store, 'k0')).version).toBe(1)
    } finally {
      await server.stop()
    }
  })

  test('a large session travels whole', async () => {
    const store = await opened()
    const value = 'é🍪\r\nEN\r\n'.repeat(40_000)
    await store.create('k', draft({ a: value }), 'w')
    const reads = await Promise.all(Array.from({ length: 20 }, () => live(store, 'k')))
    for (const { fields } of reads) expect(fields.get('a') === value).toBe(true)
  })
})
