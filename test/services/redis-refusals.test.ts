import { rm } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { askServer } from '../setup/redis-servers.ts'
import { startRedis, waitFor } from '../setup/servers.ts'
import type { RunningRedis } from '../setup/servers.ts'
import { context, DEADLINE_MS, draft, failure, id, jar, set, strategyOver } from './redis-common.ts'

const open: { close(): Promise<unknown> }[] = []
const servers: RunningRedis[] = []

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function started(args: readonly string[] = []): Promise<RunningRedis> {
  const server = await startRedis({ args })
  servers.push(server)
  return server
}

async function opened(url: string): Promise<SessionStore> {
  const store = redisStore({ url })
  open.push(store)
  await store.ready(context({ deadlineMs: DEADLINE_MS }))
  return store
}

describe('redis - refusals', () => {
  test('at maxmemory with noeviction: writes are 503 and say so, reads and logouts work, nobody is logged out', async () => {
    const redis = await started(['--maxmemory-policy', 'noeviction'])
    const strategy = strategyOver(redisStore({ url: redis.url }), [])
    open.push(strategy)
    const written = await strategy.create(id('k'), draft({ a: '1' }, 'ada'))
    await strategy.create(id('l'), draft({ a: '1' }, 'ada'))
    await askServer(redis.port, ['CONFIG', 'SET', 'maxmemory', '1'])
    const change = { set: new Map([['a', '2']]), add: new Map(), touchAt: Date.now() }
    const startedAt = performance.now()
    const error = await failure(strategy.write(written.opened, change))
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
    expect(error.message).toMatch(/\(OOM\): it is out of memory: raise maxmemory/)
    expect(await failure(strategy.create(id('new'), draft()))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await strategy.open({ ...jar('k'), notes: written.jar.set })).toMatchObject({ outcome: 'found' })
    expect(await strategy.revoke('l', {})).toBe(true)
    expect(await strategy.open(jar('l'))).toMatchObject({ outcome: 'gone', reason: 'destroyed' })
    expect(await strategy.revokeUser('ada', {})).toBe(1)
    await askServer(redis.port, ['CONFIG', 'SET', 'maxmemory', '0'])
    await strategy.create(id('new'), draft())
  })

  test('a read-only replica: writes are 503 and say so, reads work', async () => {
    const primary = await started()
    const replica = await started(['--replicaof', '127.0.0.1', String(primary.port)])
    await waitFor(async () => String(await askServer(replica.port, ['INFO', 'replication'])).includes('master_link_status:up'))
    const writer = await opened(primary.url)
    await writer.create('k', draft({ a: '1' }), 'w')
    await askServer(primary.port, ['WAIT', '1', '5000'])
    const store = await opened(replica.url)
    expect(await store.read('k')).toMatchObject({ version: 1 })
    for (const work of [
      store.create('l', draft(), 'w'),
      store.patch('k', set('a', '2', 'x')),
      store.destroy('k', 'destroyed', Date.now()),
    ]) {
      const error = await failure(work)
      expect(error.code).toBe('STORE_UNAVAILABLE')
      expect(error.message).toMatch(/\(READONLY\): it is a read-only replica: name the primary/)
    }
    expect(await store.read('k')).toMatchObject({ version: 1 })
  })

  test('a disk that cannot be written to: writes are 503 and say so, reads work', async () => {
    const redis = await started()
    const store = await opened(redis.url)
    await store.create('k', draft({ a: '1' }), 'w')
    // A snapshot that fails because its folder is not there any more.
    await askServer(redis.port, ['CONFIG', 'SET', 'save', '3600 1'])
    const [folder] = Object.values((await askServer(redis.port, ['CONFIG', 'GET', 'dir'])) as Record<string, string>) as [string]
    await rm(folder, { recursive: true, force: true })
    await askServer(redis.port, ['BGSAVE'])
    await waitFor(async () => String(await askServer(redis.port, ['INFO', 'persistence'])).includes('rdb_last_bgsave_status:err'))
    const error = await failure(store.patch('k', set('a', '2', 'x')))
    expect(error.message).toMatch(/\(MISCONF\): it cannot save to its disk/)
    expect(await store.read('k')).toMatchObject({ version: 1 })
  })

  test('a database that does not exist: one line that says so', async () => {
    const redis = await started()
    const store = redisStore({ url: `${redis.url}/99` })
    open.push(store)
    const error = await failure(store.ready(context({ deadlineMs: DEADLINE_MS })))
    expect(error.code).toBe('STORE_UNAVAILABLE')
    expect(error.message).toMatch(/\/99 \(no such database\): correct the number of the database at the end of the url[^\n]*$/)
    expect(await (await opened(`${redis.url}/15`)).create('k', draft(), 'w')).toBe(true)
  })

  test('a user without the permission to write says what to allow', async () => {
    const redis = await started()
    await askServer(redis.port, ['ACL', 'SETUSER', 'app', 'on', '>geheim', '~holdfast:*', '+@all', '-@scripting'])
    const store = await opened(redis.url.replace('//', '//app:geheim@'))
    const error = await failure(store.patch('k', set('a', '2', 'x')))
    expect(error.message).toMatch(/\(NOPERM\): its user lacks permissions: allow .* scripting/)
    expect(error.message).not.toMatch(/geheim|app/)
  })

  test('a user index of another type is named by what can be found in Redis, never by the user', async () => {
    const redis = await started()
    const store = await opened(redis.url)
    await store.create('k', draft({}, 'ada'), 'w')
    const [index] = (await askServer(redis.port, ['KEYS', 'holdfast:u:*'])) as [string]
    await askServer(redis.port, ['SET', index, 'text'])
    const list = async (): Promise<void> => {
      for await (const _ of store.list({ userId: 'ada' })) continue
    }
    const error = await failure(list())
    expect(error).toMatchObject({ code: 'STORE_RECORD_INVALID' })
    expect(error.message).toContain(index.slice('holdfast:'.length))
    expect(error.message).not.toContain('ada')
  })

  test('the key of a record of another type is named', async () => {
    const redis = await started()
    const store = await opened(redis.url)
    await askServer(redis.port, ['HSET', 'holdfast:s:broken', 'a', '1'])
    for (const work of [store.read('broken'), store.patch('broken', set('a', '1', 'w')), store.create('broken', draft(), 'w')]) {
      const error = await failure(work)
      expect(error).toMatchObject({ code: 'STORE_RECORD_INVALID' })
      expect(error.message).toContain('session broken')
    }
  })
})
