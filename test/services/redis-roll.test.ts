/** The roll of servers that keep copies, in real servers: what endings over Redis are built on. */
import { createConnection, type Socket } from 'node:net'
import { createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { redisRoll, rollNames } from '../../src/stores/redis-roll.ts'
import type { Roll } from '../../src/stores/roll-call.ts'
import { startValkey } from '../setup/redis-servers.ts'
import { startRedis, waitFor } from '../setup/servers.ts'
import { context, draft, hear, type Heard, id, jar, strategyOver } from './redis-common.ts'

const open: { close(): Promise<unknown> }[] = []
let prefixes = 0
const nextPrefix = (): string => `roll${++prefixes}`

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close()
})

interface Started {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
}

async function rollAt(url: string, prefix: string, isDeaf = false): Promise<{ roll: Roll; send(...command: string[]): Promise<unknown> }> {
  const client = await connected(url)
  const send = (command: string[]): Promise<unknown> => client.sendCommand(command)
  return { roll: redisRoll(rollNames(prefix), { send, inOrder: send }, isDeaf), send: (...command) => send(command) }
}

async function connected(url: string): Promise<ReturnType<typeof createClient>> {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  open.push({ close: async () => client.destroy() })
  return client as ReturnType<typeof createClient>
}

async function listeningTo(url: string, prefix?: string): Promise<Heard & { store: SessionStore }> {
  const store = redisStore({ url }, prefix === undefined ? {} : { prefix })
  open.push(store)
  await store.ready(context())
  const heard = hear(store)
  await waitFor(() => heard.watch.confirm())
  return { ...heard, store }
}

const heardByAll = (heard: Heard, ms = 1_000): Promise<boolean> => heard.watch.heardByAll?.(ms) ?? Promise.resolve(false)

const TARGETS = [
  { name: 'redis', start: (): Promise<Started> => startRedis() },
  { name: 'valkey', start: startValkey },
]

describe.each(TARGETS)('$name - the roll of endings', ({ start }) => {
  let server: Started
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())

  const listening = (prefix: string) => listeningTo(server.url, prefix)
  const plainRoll = (prefix: string, isDeaf = false) => rollAt(server.url, prefix, isDeaf)

  test('what was changed first is announced first: each of 100 ended keys comes before the call made after it', async () => {
    const prefix = nextPrefix()
    const { calls } = rollNames(prefix)
    const tracking = await rawConnection(server.port)
    tracking.write('HELLO 3\r\nCLIENT TRACKING ON\r\n')
    const { send } = await plainRoll(prefix)
    for (let round = 0; round < 100; round++) {
      const key = `${prefix}:s:k${round}`
      const before = tracking.heard().length
      tracking.write(`GET ${key}\r\nGET ${calls}\r\nECHO asked${round}\r\n`)
      await waitFor(() => tracking.heard().includes(`asked${round}`))
      // Sent together by one connection, as much as in turn by two.
      await Promise.all([send('SET', key, 'x'), send('INCR', calls)])
      await waitFor(() => tracking.heard().indexOf(calls, before) > 0)
      const text = tracking.heard().slice(before)
      expect(text.indexOf(key)).toBeGreaterThan(0)
      expect(text.indexOf(key)).toBeLessThan(text.indexOf(calls))
    }
    tracking.close()
  })

  test('a call is answered once everybody on the roll has, and who came after it need not', async () => {
    const { roll } = await plainRoll(nextPrefix())
    expect(await roll.call('a')).toBeUndefined()
    expect(await roll.answered('a')).toBeUndefined()
    expect(await roll.enroll('a', 1)).toEqual({ call: 0, isNew: true })
    expect(await roll.enroll('b', 1)).toEqual({ call: 0, isNew: true })
    expect(await roll.call('a')).toBe(1)
    expect(await roll.enroll('c', 1)).toEqual({ call: 1, isNew: true })
    expect(await roll.enroll('b', 2)).toEqual({ call: 1, isNew: false })
    expect(await roll.answered('a')).toBe(0)
    expect(await roll.answer('a', 1)).toBe(1)
    expect([...(await roll.silent(1))]).toEqual([['b', '2']])
    expect(await roll.answer('b', 1)).toBe(1)
    expect(await roll.answered('a')).toBe(1)
    // An answer is never taken back, and none is taken from a server that is not on the roll.
    await roll.answer('b', 0)
    await roll.answer('nobody', 0)
    expect(await roll.answered('a')).toBe(1)
  })

  test('a silent server is struck out only if it has not shown itself since, and is told by its next renewal', async () => {
    const { roll } = await plainRoll(nextPrefix())
    await roll.enroll('a', 1)
    await roll.enroll('b', 7)
    expect(await roll.call('a')).toBe(1)
    await roll.answer('a', 1)
    expect(await roll.renew('b', 8)).toBe(true)
    await roll.strike('b', '7')
    expect(await roll.answered('a')).toBe(0)
    await roll.strike('b', '8')
    expect(await roll.answered('a')).toBe(1)
    expect(await roll.renew('b', 9)).toBe(false)
    await roll.strike('a')
    expect(await roll.answered('a')).toBeUndefined()
  })

  test('a server that is not told of changes holds up every call', async () => {
    const prefix = nextPrefix()
    const { roll } = await plainRoll(prefix)
    const { roll: deaf } = await plainRoll(prefix, true)
    await roll.enroll('a', 1)
    await deaf.enroll('d', 1)
    expect(await roll.call('a')).toBe(1)
    await roll.answer('a', 1)
    await deaf.answer('d', 1)
    expect(await roll.answered('a')).toBe(-1)
  })

  test('a count that Redis has lost goes on above every answer, a lost roll is noticed by all', async () => {
    const prefix = nextPrefix()
    const { calls, answers, beats } = rollNames(prefix)
    const { roll, send } = await plainRoll(prefix)
    await roll.enroll('a', 1)
    for (let count = 1; count <= 12; count++) expect(await roll.call('a')).toBe(count)
    await roll.answer('a', 12)
    await send('DEL', calls)
    expect(await roll.call('a')).toBe(13)
    expect(await roll.answered('a')).toBe(12)
    await send('DEL', beats)
    expect(await roll.renew('a', 2)).toBe(false)
    expect(await roll.enroll('a', 3)).toEqual({ call: 13, isNew: false })
    await send('DEL', answers)
    expect(await roll.renew('a', 4)).toBe(false)
    expect(await roll.call('a')).toBeUndefined()
  })

  test('servers of one store hear of everything within a few ms, a few seconds after they have started', async () => {
    const prefix = nextPrefix()
    const [mine, theirs] = [await listening(prefix), await listening(prefix)]
    expect(await heardByAll(mine)).toBe(false)
    for (const each of [mine, theirs]) await waitFor(() => heardByAll(each), 10_000)
    for (let round = 0; round < 50; round++) {
      const key = `k${round}`
      await mine.store.create(key, draft(), 'w')
      await theirs.store.read(key)
      await mine.store.destroy(key, 'destroyed', Date.now() + 60_000)
      // Several at once share a call.
      expect(await Promise.all([heardByAll(mine), heardByAll(mine), heardByAll(theirs)])).toEqual([true, true, true])
      expect(theirs.changed).toContain(key)
    }
    // Who leaves in good order is not waited for.
    theirs.watch.close()
    expect(await heardByAll(mine)).toBe(true)
    // And who has only come: it has no copies that others could wait for.
    await listening(prefix)
    expect(await heardByAll(mine)).toBe(true)
  })
})

describe('redis - the roll of endings in trouble', () => {
  let server: Started
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server?.stop())
  const listening = (prefix: string) => listeningTo(server.url, prefix)
  const plainRoll = (prefix: string) => rollAt(server.url, prefix)

  test('a roll that was flushed or evicted is not trusted until all had time to come back', async () => {
    const prefix = nextPrefix()
    const { send } = await plainRoll(prefix)
    const [mine, theirs] = [await listening(prefix), await listening(prefix)]
    for (const command of [['DEL', rollNames(prefix).answers], ['FLUSHALL']]) {
      await waitFor(async () => (await theirs.watch.confirm()) && heardByAll(mine), 10_000)
      await send(...command)
      expect(await heardByAll(mine), command.join(' ')).toBe(false)
      for (const { watch } of [theirs, mine]) await waitFor(() => watch.confirm())
      expect(await heardByAll(mine), command.join(' ')).toBe(false)
    }
    // Whoever can write to Redis could end the sessions themselves; nothing crashes, and no copy is trusted without the roll.
    await send('SET', rollNames(prefix).answers, 'x')
    expect(await heardByAll(mine)).toBe(false)
    await waitFor(async () => !(await mine.watch.confirm()))
    await send('DEL', rollNames(prefix).answers)
    await send('SET', rollNames(prefix).calls, 'not a number')
    expect(await heardByAll(mine)).toBe(false)
    expect(await mine.watch.confirm()).toBe(false)
  }, 60_000)

  test('a server with a client of its own keeps copies for the lease: endings of the others wait for it', async () => {
    const prefix = nextPrefix()
    const mine = await listening(prefix)
    await waitFor(() => heardByAll(mine), 10_000)
    const client = await connected(server.url)
    const leased = strategyOver(redisStore({ client }, { prefix }), [])
    open.push(leased)
    await leased.create(id('k'), draft())
    expect(await heardByAll(mine)).toBe(true)
    const { set: notes } = (await leased.create(id('l'), draft())).jar
    await waitFor(async () => {
      // From here on it answers from copies.
      await leased.open({ ...jar('l'), notes })
      return !(await heardByAll(mine, 50))
    })
    await leased.close()
    expect(await heardByAll(mine)).toBe(true)
  })

  test('a full Redis still takes servers on its roll', async () => {
    const own = await startRedis({ args: ['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction'] })
    try {
      const client = await connected(own.url)
      await expect(
        (async () => {
          for (let count = 0; count < 10_000; count++) await client.sendCommand(['SET', `fill${count}`, 'x'.repeat(4_000)])
        })(),
      ).rejects.toThrow(/OOM/)
      const heard = await listeningTo(own.url)
      await waitFor(() => heardByAll(heard), 10_000)
    } finally {
      await own.stop()
    }
  })
})

interface RawConnection {
  write(text: string): void
  heard(): string
  close(): void
}

/** The bytes as they arrive: no driver may change their order. */
async function rawConnection(port: number): Promise<RawConnection> {
  const socket: Socket = createConnection({ port, host: '127.0.0.1' })
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => {})
  await new Promise((done) => socket.once('connect', done))
  return { write: (line) => void socket.write(line), heard: () => text, close: () => socket.destroy() }
}
