/** `holdfast sessions revoke --cookie-based`: sessions in browsers end by what a process of its own writes into the servers' store. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { cookieBased, createSessions, type Sessions } from '../../src/index.ts'
import type { SessionStore } from '../../src/seam.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { startRedis, within } from '../setup/servers.ts'

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const CLEAN = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')))

async function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--no-warnings', CLI, 'sessions', ...args], { env: CLEAN, stdio: 'pipe' })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code: await within(ended, 30_000, 'holdfast sessions').finally(() => child.kill('SIGKILL')), out, err }
}

interface Backend {
  readonly url: string
  store(): SessionStore
}

const BACKENDS: Readonly<Record<string, () => Promise<Backend>>> = {
  async SQLite() {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-revocations-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'revocations.db')
    return { url: `sqlite:${file}`, store: () => sqliteStore({ file }) }
  },
  async Redis() {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    return { url: redis.url, store: () => redisStore({ url: redis.url }) }
  },
}

describe.each(Object.keys(BACKENDS))('cookieBased with revocations in %s', (name) => {
  async function world(): Promise<{ url: string; servers: readonly Sessions<{ n?: number }>[] }> {
    const { store, url } = await (BACKENDS[name] as () => Promise<Backend>)()
    const servers = ['n1', 'n2'].map((node) =>
      createSessions<{ n?: number }>({
        node,
        secrets: 'a secret of this test, long enough to be one',
        strategy: cookieBased({ revocations: store() }),
        cookie: { name: 'session', secure: false },
      }),
    )
    for (const server of servers) {
      onTestFinished(() => server.close())
      await server.ready()
    }
    return { url, servers }
  }
  /** At both servers. */
  async function isRefused(servers: readonly Sessions<{ n?: number }>[], cookie: string): Promise<boolean[]> {
    const view = { method: 'GET', url: '/', header: (field: string) => (field === 'cookie' ? cookie : undefined) }
    return Promise.all(servers.map(async (server) => (await server.open(view)).session.isNew))
  }

  test('a session that the command revokes is refused by every server at once', async () => {
    const { servers, url } = await world()
    const [first] = servers as [Sessions<{ n?: number }>]
    const one = await first.create({ userId: 'ada', data: { n: 1 } })
    const other = await first.create({ userId: 'ada', data: { n: 2 } })
    expect(await isRefused(servers, one.cookie)).toEqual([false, false])
    const foreign = await run('revoke', one.key, '--user', 'eve', '--store', url, '--cookie-based')
    expect(foreign).toMatchObject({ code: 0, err: '' })
    expect(await isRefused(servers, one.cookie)).toEqual([false, false])
    const done = await run('revoke', one.key, '--store', url, '--cookie-based')
    expect(done).toEqual({ code: 0, out: `revoked ${one.key}\n`, err: '' })
    expect(await isRefused(servers, one.cookie)).toEqual([true, true])
    expect(await isRefused(servers, other.cookie)).toEqual([false, false])
    expect((await run('revoke', one.key, '--store', url, '--cookie-based')).out).toMatch(/was revoked before/)
  })

  test('all sessions of a user but one end everywhere, and nobody else', async () => {
    const { servers, url } = await world()
    const [first, second] = servers as [Sessions<{ n?: number }>, Sessions<{ n?: number }>]
    const [spared, gone, others] = [
      await first.create({ userId: 'ada' }),
      await second.create({ userId: 'ada' }),
      await second.create({ userId: 'bob' }),
    ]
    const done = await run('revoke-user', 'ada', '--except', spared.key, '--store', url, '--cookie-based')
    expect(done).toEqual({ code: 0, out: 'revoked all sessions of ada but one\n', err: '' })
    expect(await isRefused(servers, gone.cookie)).toEqual([true, true])
    expect(await isRefused(servers, spared.cookie)).toEqual([false, false])
    expect(await isRefused(servers, others.cookie)).toEqual([false, false])
  })
})

test('without --cookie-based the command says what is missing, and what cannot be listed is refused in one line', async () => {
  const { url, store } = await (BACKENDS.SQLite as () => Promise<Backend>)()
  const sessions = createSessions({
    secrets: 'a secret of this test, long enough to be one',
    strategy: cookieBased({ revocations: store() }),
  })
  onTestFinished(() => sessions.close())
  await sessions.ready()
  const key = 'k'.repeat(43)
  expect(await run('revoke', key, '--store', url)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^holdfast: .*--cookie-based.*\n$/),
  })
  for (const args of [['list'], ['show', key]]) {
    const refused = await run(...args, '--store', url, '--cookie-based')
    expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/^holdfast: .*in the visitors' browsers.*\n$/) })
  }
})
