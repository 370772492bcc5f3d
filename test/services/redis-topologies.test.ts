import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RunningStrategy, SessionStore } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import type { RedisStoreOptions } from '../../src/stores/redis.ts'
import { slotOf } from '../../src/stores/redis-slots.ts'
import { freePort } from '../setup/ports.ts'
import { askServer, SOON_DOWN_MS, startCluster, startSentinel, startTlsRedis } from '../setup/redis-servers.ts'
import type { ClusterRedis } from '../setup/redis-servers.ts'
import { startRedis, waitFor } from '../setup/servers.ts'
import type { RedisProgram } from '../setup/servers.ts'
import { add, context, DEADLINE_MS, draft, failure, hear, id, jar, set, strategyOver } from './redis-common.ts'

/** Of a fail-over: until the others agree, and then some. */
const FAIL_OVER_MS = 30_000
/** Most say at once what is wrong; who says nothing is given up at this deadline. */
const REFUSED_MS = 3_000
/** Both speak one protocol; each has its own fail-over and its own cluster. */
const PROGRAMS = ['redis-server', 'valkey-server'] as const
const open: { close(): Promise<unknown> }[] = []
const servers: { stop(): Promise<void> }[] = []

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function started<S extends { stop(): Promise<void> }>(start: Promise<S>): Promise<S> {
  const server = await start
  servers.push(server)
  return server
}

async function opened(url: string, options?: RedisStoreOptions): Promise<SessionStore> {
  const store = redisStore({ url }, options)
  open.push(store)
  await store.ready(context())
  return store
}

async function refused(url: string, options?: RedisStoreOptions): Promise<string> {
  const store = redisStore({ url }, options)
  open.push(store)
  const startedAt = performance.now()
  const error = await failure(store.ready(context({ deadlineMs: REFUSED_MS })))
  expect(performance.now() - startedAt).toBeLessThan(REFUSED_MS + 1_500)
  expect(error.code).toBe('STORE_UNAVAILABLE')
  expect(error.message).not.toContain('\n')
  return error.message
}

function tracked(strategy: RunningStrategy): RunningStrategy {
  open.push(strategy)
  return strategy
}

describe('redis over TLS', () => {
  test('a server that is not trusted, and TLS on one side only: one clear line each', async () => {
    const redis = await started(startTlsRedis())
    expect(await refused(redis.url)).toMatch(/\(\w+\): its certificate cannot be trusted: give its authority as tls\.ca/)
    expect(await refused(redis.url, { tls: { ca: redis.otherCa } })).toMatch(/its certificate cannot be trusted/)
    const byName = redis.url.replace('127.0.0.1', 'localhost')
    expect(await refused(byName, { tls: { ca: redis.ca } })).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID.*the name in it as the host/)
    expect(await refused(`rediss://127.0.0.1:${redis.port}`, { tls: { ca: redis.ca } })).toMatch(/no answer.*it does not speak TLS here/)
    expect(await refused(`redis://127.0.0.1:${redis.tlsPort}`)).toMatch(/wants TLS: then begin the url with rediss/)
    const store = await opened(redis.url, { tls: { ca: redis.ca } })
    expect(await store.create('k', draft(), 'w')).toBe(true)
  })

  test('options that make no sense are refused at creation', () => {
    expect(() => redisStore({ url: 'redis://h' }, { tls: {} })).toThrow(/tls needs a url that begins with rediss/)
    expect(() => redisStore({ url: 'rediss://h' }, { tls: { rejectUnauthorized: false } as never })).toThrow(/always verified/)
    expect(() => redisStore({ url: 'redis://h' }, { sentinel: { password: 'x' } })).toThrow(/sentinel needs a url/)
    for (const url of [
      'redis://a,b',
      'redis+sentinel://a',
      'redis+sentinel://a/m/x',
      'redis+cluster://a/1',
      'redis+cluster://a:0',
      'redis://a:99999',
    ]) {
      expect(() => redisStore({ url })).toThrow(/url must look like/)
    }
    for (const url of ['redis://[::1]:1/2', 'rediss+sentinel://u:p@a:1,b/m/3', 'rediss+cluster://a,b:7', 'redis://:p%40w@h'])
      redisStore({ url })
  })
})

describe.each(PROGRAMS)('%s behind Sentinel', (program) => {
  test('the master dies (SIGKILL): it comes back by itself on the replica, with everyone logged in', async () => {
    const redis = await started(startSentinel(program, SOON_DOWN_MS))
    const events: string[] = []
    const store = redisStore({ url: redis.url })
    const strategy = tracked(strategyOver(store, events))
    const written = await strategy.create(id('k'), draft({ a: '1' }, 'ada'))
    await askServer(redis.master.port, ['WAIT', '1', '5000'])
    const heard = hear(store)
    await waitFor(() => heard.watch.confirm())
    await redis.master.kill()
    const presented = { ...jar('k'), notes: written.jar.set }
    let failures = 0
    await waitFor(
      async () => {
        const at = performance.now()
        const opening = await Promise.resolve(strategy.reload(written.opened)).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
          expect(performance.now() - at).toBeLessThan(DEADLINE_MS + 1_500)
          failures += 1
          return undefined
        })
        return opening?.outcome === 'found'
      },
      FAIL_OVER_MS,
      'the fail-over',
    )
    expect(failures).toBeGreaterThan(0)
    expect(await strategy.open(presented)).toMatchObject({ outcome: 'found' })
    await strategy.write(written.opened, { set: new Map([['a', '2']]), add: new Map(), touchAt: Date.now() })
    expect(heard.lost).toBeGreaterThan(0)
    await waitFor(() => heard.watch.confirm())
    const theirs = await opened(redis.url)
    expect((await theirs.patch('k', set('b', '1', 'theirs'))).outcome).toBe('applied')
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toContain('k')
    expect(events.filter((event) => event === 'regressed')).toEqual([])
    expect(events.at(-1)).toBe('recovered')
  }, 90_000)
})

describe('redis behind Sentinel', () => {
  test('what the fail-over lost is reported as regressed, not hidden', async () => {
    const redis = await started(startSentinel('redis-server', SOON_DOWN_MS))
    const strategy = tracked(strategyOver(redisStore({ url: redis.url }), []))
    const created = await strategy.create(id('k'), draft({ a: '1' }, 'ada'))
    await askServer(redis.master.port, ['WAIT', '1', '5000'])
    // The replica is cut off: what is written now, only the master has.
    redis.replica.pause()
    await askServer(redis.master.port, ['CLIENT', 'KILL', 'TYPE', 'replica'])
    const written = await strategy.write(created.opened, { set: new Map([['a', '2']]), add: new Map(), touchAt: Date.now() })
    await redis.master.kill()
    redis.replica.resume()
    const presented = { ...jar('k'), notes: written.jar.set }
    const opening = await waitFor(() => Promise.resolve(strategy.open(presented)), FAIL_OVER_MS, 'the fail-over')
    expect(opening).toMatchObject({ outcome: 'regressed' })
  }, 90_000)

  test('no Sentinel, an unknown master, a password: one clear line each, and no secret in it', async () => {
    const dead = `redis+sentinel://app:geheim@127.0.0.1:${await freePort()}/sessions`
    expect(await refused(dead)).toMatch(/no Sentinel could be asked: ECONNREFUSED\): check the Sentinels/)
    const redis = await started(startSentinel('redis-server', SOON_DOWN_MS))
    expect(await refused(redis.url.replace('/sessions', '/others'))).toMatch(/Sentinel does not know this master/)
    await askServer(redis.sentinel.port, ['ACL', 'SETUSER', 'default', '>sentinel-pw'])
    expect(await refused(redis.url)).toMatch(/NOAUTH\): check the Sentinels.*the sentinel option/)
    await askServer(redis.master.port, ['ACL', 'SETUSER', 'app', 'on', '>geheim', '~holdfast:*', '+@all', '-@dangerous'])
    const url = redis.url.replace('//', '//app:geheim@')
    const store = await opened(url, { sentinel: { password: 'sentinel-pw' } })
    expect(await store.create('k', draft({}, 'ada'), 'w')).toBe(true)
    const wrong = [
      await refused(url.replace('geheim', 'wrong-geheim'), { sentinel: { password: 'sentinel-pw' } }),
      await refused(url, { sentinel: { password: 'wrong-sentinel-pw' } }),
    ]
    for (const message of wrong) {
      expect(message).toContain('WRONGPASS')
      expect(message).not.toMatch(/geheim|sentinel-pw|app/)
    }
  }, 90_000)
})

/** A key whose session lies on the master with this index. */
function keyOn(index: number): string {
  for (let number = 0; ; number++) {
    const key = `key${number}`
    if (Math.floor((slotOf(`holdfast:s:${key}`) * 3) / 16_384) === index) return key
  }
}

async function moveSlot(cluster: ClusterRedis, slot: number, during: () => Promise<void>): Promise<void> {
  const [from, to] = cluster.masters as [(typeof cluster.masters)[0], (typeof cluster.masters)[0]]
  const [fromId, toId] = [cluster.ids.get(from.port) as string, cluster.ids.get(to.port) as string]
  await askServer(to.port, ['CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', fromId])
  await askServer(from.port, ['CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', toId])
  await during()
  const keys = (await askServer(from.port, ['CLUSTER', 'GETKEYSINSLOT', String(slot), '1000'])) as string[]
  for (const key of keys) await askServer(from.port, ['MIGRATE', '127.0.0.1', String(to.port), key, '0', '5000'])
  await during()
  for (const { port } of [to, from]) await askServer(port, ['CLUSTER', 'SETSLOT', String(slot), 'NODE', toId])
}

const clusters = new Map<RedisProgram, ClusterRedis>()
beforeAll(async () => {
  for (const program of PROGRAMS) clusters.set(program, await startCluster(program))
}, 60_000)
afterAll(async () => {
  for (const cluster of clusters.values()) await cluster.stop()
})

describe.each(PROGRAMS)('%s cluster', (program) => {
  test('a slot moves to another master under load: no request fails, nothing is lost, near copies learn of it', async () => {
    const cluster = clusters.get(program) as ClusterRedis
    const store = await opened(cluster.url)
    const theirs = await opened(cluster.url)
    const key = keyOn(0)
    await store.create(key, draft({ n: '0' }), 'w')
    const heard = hear(store)
    await waitFor(() => heard.watch.confirm())
    await store.read(key)
    let applied = 0
    const work = async (): Promise<void> => {
      for (let count = 0; count < 30; count++) {
        const result = await (count % 2 === 0 ? store : theirs).patch(key, add('n', 1, `w${++applied}`))
        expect(result.outcome).toBe('applied')
      }
      const fresh = `fresh${applied}`
      expect(await theirs.create(fresh, draft({}, 'ada'), 'w')).toBe(true)
    }
    await moveSlot(cluster, slotOf(`holdfast:s:${key}`), work)
    await work()
    expect(await store.read(key)).toMatchObject({ fields: new Map([['n', String(applied)]]) })
    await waitFor(() => heard.watch.confirm())
    await store.read(key)
    heard.changed.length = 0
    const lost = heard.lost
    await theirs.patch(key, add('n', 1, 'last'))
    // Also from the master that holds it now.
    await waitFor(() => heard.watch.confirm())
    expect(heard.changed.includes(key) || heard.lost > lost).toBe(true)
  }, 90_000)

  test('a master dies (SIGKILL): the others go on, its sessions are 503 by the deadline until its replica has taken over', async () => {
    const cluster = await started(startCluster(program))
    const events: string[] = []
    const store = redisStore({ url: cluster.url })
    const strategy = tracked(strategyOver(store, events))
    const keys = [keyOn(0), keyOn(1), keyOn(2)]
    for (const key of keys) await strategy.create(id(key), draft({ a: '1' }, 'ada'))
    const [first] = cluster.masters as [(typeof cluster.masters)[0]]
    await askServer(first.port, ['WAIT', '1', '5000'])
    const heard = hear(store)
    await waitFor(() => heard.watch.confirm())
    await first.kill()
    let failures = 0
    await waitFor(
      async () => {
        for (const key of keys.slice(1)) expect(await strategy.open(jar(key))).toMatchObject({ outcome: 'found' })
        const at = performance.now()
        const opening = await Promise.resolve(strategy.open(jar(keys[0] as string))).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
          expect((error as Error).message).toContain(`127.0.0.1:${first.port}`)
          expect(performance.now() - at).toBeLessThan(DEADLINE_MS + 1_500)
          failures += 1
          return undefined
        })
        return opening?.outcome === 'found'
      },
      FAIL_OVER_MS,
      'the fail-over',
    )
    expect(failures).toBeGreaterThan(0)
    expect(heard.lost).toBeGreaterThan(0)
    await waitFor(() => heard.watch.confirm())
    await waitFor(() => events.at(-1) === 'recovered')
    expect(events).toEqual(['degraded', 'recovered'])
    // A new server starts while the first seed is still dead.
    const theirs = await opened(cluster.url)
    await store.read(keys[0] as string)
    await theirs.patch(keys[0] as string, set('a', '2', 'x'))
    expect(await heard.watch.confirm()).toBe(true)
    expect(heard.changed).toContain(keys[0])
  }, 90_000)
})

describe('redis cluster', () => {
  test('a master that was stopped (SIGSTOP) is 503 by the deadline, and its successor is found', async () => {
    const cluster = await started(startCluster())
    const strategy = tracked(strategyOver(redisStore({ url: cluster.url }), []))
    const key = keyOn(0)
    await strategy.create(id(key), draft())
    const [first] = cluster.masters as [(typeof cluster.masters)[0]]
    await askServer(first.port, ['WAIT', '1', '5000'])
    first.pause()
    const at = performance.now()
    expect(await failure(strategy.open(jar(key)))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - at).toBeLessThan(DEADLINE_MS + 1_500)
    await waitFor(async () => (await strategy.open(jar(key))).outcome === 'found', FAIL_OVER_MS)
    first.resume()
    await waitFor(async () => String(await askServer(first.port, ['ROLE'])).startsWith('slave'), FAIL_OVER_MS)
    expect(await strategy.open(jar(key))).toMatchObject({ outcome: 'found' })
  }, 90_000)

  test('the sessions of all masters are listed, and a login leaves nothing behind when the old session is gone', async () => {
    const { url } = clusters.get('redis-server') as ClusterRedis
    const store = await opened(url, { prefix: 'listed' })
    const keys = Array.from({ length: 60 }, (_, index) => `k${index}`)
    for (const key of keys) await store.create(key, draft({}, key.endsWith('0') ? 'ada' : undefined), `w${key}`)
    const listed: string[] = []
    for await (const { key } of store.list({})) listed.push(key)
    expect(listed.sort()).toEqual([...keys].sort())
    await store.destroy('k1', 'destroyed', Date.now() + 60_000)
    expect(await store.replace('k1', 'new', draft({}, 'ada'), 'login')).toEqual({ outcome: 'gone', reason: 'destroyed' })
    expect(await store.read('new')).toBeUndefined()
    const ofAda: string[] = []
    for await (const { key } of store.list({ userId: 'ada' })) ofAda.push(key)
    expect(ofAda.sort()).toEqual(keys.filter((key) => key.endsWith('0')).sort())
    // A retry whose first reply was lost, and one whose first try got no further than the new session.
    expect(await store.replace('k2', 'n2', draft({}, 'eve'), 'login2')).toMatchObject({ outcome: 'applied', after: 1 })
    expect(await store.replace('k2', 'n2', draft({}, 'eve'), 'login2')).toMatchObject({ outcome: 'applied', after: 1 })
    await store.create('n3', draft({}, 'eve'), 'login3')
    expect(await store.replace('k3', 'n3', draft({}, 'eve'), 'login3')).toMatchObject({ outcome: 'applied', after: 1 })
    expect(await store.read('k3')).toMatchObject({ gone: 'replaced' })
    expect(await store.replace('k2', 'n4', draft({}, 'eve'), 'login4')).toEqual({ outcome: 'gone', reason: 'replaced' })
    const ofEve: string[] = []
    for await (const { key } of store.list({ userId: 'eve' })) ofEve.push(key)
    expect(ofEve.sort()).toEqual(['n2', 'n3'])
  }, 90_000)

  test('a cluster where none was expected, and the reverse: one clear line each', async () => {
    const { masters } = clusters.get('redis-server') as ClusterRedis
    const store = await opened(`redis://127.0.0.1:${masters[0]?.port}`)
    expect((await failure(store.read(keyOn(2)))).message).toMatch(/\(MOVED\): it is a node of a cluster: begin the url with redis\+cluster/)
    const single = await started(startRedis())
    expect(await refused(`redis+cluster://127.0.0.1:${single.port}`)).toMatch(/it is not a cluster\): begin the url with redis/)
    expect(await refused(`redis+cluster://127.0.0.1:${await freePort()}`)).toMatch(/ECONNREFUSED at 127/)
  }, 90_000)
})
