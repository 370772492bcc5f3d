import { afterEach, describe, expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import type { SessionStore, Transport } from '../../../src/seam.ts'
import { createSessions } from '../../../src/sessions.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { cookieBased, type CookieBasedOptions } from '../../../src/strategies/cookie-based.ts'
import { BrowserJar } from '../../../src/testing/browser-jar.ts'
import { memoryNetwork } from '../../../src/transports/memory.ts'
import type { SessionEvent, Sessions } from '../../../src/types.ts'
import { within } from '../../setup/servers.ts'

const SECRETS = 'a secret for tests, long enough to be one'
type Data = Record<string, unknown>

const open: Sessions<Data>[] = []
afterEach(() => Promise.all(open.splice(0).map((sessions) => sessions.close())))

async function servers(table: () => Transport | SessionStore, count = 2): Promise<[Sessions<Data>, Sessions<Data>]> {
  for (let n = 1; n <= count; n++) {
    open.push(createSessions<Data>({ secrets: SECRETS, node: `n${n}`, strategy: cookieBased({ revocations: table() }) }))
  }
  await Promise.all(open.map((sessions) => sessions.ready()))
  return open.slice(0, 2) as [Sessions<Data>, Sessions<Data>]
}

async function loggedIn(sessions: Sessions<Data>, userId: string): Promise<BrowserJar> {
  const jar = new BrowserJar()
  jar.take((await sessions.create({ userId })).setCookie)
  return jar
}

/** Resolves when the signal of the session, held at this server, aborts. */
async function aborts(sessions: Sessions<Data>, jar: BrowserJar): Promise<{ aborted: Promise<void>; signal: AbortSignal }> {
  const { session } = await sessions.open(jar.request())
  const { signal } = session
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
  return { aborted, signal }
}

describe('cookieBased with revocations', () => {
  test('a log-out everywhere at one server closes the sockets of that user at the other, and of nobody else', async () => {
    const network = memoryNetwork()
    const [a, b] = await servers(() => network.join())
    const ada = await aborts(b, await loggedIn(a, 'ada'))
    const bob = await aborts(b, await loggedIn(a, 'bob'))
    await a.revokeUser('ada')
    await within(ada.aborted, 5_000, 'the signal')
    expect(bob.signal.aborted).toBe(false)
    const owned = await loggedIn(a, 'eve')
    const { session } = await b.open(owned.request())
    const eve = await aborts(b, owned)
    expect(await a.revoke(session.key, { userId: 'eve' })).toBe(true)
    await within(eve.aborted, 5_000, 'the signal of a session that is revoked where it is hers')
  })

  test('with a store the server that revokes closes its sockets at once', async () => {
    const store = memoryStore()
    const [a] = await servers(() => store)
    const ada = await aborts(a, await loggedIn(a, 'ada'))
    await a.revokeUser('ada')
    await within(ada.aborted, 5_000, 'the signal')
  })

  test('a store that is down refuses, or serves by name, and ends nobody', async () => {
    for (const whenCutOff of ['fail', 'continue'] as const) {
      const store = memoryStore()
      let isDown = false
      const failing: SessionStore = {
        ...store,
        read: (key) => (isDown ? Promise.reject(new SessionError('STORE_UNAVAILABLE', 'down')) : store.read(key)),
      }
      const sessions = createSessions<Data>({ secrets: SECRETS, strategy: cookieBased({ revocations: failing, whenCutOff }) })
      open.push(sessions)
      const jar = await loggedIn(sessions, 'ada')
      isDown = true
      const user = sessions.open(jar.request()).then(
        ({ session }) => session.userId,
        (error: unknown) => (SessionError.is(error) ? error.code : String(error)),
      )
      expect(await user).toBe(whenCutOff === 'fail' ? 'STORE_UNAVAILABLE' : 'ada')
      isDown = false
      expect((await sessions.open(jar.request())).session.userId).toBe('ada')
    }
  })

  test('no expired event tells of what was only a revocation', async () => {
    const store = memoryStore()
    const events: SessionEvent[] = []
    const sessions = createSessions<Data>({
      secrets: SECRETS,
      strategy: cookieBased({ revocations: store, longestMs: 200 }),
      lifetime: { idleMs: 100, absoluteMs: 150 },
      onEvent: (event) => void events.push(event),
    })
    open.push(sessions)
    await loggedIn(sessions, 'ada')
    await sessions.revokeUser('ada')
    await new Promise((done) => setTimeout(done, 400))
    expect(events.map(({ type }) => type)).toEqual(['created', 'revoked'])
  })

  test('requires is checked at creation', () => {
    const create = (options: CookieBasedOptions): unknown => {
      const sessions = createSessions<Data>({ secrets: SECRETS, strategy: cookieBased(options), requires: ['revoke', 'revokeUser'] })
      return open.push(sessions as Sessions<Data>)
    }
    expect(() => create({})).toThrow(/cannot revoke.*cannot revokeUser/)
    expect(() => create({ revocations: memoryStore() })).not.toThrow()
  })

  test.each<[object, RegExp]>([
    [{ revocations: {} }, /revocations must be a transport/],
    [{ guarded: ['a'] }, /guarded needs `revocations`/],
    [{ revocations: memoryStore(), guarded: 'coupon' }, /guarded must be a list/],
    [{ revocations: memoryStore(), whenCutOff: 'perhaps' }, /whenCutOff must be/],
    [{ revocations: memoryStore(), longestMs: 1e12 }, /longestMs must be/],
  ])('%o is CONFIG_INVALID', (options, message) => {
    expect(() => cookieBased(options)).toThrow(message)
  })
})
