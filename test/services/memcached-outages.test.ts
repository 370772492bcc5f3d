import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { deriveKeys } from '../../src/core/keys.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { RunningStrategy, SessionStore, StoreContext } from '../../src/seam.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { rendezvous } from '../../src/stores/memcached-servers.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { type RunningMemcached, startMemcached } from '../setup/memcached.ts'
import { freePort } from '../setup/ports.ts'
import { waitFor, within } from '../setup/servers.ts'
import { context, DEADLINE_MS, draft, failure, set } from './store-common.ts'

let servers: RunningMemcached[] = []
const open: { close(): Promise<unknown> }[] = []

beforeEach(async () => {
  servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()])
})
afterEach(async () => {
  for (const thing of open.splice(0)) await within(thing.close(), 5_000, 'close()')
  await Promise.all(servers.map((server) => server.stop()))
})

const addresses = (): string[] => servers.map(({ address }) => address)

async function opened(over: Partial<StoreContext> = {}, named: readonly string[] = addresses()): Promise<SessionStore> {
  const store = memcachedStore({ servers: named })
  open.push(store)
  await store.ready(context(over))
  return store
}

const KEYS = Array.from({ length: 300 }, (_, index) => createHash('sha256').update(String(index)).digest('base64url'))

/** Keys by the server that holds them. */
function held(): readonly string[][] {
  const place = rendezvous(addresses())
  const by: string[][] = servers.map(() => [])
  for (const key of KEYS) by[place(`holdfast:s:${key}`)]?.push(key)
  return by
}

interface Seen {
  readonly events: [type: string, detail: string][]
  readonly strategy: RunningStrategy
}

function strategyOver(store: SessionStore): Seen {
  const events: [string, string][] = []
  const strategy = dedicated({ store, deadlineMs: DEADLINE_MS }).start({
    node: 'n1',
    runtime: systemRuntime(),
    keys: deriveKeys(['x'.repeat(32)], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: (type, event) => void events.push([type, event?.detail ?? '']),
    ended: () => {},
    logger: console,
  })
  open.push(strategy)
  return { strategy, events }
}

const jar = (key: string) => ({ id: 'secret', key, absoluteAt: Date.now() + 3_600_000, notes: [], headerBytes: 0 })
const id = (key: string) => ({ id: 'secret', key, absoluteAt: Date.now() + 3_600_000 })

describe('memcached - several servers', () => {
  test('keys spread over all, wherever and in whatever order they are named', async () => {
    const store = await opened()
    const mirrored = await opened({}, [...addresses()].reverse())
    await Promise.all(KEYS.map((key) => store.create(key, draft({ a: '1' }), 'w')))
    const counts = await Promise.all(servers.map(async (server) => (await server.stats())['curr_items'] ?? 0))
    expect(counts.reduce((sum, count) => sum + count)).toBe(KEYS.length)
    expect(counts).toEqual(held().map(({ length }) => length))
    for (const count of counts) expect(count).toBeGreaterThan(50)
    const found = await Promise.all(KEYS.map((key) => mirrored.read(key)))
    expect(found.every((record) => record !== undefined)).toBe(true)
  })

  test('one that is killed takes its keys out of reach and no others; it comes back empty within a second', async () => {
    const states: [string, string][] = []
    const store = await opened({ stateChanged: (state, detail) => void states.push([state, detail]) })
    await Promise.all(KEYS.map((key) => store.create(key, draft({ a: '1' }), 'w')))
    const [lost, kept, also] = held() as [string[], string[], string[]]
    await servers[0]?.kill()
    const startedAt = performance.now()
    for (const key of lost.slice(0, 20)) {
      expect(await failure(store.read(key))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        status: 503,
        headers: { 'retry-after': '1' },
        message: expect.stringContaining(servers[0]?.address as string),
      })
      expect(await failure(store.patch(key, set('a', '2', 'v')))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    }
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    for (const key of [...kept, ...also]) expect(await store.patch(key, set('a', '2', 'v'))).toMatchObject({ outcome: 'applied' })
    await waitFor(() => states.at(-1)?.[0] === 'down')
    expect(states.at(-1)?.[1]).toContain(servers[0]?.address)
    for (const other of servers.slice(1)) expect(states.at(-1)?.[1]).not.toContain(other.address)
    servers[0] = await (servers[0] as RunningMemcached).restart()
    const backAt = performance.now()
    await waitFor(() => store.read(lost[0] as string).then(() => true))
    expect(performance.now() - backAt).toBeLessThan(1_000)
    await waitFor(() => states.at(-1)?.[0] === 'up')
    // Nothing of its keys went anywhere else.
    for (const key of lost) expect(await store.read(key)).toBeUndefined()
    expect(await store.patch(lost[0] as string, set('a', '3', 'late'))).toEqual({ outcome: 'gone', reason: 'unknown' })
    for (const key of [...kept, ...also]) expect(await store.read(key)).toMatchObject({ version: 2 })
  })

  test('a CAS value from before a restart is never used after it', async () => {
    const store = await opened()
    const other = await opened()
    const key = held()[0]?.[0] as string
    await store.create(key, draft({ a: 'old' }), 'w')
    await store.patch(key, set('a', 'older', 'v'))
    await servers[0]?.kill()
    servers[0] = await (servers[0] as RunningMemcached).restart()
    await waitFor(() => other.read(key).then(() => true))
    // The restarted server counts from the beginning: both writes get the values that the first client remembers.
    await other.create(key, draft({ a: 'new' }), 'x')
    await other.patch(key, set('b', '1', 'y'))
    await waitFor(() => store.patch(key, set('c', '1', 'z')).then(({ outcome }) => outcome === 'applied'))
    expect(await other.read(key)).toMatchObject({
      version: 3,
      fields: new Map([
        ['a', 'new'],
        ['b', '1'],
        ['c', '1'],
      ]),
    })
  })

  test('a paused one (SIGSTOP) holds nobody up beyond the deadline, others go on, and it is back after SIGCONT with everyone logged in', async () => {
    const states: string[] = []
    const store = await opened({ deadlineMs: DEADLINE_MS, stateChanged: (state) => void states.push(state) })
    await Promise.all(KEYS.map((key) => store.create(key, draft({ a: '1' }), 'w')))
    const [stuck, fine] = held() as [string[], string[]]
    servers[0]?.pause()
    const startedAt = performance.now()
    const one = stuck[0] as string
    const work = [
      ...stuck.slice(0, 20).map((key) => failure(store.read(key))),
      ...Array.from({ length: 20 }, (_, index) => failure(store.patch(one, set('a', '2', `w${index}`)))),
      failure(store.replace(one, fine[0] as string, draft(), 'x')),
      failure(store.destroy(stuck[1] as string, 'destroyed', Date.now() + 60_000)),
    ]
    for (const key of fine) expect(await store.patch(key, set('a', '2', 'v'))).toMatchObject({ outcome: 'applied' })
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS)
    for (const error of await Promise.all(work)) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
    // By now it is known: nobody waits for it again.
    const again = performance.now()
    expect((await failure(store.read(one))).message).toMatch(/no answer.*check its load/)
    expect(performance.now() - again).toBeLessThan(DEADLINE_MS / 2)
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    servers[0]?.resume()
    const backAt = performance.now()
    await waitFor(() => store.read(one).then(() => true))
    expect(performance.now() - backAt).toBeLessThan(1_000)
    expect(await store.read(stuck[5] as string)).toMatchObject({ version: 1 })
    await waitFor(() => states.at(-1) === 'up')
    expect(states).toEqual(['up', 'down', 'up'])
  })

  test('when one is down at the start the others are used, and it joins later', async () => {
    const named = [...addresses(), `127.0.0.1:${await freePort()}`]
    const states: [string, string][] = []
    const store = await opened({ stateChanged: (state, detail) => void states.push([state, detail]) }, named)
    expect(states).toEqual([['down', expect.stringContaining(named[3] as string)]])
    const results = await Promise.allSettled(KEYS.map((key) => store.create(key, draft(), 'w')))
    const failed = results.filter(({ status }) => status === 'rejected').length
    expect(failed).toBeGreaterThan(40)
    expect(failed).toBeLessThan(110)
    servers.push(await startMemcached({ port: Number(named[3]?.split(':')[1]) }))
    await waitFor(async () => (await Promise.all(KEYS.map((key) => store.create(key, draft(), 'w')))).every(Boolean))
    await waitFor(() => states.at(-1)?.[0] === 'up')
  })

  test('the user of a session lies on another server: only with both up is it read', async () => {
    const store = await opened()
    const place = rendezvous(addresses())
    const user = `holdfast:u:${createHash('sha256').update('ada').digest('hex')}`
    const on = place(user)
    const elsewhere = held()[(on + 1) % 3]?.[0] as string
    await store.create(elsewhere, draft({}, 'ada'), 'w')
    await servers[on]?.kill()
    expect(await failure(store.read(elsewhere))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await failure(store.endUser?.('ada', Date.now() + 60_000, {}))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('a revocation does not need the servers that hold the sessions', async () => {
    const store = await opened({ deadlineMs: DEADLINE_MS })
    const place = rendezvous(addresses())
    const on = place(`holdfast:u:${createHash('sha256').update('ada').digest('hex')}`)
    const off = (on + 1) % 3
    const key = held()[off]?.[0] as string
    await store.create(key, draft({}, 'ada'), 'w')
    servers[off]?.pause()
    await failure(store.read(key))
    expect(await store.endUser?.('ada', Date.now() + 60_000, {})).toEqual([key])
    servers[off]?.resume()
    expect(await waitFor(() => store.read(key))).toMatchObject({ gone: 'destroyed' })
    expect(await store.patch(key, set('a', '1', 'late'))).toEqual({ outcome: 'gone', reason: 'destroyed' })
  })
})

describe('memcached - connections', () => {
  test('unreachable at the start: one clear line within the deadline, and usable once it is there', async () => {
    const port = await freePort()
    const states: string[] = []
    const store = memcachedStore({ servers: [`127.0.0.1:${port}`] })
    open.push(store)
    const startedAt = performance.now()
    const error = await failure(store.ready(context({ deadlineMs: DEADLINE_MS, stateChanged: (state) => states.push(state) })))
    expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_500)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503, headers: { 'retry-after': '1' } })
    expect(error.message).toMatch(new RegExp(`^cannot reach Memcached at 127\\.0\\.0\\.1:${port} \\(ECONNREFUSED\\): start it[^\\n]*$`))
    servers.push(await startMemcached({ port }))
    await waitFor(() => store.read('k').then(() => true))
    expect(states).toEqual(['down', 'up'])
  })

  test('close() ends what is under way at once, also on a server that does not answer, and reconnects no more', async () => {
    const store = memcachedStore({ servers: addresses() })
    await store.ready(context())
    const key = held()[0]?.[0] as string
    servers[0]?.pause()
    const pending = [failure(store.read(key)), failure(store.patch(key, set('a', '1', 'v')))]
    const startedAt = performance.now()
    await store.close()
    for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    expect((await failure(store.read(key))).message).toMatch(/not open/)
    servers[0]?.resume()
    await waitFor(async () => (await servers[0]?.stats())?.['curr_connections'] === (await servers[1]?.stats())?.['curr_connections'])
    await store.ready(context())
    open.push(store)
    expect(await store.read(key)).toBeUndefined()
  })

  test('connections that die all the time crash nothing, and a reply lost with one is retried and applies once', async () => {
    const server = servers[0] as RunningMemcached
    const proxy = await cutter(server.port)
    const { strategy } = strategyOver(memcachedStore({ servers: [`127.0.0.1:${proxy.port}`] }))
    try {
      await strategy.create(id('k'), draft({ n: '0' }))
      for (let round = 0; round < 20; round++) {
        const opening = await waitFor(async () => strategy.open(jar('k')))
        if (opening.outcome !== 'found') throw new Error('not found')
        proxy.cutAfterRequest()
        await strategy.write(opening.opened, { set: new Map(), add: new Map([['n', { by: 1, from: 0 }]]), touchAt: 0 })
      }
      expect(proxy.cuts()).toBe(20)
      expect((await strategy.get('k'))?.get('n')).toBe('20')
    } finally {
      await proxy.close()
    }
  })

  test.each([
    ['something else that speaks', 'HTTP/1.1 400 Bad Request\r\n\r\n', /a reply is unknown/],
    ['one without the meta protocol', 'ERROR\r\nERROR\r\n', /no meta protocol.*1\.6/],
    ['one that wants a password', 'CLIENT_ERROR unauthenticated\r\n', /wants authentication.*not supported/],
    ['one with too many connections', 'ERROR Too many open connections\r\n', /too many connections.*-c/],
  ])('%s is named in the error', async (_, greeting, message) => {
    const fake = await listening((socket) => void socket.write(greeting))
    const store = memcachedStore({ servers: [`127.0.0.1:${fake.port}`] })
    open.push(store)
    try {
      expect((await failure(store.ready(context({ deadlineMs: DEADLINE_MS })))).message).toMatch(message)
    } finally {
      await fake.close()
    }
  })

  test('an answer that is malformed, too large or to something else closes the connection; the next one works', async () => {
    const bad = [
      'VA 3 c1 O0\r\nabcdef\r\n',
      'VA 99999999 c1 O0\r\n',
      'EN Ozz\r\n',
      'HD\r\n',
      'CLIENT_ERROR bad data chunk\r\n',
      '\0\0\0\r\n',
      'EN O0\r\nEN O1\r\n',
    ]
    let connections = 0
    const fake = await listening((socket) => {
      connections += 1
      let asked = 0
      socket.on('data', () => {
        if (asked++ === 0) return void socket.write('STAT item_size_max 1048576\r\nEND\r\nMN\r\n')
        socket.write(bad[connections - 1] ?? 'EN O0\r\n')
        return undefined
      })
    })
    const store = memcachedStore({ servers: [`127.0.0.1:${fake.port}`] })
    open.push(store)
    try {
      await store.ready(context())
      for (const _ of bad.slice(0, -1)) expect(await failure(store.read('k'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      // The last one answers, and then says more than it was asked.
      expect(await store.read('k')).toBeUndefined()
      expect(await waitFor(async () => (await store.read('k')) === undefined && connections === bad.length + 1)).toBe(true)
    } finally {
      await fake.close()
    }
  })
})

test('memcached - a restart is reported as regressed to a visitor who comes back, not as a stranger', async () => {
  const { strategy, events } = strategyOver(memcachedStore({ servers: addresses() }))
  const key = held()[0]?.[0] as string
  const { jar: delta } = await strategy.create(id(key), draft({ a: '1' }, 'ada'))
  for (const server of servers) await server.kill()
  servers = await Promise.all(servers.map((server) => server.restart()))
  const visitor = { ...jar(key), notes: delta.set }
  // Near copies answer for their lease.
  const opening = await waitFor(async () => {
    const found = await strategy.open(visitor)
    return found.outcome === 'found' ? undefined : found
  })
  expect(opening).toMatchObject({ outcome: 'regressed', policy: 'fail' })
  await waitFor(() => events.at(-1)?.[0] === 'recovered')
  expect(events.map(([type]) => type)).toEqual(['degraded', 'recovered'])
})

// ---------------------------------------------------------------- peers that misbehave

interface Listening {
  readonly port: number
  close(): Promise<void>
}

async function listening(connected: (socket: Socket) => void): Promise<Listening> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    connected(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** Passes everything on, but when told to, keeps the next reply back and closes the connection. */
async function cutter(port: number): Promise<Listening & { cutAfterRequest(): void; cuts(): number }> {
  const { connect } = await import('node:net')
  let armed = false
  let cuts = 0
  const proxy = await listening((client) => {
    const upstream = connect({ port, host: '127.0.0.1' })
    upstream.on('error', () => {})
    client.on('data', (data) => upstream.write(data))
    client.on('close', () => upstream.destroy())
    upstream.on('data', (data) => {
      if (!armed) return void client.write(data)
      armed = false
      cuts += 1
      return void client.destroy()
    })
  })
  return { ...proxy, cutAfterRequest: () => void (armed = true), cuts: () => cuts }
}
