import { describe, expect, test } from 'vitest'
import { SessionError } from '../../src/errors.ts'
import type { SessionStore, StoreContext } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { recordInvalid } from '../../src/stores/availability.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { type Data, visit } from '../../src/testing/visit.ts'
import type { BaseOptions, SessionEvent, Sessions } from '../../src/types.ts'

type Broken = SessionStore & { down: boolean; unreadable: boolean }

/** A real store that can be made to fail as a broken connection or an unreadable record does. */
function breakable(): Broken {
  const store = memoryStore()
  let context: StoreContext | undefined
  const refuse = (key: string): void => {
    if (self.down) throw new SessionError('STORE_UNAVAILABLE', 'the store is down', { headers: { 'retry-after': '1' } })
    if (self.unreadable) throw recordInvalid('test', key)
  }
  const self: Broken = {
    ...store,
    down: false,
    unreadable: false,
    ready: (given) => {
      context = given
      return store.ready(context)
    },
    read: async (key) => (refuse(key), store.read(key)),
    create: async (key, draft, writeId) => (self.down && refuse(key), store.create(key, draft, writeId)),
    patch: async (key, patch) => (refuse(key), store.patch(key, patch)),
    destroy: async (...args) => (refuse(args[0]), store.destroy(...args)),
  }
  return self
}

function start(
  store: SessionStore,
  options: Partial<BaseOptions<Data>> = {},
  whenDown: 'fail' | 'anonymous' = 'anonymous',
): Sessions<Data> {
  const base = { secrets: 'a secret for tests, long enough to be one', strategy: dedicated({ store, whenDown, deadlineMs: 200 }) }
  return createSessions<Data>({ ...base, initial: () => ({ items: [] }), ...options } as BaseOptions<Data> & { schema?: never })
}

const code = (expected: string) => expect.objectContaining({ code: expected })

describe('a store that is down', () => {
  test('anonymous: a stranger is served, what it writes is 503, and the jar stays as it was', async () => {
    const store = breakable()
    const sessions = start(store)
    const jar = new BrowserJar()
    await visit(sessions, jar, (session) => void session.data.items?.push('a'))
    const before = jar.header
    store.down = true
    await visit(sessions, jar, (session) => expect([session.isNew, session.data.items]).toEqual([true, []]))
    expect(jar.header).toBe(before)
    await expect(visit(sessions, jar, (session) => void session.data.items?.push('b'))).rejects.toEqual(code('STORE_UNAVAILABLE'))
    await expect(visit(sessions, jar, (session) => session.login('ada'))).rejects.toEqual(code('STORE_UNAVAILABLE'))
    await expect(visit(sessions, jar, (session) => session.logout())).rejects.toEqual(code('STORE_UNAVAILABLE'))
    expect(jar.header).toBe(before)
    store.down = false
    await visit(sessions, jar, (session) => expect(session.data.items).toEqual(['a']))
  })
})

describe('a record that does not parse', () => {
  async function unreadable(
    options: Partial<BaseOptions<Data>>,
  ): Promise<{ sessions: Sessions<Data>; jar: BrowserJar; store: Broken; events: SessionEvent[]; key: string }> {
    const store = breakable()
    const events: SessionEvent[] = []
    const sessions = start(store, { ...options, onEvent: (event) => void events.push(event) })
    const jar = new BrowserJar()
    let key = ''
    await visit(sessions, jar, (session) => {
      session.data.items?.push('a')
      key = session.key
    })
    store.unreadable = true
    return { sessions, jar, store, events, key }
  }

  test('by default 500 with the key in the message; the record stays and nobody is logged out', async () => {
    const { sessions, jar, store, events, key } = await unreadable({})
    const before = jar.header
    const error = (await visit(sessions, jar, () => {}).catch((thrown: unknown) => thrown)) as SessionError
    expect([error.code, error.status, error.message.includes(key)]).toEqual(['STORE_RECORD_INVALID', 500, true])
    expect(events).toContainEqual(expect.objectContaining({ type: 'invalid', key }))
    expect(jar.header).toBe(before)
    store.unreadable = false
    await visit(sessions, jar, (session) => expect(session.data.items).toEqual(['a']))
  })

  test("onInvalid: 'new' begins a new session and leaves the record", async () => {
    const { sessions, jar, store, key } = await unreadable({ onInvalid: 'new' })
    await visit(sessions, jar, (session) => {
      expect(session.data.items).toEqual([])
      session.data.items?.push('b')
    })
    store.unreadable = false
    await visit(sessions, jar, (session) => expect(session.data.items).toEqual(['b']))
    expect((await sessions.get(key))?.data.items).toEqual(['a'])
  })

  test('onInvalid as a function gives what the new session begins with', async () => {
    const { sessions, jar } = await unreadable({ onInvalid: () => ({ items: ['repaired'] }) })
    await visit(sessions, jar, (session) => expect(session.data.items).toEqual(['repaired']))
  })
})

describe('a logout that crossed a login', () => {
  test('is told so and ends nothing, so that sending it again does', async () => {
    const sessions = start(memoryStore())
    const jar = new BrowserJar()
    await visit(sessions, jar, (session) => void session.data.items?.push('a'))
    const late = await sessions.open({ method: 'POST', url: '/', header: (name) => (name === 'cookie' ? jar.header : undefined) })
    await visit(sessions, jar, (session) => session.login('ada'))
    await expect(late.session.logout()).rejects.toEqual(code('SESSION_REPLACED'))
    expect((await late.commit()).cookies).toEqual([])
    await visit(sessions, jar, (session) => session.logout())
    await visit(sessions, jar, (session) => expect([session.isNew, session.userId]).toEqual([true, undefined]))
  })
})
