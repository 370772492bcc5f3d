import { DatabaseSync } from 'node:sqlite'
/** `holdfast sessions` as a process of its own, against stores that servers use at the same time. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import { createSessions, dedicated, type Sessions } from '../../src/index.ts'
import type { Draft, SessionStore } from '../../src/seam.ts'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { type RunningMariaDb, startMariaDb } from '../setup/mariadb.ts'
import { type RunningMemcached, startMemcached } from '../setup/memcached.ts'
import { freePort } from '../setup/ports.ts'
import { type RunningPostgres, startPostgres } from '../setup/postgres.ts'
import { type RunningRedis, startRedis, waitFor, within } from '../setup/servers.ts'

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const SECRET = 'a secret of this test, long enough to be one'
const CLEAN = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs `holdfast sessions …` to its end. */
async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = spawn(process.execPath, ['--no-warnings', CLI, 'sessions', ...args], { env: { ...CLEAN, ...env }, stdio: 'pipe' })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  try {
    return { code: await within(ended, 30_000, `holdfast sessions ${args.join(' ')}`), out, err }
  } finally {
    child.kill('SIGKILL')
  }
}

/** The answer of a command that must succeed. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what the command prints
async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const { code, out, err } = await run([...args, '--json'])
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as T
}

function expectRefusal(ended: Ended, code: 1 | 2, line: RegExp): void {
  expect(ended.err).toMatch(line)
  expect(ended.err.trimEnd().split('\n')).toHaveLength(1)
  expect(ended.err).toMatch(/^holdfast: /)
  expect(ended.code).toBe(code)
}

async function open(store: SessionStore): Promise<SessionStore> {
  await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: 5_000, stateChanged: () => {} })
  return store
}

const newKey = (): string => `-${systemRuntime().randomBytes(32).toString('base64url').slice(1)}`

function draft(userId: string | undefined, fields: Record<string, string> = {}): Draft {
  const now = Date.now()
  const meta = {
    userId,
    createdAt: now - 7_200_000,
    lastActiveAt: now - 150_000,
    idleMs: 600_000,
    touchEveryMs: 0,
    absoluteAt: now + 3_600_000,
    persistent: true,
  }
  return { meta, fields: new Map(Object.entries(fields)) }
}

/** True: the server takes the visitor for a stranger. */
async function visit(server: Sessions<any>, cookie: string): Promise<boolean> {
  const { session } = await server.open({ method: 'GET', url: '/', header: (name) => (name === 'cookie' ? cookie : undefined) })
  return session.isNew
}

describe('against SQLite', () => {
  let folder: string
  let url: string
  let store: SessionStore

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
    url = `sqlite:${join(folder, 'sessions.db')}`
    store = await open(sqliteStore({ file: join(folder, 'sessions.db') }))
  })
  afterEach(async () => {
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** Every key begins with a dash, as one in 64 does. */
  async function created(userId: string | undefined, fields?: Record<string, string>): Promise<string> {
    const key = newKey()
    await store.create(key, draft(userId, fields), 'w')
    return key
  }

  test('holdfast sessions list - a table that fits 100 columns, and the count beside it', async () => {
    const [ada, none] = [await created('ada'), await created(undefined)]
    const { code, out, err } = await run(['list', '--store', url])
    const lines = out.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^KEY +CREATED +IDLE +EXPIRES +USER$/)
    expect(lines.slice(1).toSorted()).toEqual([`${ada}  2h       2m     7m       ada`, `${none}  2h       2m     7m       -`].toSorted())
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(100)
    expect([code, err]).toEqual([0, '2 sessions\n'])
  })

  test('holdfast sessions list - JSON, by user, with a limit; an empty list is one too', async () => {
    const keys = [await created('ada'), await created('ada'), await created('007')]
    const all = await json<{ key: string; userId: string | null }[]>('list', '--store', url)
    expect(all.map(({ key }) => key).toSorted()).toEqual(keys.toSorted())
    const { meta } = draft('007')
    const [agent] = await json<Record<string, unknown>[]>('list', '--store', url, '--user', '007')
    expect(agent).toMatchObject({ key: keys[2], userId: '007', persistent: true })
    expect(Math.abs(Number(agent?.['expiresAt']) - (meta.lastActiveAt + meta.idleMs))).toBeLessThan(30_000)
    expect(await json('list', '--store', url, '--user', '7')).toEqual([])
    expect(await json<unknown[]>('list', '--store', url, '--limit', '2')).toHaveLength(2)
    const limited = await run(['list', '--store', url, '--limit=2'])
    expect(limited.err).toMatch(/2 sessions, and there are more: raise --limit/)
  })

  test('holdfast sessions show - names and sizes, and values only when asked for', async () => {
    const key = await created('ada', { cart: '["secret tea"]', visits: '7', odd: 'not JSON' })
    const plain = await run(['show', key, '--store', url])
    expect(plain).toMatchObject({ code: 0, err: '' })
    expect(plain.out).toMatch(/^user +ada$/m)
    expect(plain.out).toMatch(/^ +18 {2}cart$/m)
    expect(plain.out).not.toContain('secret')
    expect((await run(['show', key, '--store', url, '--values'])).out).toMatch(/^ +18 {2}cart = \["secret tea"\]$/m)
    const without = await json('show', key, '--store', url)
    expect(JSON.stringify(without)).not.toContain('secret')
    expect(without).toMatchObject({ key, userId: 'ada', version: 1, bytes: 18 + 7 + 11, removed: [] })
    expect(await json('show', key, '--store', url, '--values')).toMatchObject({
      fields: [
        { name: 'cart', bytes: 18, value: ['secret tea'] },
        { name: 'visits', bytes: 7, value: 7 },
        { name: 'odd', bytes: 11, encoded: 'not JSON' },
      ],
    })
  })

  test('holdfast sessions - names, users and values cannot write to the terminal', async () => {
    const key = await created('a\u001b[2Jb\nc\u202e', { 'f\u001b[31m': '"\u009b2J\r"' })
    for (const args of [['list'], ['list', '--json'], ['show', key, '--values'], ['show', key, '--values', '--json'], ['revoke', key]]) {
      const { code, out } = await run([...args, '--store', url])
      expect(code).toBe(0)
      // oxlint-disable-next-line no-control-regex -- this is what must not be there
      expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    }
  })

  test('holdfast sessions revoke - the session stays dead, and a late writer learns why', async () => {
    const key = await created('ada')
    expectRefusal(await run(['revoke', key, '--user', 'bob', '--store', url]), 1, /Nothing was revoked/)
    expect(await store.read(key)).toMatchObject({ version: 1 })
    expect(await run(['revoke', key, '--user', 'ada', '--store', url])).toEqual({ code: 0, out: `revoked ${key}\n`, err: '' })
    const late = { set: new Map([['a', '1']]), add: new Map(), touchAt: Date.now(), writeId: 'late' }
    expect(await store.patch(key, late)).toEqual({ outcome: 'gone', reason: 'destroyed' })
    expect(await store.create(key, draft('ada'), 'again')).toBe(false)
    expectRefusal(await run(['revoke', key, '--store', url]), 1, /no live session/)
    const again = await run(['revoke', key, '--store', url, '--json'])
    expect([again.code, JSON.parse(again.out)]).toEqual([1, { key, revoked: false }])
    expectRefusal(await run(['show', key, '--store', url]), 1, /has ended: it was destroyed at \d{4}-/)
  })

  test('holdfast sessions revoke-user - all but one, and nobody else', async () => {
    const keys = [await created('007'), await created('007'), await created('007')]
    const other = await created('7')
    const spared = keys[0] as string
    const ended = await json<{ keys: string[] }>('revoke-user', '007', '--except', spared, '--store', url)
    expect(ended).toMatchObject({ userId: '007', revoked: 2 })
    expect(ended.keys.toSorted()).toEqual(keys.slice(1).toSorted())
    for (const key of [spared, other]) expect(await store.read(key)).toMatchObject({ version: 1 })
    expect(await run(['revoke-user', '--store', url, '--', '-dashed'])).toEqual({
      code: 0,
      out: 'revoked 0 sessions of -dashed\n',
      err: '',
    })
  })

  test('holdfast sessions - every flag has a variable, and the flag wins', async () => {
    const [ada, bob] = [await created('ada'), await created('bob')]
    const env = { HOLDFAST_STORE: url, HOLDFAST_USER: 'ada', HOLDFAST_JSON: '1', HOLDFAST_LIMIT: '1', HOLDFAST_VALUES: '1' }
    expect(JSON.parse((await run(['list'], env)).out)).toMatchObject([{ key: ada }])
    expect(JSON.parse((await run(['list', '--user', 'bob'], env)).out)).toMatchObject([{ key: bob }])
    expect(
      JSON.parse((await run(['revoke-user', 'ada'], { HOLDFAST_STORE: url, HOLDFAST_EXCEPT: ada, HOLDFAST_JSON: 'true' })).out),
    ).toMatchObject({ revoked: 0 })
  })

  test('holdfast sessions list - a reader that leaves early is no error', async () => {
    for (let count = 0; count < 500; count++) await store.create(newKey(), draft('u'.repeat(300)), 'w')
    const child = spawn(process.execPath, ['--no-warnings', CLI, 'sessions', 'list', '--store', url], {
      env: CLEAN,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.once('data', () => child.stdout.destroy())
    let err = ''
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    expect(await within(new Promise((resolve) => child.once('close', resolve)), 20_000, 'the command ending')).toBe(0)
    expect(err).toBe('')
  })

  test('a database of something else stays as it is', async () => {
    const foreign = join(folder, 'foreign.db')
    const database = new DatabaseSync(foreign)
    database.exec('CREATE TABLE t (a)')
    database.close()
    const before = readFileSync(foreign)
    expectRefusal(await run(['list', '--store', `sqlite:${foreign}`]), 1, /holds no table of sqliteStore/)
    expect(readFileSync(foreign).equals(before)).toBe(true)
    expect(existsSync(`${foreign}-wal`)).toBe(false)
  })

  test('holdfast sessions - a file that is not there is an error, and is not made', async () => {
    const missing = join(folder, 'typo.db')
    expectRefusal(await run(['list', '--store', `sqlite:${missing}`]), 1, /There is no file .*typo\.db/)
    expect(existsSync(missing)).toBe(false)
  })

  test('holdfast sessions - a record that does not parse names its key', async () => {
    const key = await created('ada', { a: '1' })
    const database = new DatabaseSync(url.slice('sqlite:'.length))
    const [{ name } = { name: '' }] = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%fields%'")
      .all() as { name: string }[]
    database.prepare(`UPDATE ${name} SET fields = '{' WHERE key = ?`).run(key)
    database.close()
    const refused = await run(['show', key, '--store', url])
    expectRefusal(refused, 1, /does not parse/)
    expect(refused.err).toContain(key)
  })
})

describe('against Redis', () => {
  let redis: RunningRedis
  let servers: Sessions<{ visits: number }>
  let prefixes = 0
  let prefix: string

  beforeAll(async () => void (redis = await startRedis()))
  afterAll(() => redis.stop())
  beforeEach(() => {
    prefix = `p${++prefixes}`
    const store = redisStore({ url: redis.url }, { prefix })
    servers = createSessions({ secrets: SECRET, strategy: dedicated({ store }), initial: () => ({ visits: 0 }) })
  })
  afterEach(() => servers.close())

  const here = (): string[] => ['--store', redis.url, '--prefix', prefix]

  test('holdfast sessions - what a server stored is listed, shown and revoked; no server accepts it afterwards', async () => {
    const { key, cookie } = await servers.create({ userId: 'ada', data: { visits: 3 } })
    expect(await json<unknown[]>('list', ...here())).toMatchObject([{ key, userId: 'ada' }])
    expect(await json('show', key, '--values', ...here())).toMatchObject({ fields: [{ name: 'visits', value: 3 }] })
    // A near copy that answers without a word from Redis.
    expect(await visit(servers, cookie)).toBe(false)
    expect(await visit(servers, cookie)).toBe(false)
    expect(await run(['revoke', key, ...here()])).toMatchObject({ code: 0, out: `revoked ${key}\n` })
    expect(await visit(servers, cookie)).toBe(true)
    expect(await servers.get(key)).toBeUndefined()
  })

  test("holdfast sessions revoke-user - ends a user's sessions on servers that hold copies", async () => {
    const made = await Promise.all(['ada', 'ada', 'bob'].map((userId) => servers.create({ userId })))
    for (const { cookie } of made) expect(await visit(servers, cookie)).toBe(false)
    expect(await json('revoke-user', 'ada', ...here())).toMatchObject({ revoked: 2 })
    expect(await Promise.all(made.map(({ cookie }) => visit(servers, cookie)))).toEqual([true, true, false])
  })

  test('holdfast sessions - a server that cannot be reached, or stands still, is one line in time, without the password', async () => {
    const nowhere = `redis://root:geheim-p4ss@127.0.0.1:${await freePort()}`
    for (const debug of [[], ['--debug']]) {
      const refused = await run(['list', '--store', nowhere, ...debug])
      expect(refused.code).toBe(1)
      expect(refused.err).toMatch(/^holdfast: .*cannot reach Redis at/)
      expect(refused.err).not.toMatch(/geheim|p4ss/)
      if (debug.length > 0) expect(refused.err).toMatch(/\n +at /)
      else expectRefusal(refused, 1, /start it|correct/)
    }
    redis.pause()
    try {
      const startedAt = performance.now()
      expectRefusal(await run(['list', ...here()]), 1, /Redis/)
      expect(performance.now() - startedAt).toBeLessThan(10_000)
    } finally {
      redis.resume()
    }
  })
})

describe('against other stores', () => {
  let memcached: RunningMemcached
  let postgres: RunningPostgres
  let mariaDb: RunningMariaDb

  beforeAll(async () => {
    memcached = await startMemcached()
    postgres = await startPostgres()
    mariaDb = await startMariaDb()
  })
  afterAll(async () => {
    await memcached.stop()
    await postgres.stop()
    await mariaDb.stop()
  })

  test('holdfast sessions, Memcached - cannot list all, and says what can be done', async () => {
    const url = `memcached://${memcached.address}`
    const store = await open(memcachedStore({ url }))
    const key = newKey()
    await store.create(key, draft('ada'), 'w')
    expectRefusal(await run(['list', '--store', url]), 1, /cannot list all sessions: name a user with --user ID/)
    expect(await json<unknown[]>('list', '--user', 'ada', '--store', url)).toMatchObject([{ key }])
    expect(await run(['revoke', key, '--store', url])).toMatchObject({ code: 0 })
    await store.close()
  })

  test('holdfast sessions revoke, Memcached - is done only when servers whose copies live for a lease have let go of them', async () => {
    const url = `memcached://${memcached.address}`
    const strategy = dedicated({ store: memcachedStore({ url }), nearCache: { leaseMs: 1_000 } })
    const server = createSessions({ secrets: SECRET, strategy })
    const { key, cookie } = await server.create()
    const store = await open(memcachedStore({ url }))
    const goneAt = waitFor(async () => ('gone' in ((await store.read(key)) ?? {}) ? performance.now() : undefined), 20_000, 'the mark')
    const ended = await run(['revoke', key, '--store', url])
    const endedAt = performance.now()
    expect(ended).toMatchObject({ code: 0, err: '' })
    expect(await visit(server, cookie)).toBe(true)
    expect(endedAt - (await goneAt)).toBeGreaterThan(900)
    await store.close()
    await server.close()
  })

  test('holdfast sessions, PostgreSQL - makes no table of its own, and reads the one that is named', async () => {
    const { postgresStore } = await import('../../src/stores/postgres.ts')
    expectRefusal(await run(['list', '--store', postgres.url]), 1, /holdfast_sessions/)
    const store = await open(postgresStore({ url: postgres.url }, { table: 'shop' }))
    const key = newKey()
    await store.create(key, draft('ada'), 'w')
    expect(await json<unknown[]>('list', '--store', postgres.url, '--table', 'shop')).toMatchObject([{ key, userId: 'ada' }])
    expectRefusal(await run(['list', '--store', postgres.url]), 1, /holdfast_sessions/)
    const wrong = await run(['list', '--store', postgres.urlFor('holdfast', 'wrong-geheim')])
    expectRefusal(wrong, 1, /password/)
    expect(wrong.err).not.toContain('wrong-geheim')
    await store.close()
  })

  test('holdfast sessions, MariaDB - makes no table of its own, and reads the one that is named', async () => {
    const { mysqlStore } = await import('../../src/stores/mysql.ts')
    expectRefusal(await run(['list', '--store', mariaDb.url]), 1, /holdfast_sessions/)
    const store = await open(mysqlStore({ url: mariaDb.url }, { table: 'shop' }))
    const key = newKey()
    await store.create(key, draft('ada'), 'w')
    expect(await json<unknown[]>('list', '--store', mariaDb.url, '--table', 'shop')).toMatchObject([{ key, userId: 'ada' }])
    expect(await run(['revoke', key, '--store', mariaDb.url, '--table', 'shop'])).toMatchObject({ code: 0, err: '' })
    expectRefusal(await run(['list', '--store', mariaDb.url]), 1, /holdfast_sessions/)
    await store.close()
  })
})

describe('wrong usage', () => {
  const KEY = `-${'k'.repeat(42)}`
  test.each([
    [[], /list, show KEY, revoke KEY or revoke-user USER/],
    [['erase'], /no such action/],
    [['list'], /--store or HOLDFAST_STORE: sqlite:FILE, redis:/],
    [['list', '--store'], /value is missing/],
    [['list', '--store', 'mongodb://root:geheim@x'], /sqlite:FILE, redis:.*memcached:.*postgres:.*mysql:/],
    [['list', '--store', 'redis://root:geheim@'], /redis:\/\/HOST:PORT/],
    [['list', 'redis://root:geheim@x'], /argument too many/],
    [['list', '--peers', 'root:geheim@127.0.0.1:7946'], /--peers is not there yet/],
    [['list', '--store', 'sqlite:x', '--prefix', 'p'], /takes no prefix/],
    [['list', '--store', 'redis://x', '--table', 't'], /takes no table/],
    [['list', '--store', 'sqlite:x', '--limit', '0'], /--limit must be/],
    [['list', '--store', 'sqlite:x', '--values'], /--values goes with show/],
    [['list', '--store', 'sqlite:x', '--store', 'sqlite:y'], /may be given once/],
    [['list', '--store', 'sqlite:x', '--user='], /--user needs a value/],
    [['list', '--stroe=redis://root:geheim@x'], /Unknown option/],
    [['show', '--store', 'sqlite:x'], /a key is the 43/],
    [['show', 'geheim', '--store', 'sqlite:x'], /a key is the 43/],
    [['revoke', KEY, KEY, '--store', 'sqlite:x'], /argument too many/],
    [['revoke-user', '--store', 'sqlite:x'], /Name a user/],
    [['revoke-user', 'ada', '--except', 'geheim', '--store', 'sqlite:x'], /a key is the 43/],
  ] as const)('holdfast sessions %j - is one line, exit code 2, and repeats no password', async (args, line) => {
    const ended = await run(args)
    expectRefusal(ended, 2, line)
    expect(ended.err + ended.out).not.toContain('geheim')
  })
})
