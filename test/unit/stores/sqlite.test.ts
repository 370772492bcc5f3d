import { execFile, spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { SessionStore, StoreContext } from '../../../src/seam.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { sqliteStore } from '../../../src/stores/sqlite.ts'
import { createVirtualWorld } from '../../setup/virtual-runtime.ts'

let folder: string
let file: string
const open: SessionStore[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-sqlite-'))
  file = join(folder, 'sessions.db')
})
afterEach(async () => {
  for (const store of open.splice(0)) await store.close()
  await rm(folder, { recursive: true, force: true })
})

function context(over: Partial<StoreContext> = {}): StoreContext {
  return { runtime: systemRuntime(), logger: console, deadlineMs: 300, stateChanged: () => {}, ...over }
}

async function ready(over: Partial<StoreContext> = {}): Promise<SessionStore> {
  const store = sqliteStore({ file })
  open.push(store)
  await store.ready(context(over))
  return store
}

const meta = (now = Date.now(), userId?: string) => ({
  userId,
  createdAt: now,
  lastActiveAt: now,
  idleMs: 1_000,
  touchEveryMs: 50,
  absoluteAt: now + 60_000,
  persistent: false,
})
const draft = (now?: number, userId?: string) => ({ meta: meta(now, userId), fields: new Map([['a', '1']]) })

test('sqlite - the file and those beside it are readable by their owner only', async () => {
  const store = await ready()
  await store.create('k', draft(), 'w')
  for (const name of [file, `${file}-wal`, `${file}-shm`]) expect((await stat(name)).mode & 0o777).toBe(0o600)
})

test('sqlite - sessions are there after a restart', async () => {
  const first = await ready()
  await first.create('k', draft(), 'w')
  await first.close()
  const second = await ready()
  expect(await second.read('k')).toMatchObject({ version: 1, fields: new Map([['a', '1']]) })
})

test('sqlite - a missing folder, a folder and a foreign file are refused with what to do', async () => {
  const refused = async (path: string, advice: RegExp): Promise<void> => {
    const states: string[] = []
    const store = sqliteStore({ file: path })
    const opening = store.ready(context({ stateChanged: (state) => states.push(state) }))
    await expect(opening).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503, message: expect.stringMatching(advice) })
    expect(states).toEqual(['down'])
    await store.close()
  }
  await refused(join(folder, 'missing', 'sessions.db'), /create the folder first/)
  await mkdir(join(folder, 'dir'))
  await refused(join(folder, 'dir'), /cannot be opened/)
  await writeFile(join(folder, 'text.db'), 'this is not a database, but long enough to be looked at'.repeat(40))
  await refused(join(folder, 'text.db'), /not an SQLite database/)
  expect(await readFile(join(folder, 'text.db'), 'utf8')).toContain('not a database')
})

test('sqlite - a file that comes to be usable is used without a restart', async () => {
  file = join(folder, 'later', 'sessions.db')
  const states: string[] = []
  await expect(ready({ stateChanged: (state) => states.push(state) })).rejects.toThrow('folder')
  await mkdir(join(folder, 'later'))
  expect(await (open[0] as SessionStore).create('k', draft(), 'w')).toBe(true)
  expect(states).toEqual(['down', 'up'])
})

test('sqlite - options that cannot work are refused at creation', () => {
  for (const bad of [{}, { file: '' }, { file: ':memory:' }, { file: 'file:x?mode=ro' }, undefined]) {
    expect(() => sqliteStore(bad as never)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  }
})

test('sqlite - a lock that is held too long is STORE_UNAVAILABLE at the deadline, and the event loop goes on', async () => {
  const store = await ready()
  const other = new DatabaseSync(file)
  other.exec('BEGIN IMMEDIATE')
  let turns = 0
  const ticking = setInterval(() => turns++, 5)
  const startedAt = performance.now()
  await expect(store.create('k', draft(), 'w')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', headers: { 'retry-after': '1' } })
  expect(performance.now() - startedAt).toBeLessThan(1_000)
  expect(turns).toBeGreaterThan(5)
  clearInterval(ticking)
  const waiting = store.create('k', draft(), 'w')
  other.exec('ROLLBACK')
  other.close()
  expect(await waiting).toBe(true)
})

test('sqlite - a record that does not parse is STORE_RECORD_INVALID and stays', async () => {
  const store = await ready()
  await store.create('k', draft(), 'w')
  const other = new DatabaseSync(file)
  for (const fields of ['{', '{}', '["a"]', '[1,"x"]', '["a",1]']) {
    other.prepare('UPDATE holdfast_sessions_v1 SET fields = ?').run(fields)
    await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_RECORD_INVALID' })
    await expect(store.patch('k', { set: new Map(), add: new Map(), touchAt: 0, writeId: 'x' })).rejects.toMatchObject({
      code: 'STORE_RECORD_INVALID',
    })
    expect(other.prepare('SELECT fields FROM holdfast_sessions_v1').get()).toEqual({ fields })
  }
  other.close()
})

test('sqlite and memory - expired sessions are swept and reported once, marks silently', async () => {
  const world = createVirtualWorld()
  const runtime = world.runtime()
  for (const store of [sqliteStore({ file }), memoryStore()]) {
    open.push(store)
    const expired = vi.fn<(key: string, userId: string | undefined) => void>()
    await store.ready(context({ runtime, expired }))
    for (let index = 0; index < 250; index++) await store.create(`k${index}`, draft(runtime.now(), 'ada'), 'w')
    await store.destroy('k0', 'destroyed', runtime.now() + 500)
    await world.advance(120_000)
    expect(expired).toHaveBeenCalledTimes(249)
    expect(expired).toHaveBeenCalledWith('k1', 'ada')
  }
  const other = new DatabaseSync(file)
  expect(other.prepare('SELECT count(*) AS n FROM holdfast_sessions_v1').get()).toEqual({ n: 0 })
  other.close()
})

test('sqlite - one process sweeps at a time; another takes over when it closes, or some time after it died', async () => {
  const world = createVirtualWorld()
  const reporting = async (reported: string[]): Promise<SessionStore> => {
    const store = await ready({ runtime: world.runtime(), expired: (key) => void reported.push(key) })
    return store
  }
  const expire = async (store: SessionStore, name: string): Promise<void> => {
    for (let index = 0; index < 150; index++) await store.create(`${name}${index}`, draft(world.runtime().now()), 'w')
    await world.advance(70_000)
  }
  const [byFirst, bySecond]: [string[], string[]] = [[], []]
  const [first, second] = [await reporting(byFirst), await reporting(bySecond)]
  await expire(first, 'a')
  await expire(first, 'b')
  expect([byFirst.length, bySecond.length].sort()).toEqual([0, 300])
  const [sweeper, other, byOther] = byFirst.length > 0 ? [first, second, bySecond] : [second, first, byFirst]
  open.splice(open.indexOf(sweeper), 1)
  await sweeper.close()
  await expire(other, 'c')
  expect(byOther).toHaveLength(150)
  const dead = new DatabaseSync(file)
  for (const until of [world.runtime().now() + 74_000, world.runtime().now() + 3_600_000_000]) {
    dead.prepare("UPDATE holdfast_sweeper_v1 SET owner = 'somebody', until_at = ?").run(until)
    await expire(other, `d${until}`)
    // The second end is none that a living process gives: its clock was wrong.
    expect(byOther).toHaveLength(until > world.runtime().now() + 100_000 ? 450 : 150)
    await world.advance(40_000)
  }
  expect(byOther).toHaveLength(450)
  dead.close()
})

test('sqlite - nothing runs before ready() or after close()', async () => {
  const store = sqliteStore({ file })
  await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await store.ready(context())
  await store.close()
  await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
})

test('sqlite - two users of one store in one process: it closes with the second', async () => {
  const store = sqliteStore({ file })
  await store.ready(context())
  await store.ready(context())
  await store.close()
  expect(await store.create('k', draft(), 'w')).toBe(true)
  await store.close()
  await expect(store.read('k')).rejects.toThrow('ready() first')
})

/** A small disk of its own, in a mount namespace: the kernel grants it to root, and mostly to others as root of a user namespace. */
const OWN_DISK = ['--mount', ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']), 'sh', '-c']
const mayMount = spawnSync('unshare', [...OWN_DISK, 'mount -t tmpfs tmpfs /tmp']).status === 0

// Without the right to mount there is no disk that could be filled.
test.skipIf(!mayMount)(
  'sqlite - a full disk: writes are STORE_UNAVAILABLE and say so, reads work, and it goes on once there is room',
  async () => {
    const script = fileURLToPath(new URL('sqlite-full-disk.ts', import.meta.url))
    const inside = 'mount -t tmpfs -o size=400k tmpfs "$1" && exec "$0" "$2" "$1/sessions.db"'
    const { stdout } = await promisify(execFile)('unshare', [...OWN_DISK, inside, process.execPath, folder, script], { timeout: 20_000 })
    const full = expect.stringMatching(/^STORE_UNAVAILABLE 503 sqliteStore cannot use [^ ]+: the disk is full: make room$/)
    expect(JSON.parse(stdout)).toEqual({ refused: [full, full], version: 1, value: 'x', isAbsent: true, after: 'true' })
  },
)

// Root may write anything.
test.skipIf(process.getuid?.() === 0)('sqlite - a file that may only be read is refused with what to do', async () => {
  await writeFile(file, '')
  await chmod(file, 0o400)
  await expect(ready()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
})
