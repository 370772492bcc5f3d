import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { keyFile } from '../../src/key-file.ts'
import { createSessions } from '../../src/sessions.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import type { Sessions } from '../../src/types.ts'
import { waitFor } from '../setup/servers.ts'

const [OLD, NEW] = ['old '.repeat(10).replaceAll(' ', '-'), 'new '.repeat(10).replaceAll(' ', '-')]
const DEADLINE_MS = 10_000
type Data = { n?: number }

let folder: string
let file: string
let warnings: string[]
const open: Sessions<Data>[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-keyfile-'))
  file = join(folder, 'session.keys')
  warnings = []
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((sessions) => sessions.close()))
  rmSync(folder, { recursive: true })
})

/** As a whole, the way `holdfast keys` and deployments do. */
function put(...secrets: string[]): void {
  writeFileSync(`${file}.new`, `# comment\n${secrets.join('  # comment\n')}\n`)
  renameSync(`${file}.new`, file)
}

function server(strategy = cookieBased()): Sessions<Data> {
  const logger = { warn: (text: string) => void warnings.push(text), error: (text: string) => void warnings.push(text) }
  const sessions = createSessions<Data>({
    secrets: keyFile(file, { everyMs: 20 }),
    strategy,
    logger,
    cookie: { name: 'session', secure: false },
  })
  open.push(sessions)
  return sessions
}

async function write(sessions: Sessions<Data>, jar: BrowserJar, n: number): Promise<void> {
  const opened = await sessions.open(jar.request())
  opened.session.data.n = n
  jar.take((await opened.commit()).cookies)
  opened.end()
}

async function read(sessions: Sessions<Data>, jar: BrowserJar): Promise<number | undefined> {
  const opened = await sessions.open(jar.request())
  const { n } = opened.session.data
  opened.end()
  return n
}

/** The ids of the keys that a jar's cookies were made with. */
function keyIds(jar: BrowserJar): Set<number> {
  const cookie = jar.request().header('cookie') ?? ''
  return new Set(cookie.split('; ').map((pair) => Buffer.from(pair.slice(pair.indexOf('=') + 1), 'base64url').readUInt16BE(1)))
}

async function rootIdOf(sessions: Sessions<Data>): Promise<number> {
  const jar = new BrowserJar()
  await write(sessions, jar, 1)
  return Math.min(...keyIds(jar))
}

describe('a key file', () => {
  test('a rotation in three steps over two servers loses no session and needs no restart', async () => {
    put(OLD)
    const [a, b] = [server(), server()]
    const oldId = await rootIdOf(a)
    const jar = new BrowserJar()
    await write(a, jar, 1)
    // A server that has the new secret only shows when the others verify it.
    const ahead = createSessions<Data>({ secrets: NEW, strategy: cookieBased(), cookie: { name: 'session', secure: false } })
    open.push(ahead)
    const probe = new BrowserJar()
    await write(ahead, probe, 9)
    put(OLD, NEW)
    for (const sessions of [a, b]) await waitFor(async () => (await read(sessions, probe)) === 9, DEADLINE_MS, 'the new key verifies')
    expect(await rootIdOf(a)).toBe(oldId)
    put(NEW, OLD)
    // One server seals with the new key before the other does, and either takes what the other made.
    for (let n = 0; n < 10; n++) {
      await write(n % 2 === 0 ? a : b, jar, n)
      expect([await read(a, jar), await read(b, jar)]).toEqual([n, n])
    }
    for (const sessions of [a, b]) await waitFor(async () => (await rootIdOf(sessions)) !== oldId, DEADLINE_MS, 'the new key seals')
    // What was made before goes on, and what is written next is under the new key.
    await write(b, jar, 7)
    expect(await read(a, jar)).toBe(7)
    expect(keyIds(jar).size).toBe(2)
    const late = new BrowserJar()
    await write(a, late, 8)
    put(NEW)
    await waitFor(async () => (await read(a, jar)) === undefined && (await read(b, jar)) === undefined, DEADLINE_MS, 'the old key is gone')
    expect([await read(a, late), await read(b, late)]).toEqual([8, 8])
    expect(warnings).toEqual([])
  })

  test('a file that is missing or malformed keeps the secrets known before, and is named once', async () => {
    put(OLD)
    const sessions = server(dedicated({ store: memoryStore() }))
    const jar = new BrowserJar()
    await write(sessions, jar, 1)
    rmSync(file)
    await waitFor(() => warnings.length === 1, DEADLINE_MS, 'the first warning')
    writeFileSync(file, 'too-short-a-secret\n')
    await waitFor(() => warnings.length === 2, DEADLINE_MS, 'the second warning')
    await new Promise((done) => setTimeout(done, 100))
    expect(warnings).toEqual([expect.stringMatching(/does not exist.*stay/), expect.stringMatching(/line 1 is shorter.*stay/)])
    expect(warnings.join()).not.toContain('too-short-a-secret')
    expect(await read(sessions, jar)).toBe(1)
    const before = await rootIdOf(sessions)
    put(NEW, OLD)
    await waitFor(async () => (await rootIdOf(sessions)) !== before, DEADLINE_MS, 'the new key seals')
    expect(await read(sessions, jar)).toBe(1)
  })

  test.each([
    ['', /holds no secret/],
    [`${OLD}\n${OLD}`, /line 2 repeats/],
    [`${OLD} ${NEW}`, /more than one word/],
    ['x'.repeat(70_000), /longer than/],
  ])('at creation a bad file is CONFIG_INVALID (%#)', (text, message) => {
    writeFileSync(file, text)
    expect(() => server()).toThrow(message)
    expect(() => server()).toThrow(/CONFIG_INVALID|keys generate/)
  })

  test('at creation a missing file says how to make one', () => {
    expect(() => server()).toThrow(/does not exist.*holdfast keys generate FILE/)
    expect(() => keyFile('')).toThrow(/give the path/)
  })
})
