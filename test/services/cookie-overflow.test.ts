import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Jar, JarDelta, Opened, SessionStore, StrategyContext } from '../../src/seam.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import { CookieBased } from '../../src/strategies/cookie-running.ts'
import type { SessionSummary } from '../../src/types.ts'
import { changeOf, COOKIE_NAME, type Edit, jarOf, KEYS, sessionId } from '../setup/cookie-world.ts'
import { type RunningRedis, startRedis, within } from '../setup/servers.ts'

const runtime = systemRuntime()
const id = { ...sessionId(4), absoluteAt: Date.now() + 3_600_000 }
const text = (bytes: number): string =>
  JSON.stringify(
    randomBytes(bytes)
      .toString('base64')
      .slice(0, bytes - 2),
  )

const release: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const one of release.splice(0).reverse()) await one()
})

async function server(overflow: SessionStore): Promise<CookieBased> {
  const context: StrategyContext = {
    node: 'n',
    runtime,
    keys: KEYS,
    cookieName: COOKIE_NAME,
    limits: { sessionBytes: 65_536 },
    emit: () => {},
    ended: () => {},
    logger: console,
  }
  const running = new CookieBased(context, { maxHeaderBytes: 7_000, overflow })
  release.push(() => running.close())
  await running.ready()
  return running
}

/** A browser's notes. */
class Notes {
  readonly notes = new Map<string, string>()
  take(jar: JarDelta): void {
    for (const name of jar.delete) this.notes.delete(name)
    for (const { name, value } of jar.set) this.notes.set(name, value)
  }
  jar(): Jar {
    return { ...jarOf(id, this.notes), absoluteAt: id.absoluteAt }
  }
}

async function found(running: CookieBased, browser: Notes): Promise<Opened> {
  const opening = await running.open(browser.jar())
  if (opening.outcome !== 'found') throw new Error(opening.outcome)
  return opening.opened
}

async function write(running: CookieBased, browser: Notes, edit: Edit): Promise<void> {
  browser.take((await running.write(await found(running, browser), changeOf(edit, Date.now()))).jar)
}

async function created(running: CookieBased, fields: Record<string, string>): Promise<Notes> {
  const browser = new Notes()
  const now = Date.now()
  const meta = {
    userId: 'ada',
    createdAt: now,
    lastActiveAt: now,
    idleMs: 600_000,
    touchEveryMs: 30_000,
    absoluteAt: id.absoluteAt,
    persistent: false,
  }
  browser.take((await running.create(id, { meta, fields: new Map(Object.entries(fields)) })).jar)
  return browser
}

async function sqlite(): Promise<() => SessionStore> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-overflow-'))
  release.push(() => rm(folder, { recursive: true, force: true }))
  return () => sqliteStore({ file: join(folder, 'overflow.db') })
}

async function redis(): Promise<{ redis: RunningRedis; store: () => SessionStore }> {
  const started = await startRedis()
  release.push(() => started.stop())
  return { redis: started, store: () => redisStore({ url: started.url }) }
}

const STORES: Record<string, () => Promise<() => SessionStore>> = {
  memory: async () => {
    const shared = memoryStore()
    return () => shared
  },
  SQLite: sqlite,
  Redis: async () => (await redis()).store,
}

for (const [name, start] of Object.entries(STORES)) {
  describe(`cookieBased with overflow in ${name}`, () => {
    test('40 KB spill, and another server brings them back on demand', async () => {
      const store = await start()
      const [one, two] = [await server(store()), await server(store())]
      const photo = text(40_000)
      const browser = await created(one, { photo, small: '1' })
      expect(browser.jar().headerBytes).toBeLessThan(1_000)
      const opened = await found(two, browser)
      expect([opened.record.get('photo'), opened.record.get('small')]).toEqual([photo, '1'])
      expect(opened.record.bytes).toBe(photo.length + 'photosmall1'.length)
      for (let turn = 0; turn < 15; turn++)
        await write([one, two][turn % 2] as CookieBased, browser, { set: { small: String(turn) }, add: { n: 1 } })
      const after = await found(await server(store()), browser)
      expect([after.record.get('photo'), after.record.get('small'), after.record.get('n')]).toEqual([photo, '14', '15'])
    })

    test('a session that grows spills its largest fields, older ones too, and undoes no parallel write', async () => {
      const store = await start()
      const [one, two] = [await server(store()), await server(store())]
      const page = text(3_000)
      const browser = await created(one, { page, a: '1' })
      // Both start from the same jar; one moves `page` into the store while the other writes it.
      const [spills, writes] = [await found(one, browser), await found(two, browser)]
      const photo = text(4_000)
      const newer = text(900)
      const answers = [
        await one.write(spills, changeOf({ set: { photo } }, Date.now())),
        await two.write(writes, changeOf({ set: { page: newer } }, Date.now())),
      ]
      for (const answer of answers.reverse()) browser.take(answer.jar)
      const { record } = await found(one, browser)
      expect([record.get('photo'), record.get('page'), record.get('a')]).toEqual([photo, newer, '1'])
      await write(two, browser, { set: { page: undefined, photo: '"none"' } })
      expect((await found(one, browser)).record.get('photo')).toBe('"none"')
      expect((await found(one, browser)).record.isRemoved('page')).toBe(true)
    })
  })
}

describe('cookieBased with overflow in a store that fails', () => {
  test('down: what needs it is 503 within its deadline, nothing is lost, no cookie changes; small sessions go on', {
    timeout: 60_000,
  }, async () => {
    const { redis: started, store } = await redis()
    const [one, two] = [await server(store()), await server(store())]
    const photo = text(20_000)
    const browser = await created(one, { photo, a: '1' })
    const small = await created(two, { a: '1' })
    const opened = await found(one, browser)
    started.pause()
    await expect(within(Promise.resolve(two.open(browser.jar())), 10_000, 'an open')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      status: 503,
    })
    const spill = Promise.resolve(one.write(opened, changeOf({ set: { photo: text(20_000) } }, Date.now())))
    await expect(within(spill, 10_000, 'a write')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    // What is in the jar, or was seen here before, needs no store.
    await write(two, small, { set: { a: '2' } })
    await write(one, browser, { set: { a: '2' } })
    started.resume()
    await expect.poll(async () => (await found(two, browser)).record.get('photo'), { timeout: 20_000 }).toBe(photo)
    expect((await found(two, browser)).record.get('a')).toBe('2')
  })

  test('emptied: the loss is reported as regressed, never served as if the field were absent', async () => {
    const { redis: started, store } = await redis()
    const one = await server(store())
    const browser = await created(one, { photo: text(20_000), a: '1' })
    await started.kill()
    const again = await started.restart()
    release.push(() => again.stop())
    const fresh = await server(redisStore({ url: again.url }))
    expect(await fresh.open(browser.jar())).toEqual({ outcome: 'regressed', policy: 'serve' })
  })

  test('a note never names a value that is not stored yet', async () => {
    const inner = memoryStore()
    let stored = 0
    const gate = Promise.withResolvers<void>()
    const slow: SessionStore = {
      ...inner,
      create: async (...record) => {
        await gate.promise
        const made = await inner.create(...record)
        stored++
        return made
      },
    }
    const one = await server(slow)
    let answered = false
    const creating = created(one, { photo: text(20_000) }).then((browser) => {
      answered = true
      return browser
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect([answered, stored]).toEqual([false, 0])
    gate.resolve()
    const browser = await creating
    expect(stored).toBe(1)
    // It goes with the absolute end of its session, and belongs to no user: nobody's sessions.
    const records: SessionSummary[] = []
    for await (const record of inner.list({})) records.push(record)
    expect(records.map(({ userId, expiresAt }) => [userId, expiresAt])).toEqual([[undefined, id.absoluteAt]])
    expect((await found(one, browser)).record.get('photo')).toHaveLength(20_000)
  })
})
