import assert from 'node:assert/strict'
import { SessionError } from '../errors.ts'
import { BrowserJar } from './browser-jar.ts'
import { at } from './servers.ts'
import type { StrategyCase } from './strategy-contract.ts'
import { readAll, request, visit } from './visit.ts'

const code = (error: unknown): string => (SessionError.is(error) ? error.code : `not a SessionError: ${String(error)}`)

export const identityCases: readonly StrategyCase[] = [
  {
    name: 'login gives a new id, keeps what an anonymous visitor had, and every server knows the user',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      const before = await visit(at(servers, 0), jar, (session) => {
        session.data.cart = ['a']
        return session.key
      })
      const after = await visit(at(servers, 1), jar, async (session) => {
        await session.login('ada')
        return session.key
      })
      assert.notEqual(after, before)
      for (const server of servers) {
        const seen = await visit(server, jar, (session) => ({ key: session.key, user: session.userId, cart: session.data.cart }))
        assert.deepEqual(seen, { key: after, user: 'ada', cart: ['a'] })
      }
    },
  },
  {
    name: 'login as another user drops the data, but the fields named',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, async (session) => {
        Object.assign(session.data, { secret: 1, theme: 'dark' })
        await session.login('ada')
      })
      await visit(at(servers, 0), jar, (session) => session.login('bob', { keep: ['theme'] }))
      await visit(at(servers, 0), jar, (session) => {
        assert.equal(session.userId, 'bob')
        assert.deepEqual({ ...session.data }, { theme: 'dark' })
      })
    },
  },
  {
    name: 'a jar from before a login is dead, and its write stores nothing',
    needs: ['end'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      const old = jar.copy()
      await visit(at(servers, 0), jar, (session) => session.login('ada'))
      assert.equal(await readAll(at(servers, 1), old), undefined)
      assert.equal(
        code(await visit(at(servers, 1), old, ({ data }) => void (data.a = 2)).catch((error: unknown) => error)),
        'SESSION_REPLACED',
      )
      assert.deepEqual(await readAll(at(servers, 0), jar), { a: 1 })
    },
  },
  {
    name: 'a slow writer during a login is told so and undoes nothing',
    needs: ['end'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      const slow = request(at(servers, 1), jar.request(), async ({ data }) => {
        await visit(at(servers, 0), jar, (session) => session.login('ada'))
        data.a = 'late'
      })
      assert.equal(code(await slow.catch((error: unknown) => error)), 'SESSION_REPLACED')
      const seen = await visit(at(servers, 0), jar, (session) => [session.userId, session.data.a])
      assert.deepEqual(seen, ['ada', 1])
    },
  },
  {
    name: 'logout empties the jar, the old jar is dead, and a slow writer does not bring it back',
    needs: ['end'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      const old = jar.copy()
      const slow = request(at(servers, 1), jar.request(), async ({ data }) => {
        await visit(at(servers, 0), jar, (session) => session.logout())
        data.a = 'late'
      })
      assert.equal(code(await slow.catch((error: unknown) => error)), 'SESSION_GONE')
      assert.deepEqual(jar.names, [])
      for (const server of servers) assert.equal(await readAll(server, old), undefined)
    },
  },
  {
    name: 'logout empties the jar and a later write of the request starts a fresh session',
    async run(servers) {
      const jar = new BrowserJar()
      const first = await visit(at(servers, 0), jar, (session) => {
        session.data.a = 1
        return session.key
      })
      await visit(at(servers, 0), jar, async (session) => {
        await session.logout()
        session.data.b = 2
        assert.notEqual(session.key, first)
      })
      assert.deepEqual(await readAll(at(servers, 0), jar), { b: 2 })
      await visit(at(servers, 0), jar, (session) => session.logout())
      assert.deepEqual(jar.names, [])
    },
  },
  {
    name: 'regenerate gives a new id and extends nothing',
    async run(servers) {
      const jar = new BrowserJar()
      const before = await visit(at(servers, 0), jar, async (session) => {
        session.data.a = 1
        await session.save()
        return { key: session.key, createdAt: session.createdAt }
      })
      await visit(at(servers, 0), jar, (session) => session.regenerate())
      const after = await visit(at(servers, 0), jar, (session) => ({ key: session.key, createdAt: session.createdAt, a: session.data.a }))
      assert.notEqual(after.key, before.key)
      assert.equal(after.createdAt, before.createdAt)
      assert.equal(after.a, 1)
    },
  },
  {
    name: 'a forged, truncated or foreign root is a new session, without an error',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.secret = 'mine'))
      const header = jar.header as string
      const name = header.slice(0, header.indexOf('='))
      const value = header.slice(name.length + 1).split(';')[0] as string
      const rest = header.slice(name.length + 1 + value.length)
      const spoiled = ['', 'x', value.slice(1), value.slice(0, -1), `${value}A`, value.repeat(60), '%00', '"'.repeat(200)]
      for (let index = 0; index < value.length; index++) {
        const swapped = value[index] === 'A' ? 'B' : 'A'
        spoiled.push(value.slice(0, index) + swapped + value.slice(index + 1))
      }
      for (const text of spoiled) {
        const cookie = `${name}=${text}${rest}`
        const view = { method: 'GET', url: '/', header: (wanted: string) => (wanted === 'cookie' ? cookie : undefined) }
        const { result } = await request(at(servers, 0), view, (session) => [session.isNew, session.data.secret])
        assert.deepEqual(result, [true, undefined], `root ${JSON.stringify(text.slice(0, 80))}`)
      }
    },
  },
  {
    name: "another visitor's notes change nothing",
    async run(servers) {
      const ada = new BrowserJar()
      const eve = new BrowserJar()
      await visit(at(servers, 0), ada, ({ data }) => void (data.secret = 'of ada'))
      await visit(at(servers, 0), eve, ({ data }) => void (data.mine = 'of eve'))
      const [, ...stolen] = (ada.header as string).split('; ')
      const cookie = [eve.header, ...stolen].join('; ')
      const view = { method: 'GET', url: '/', header: (name: string) => (name === 'cookie' ? cookie : undefined) }
      const { result } = await request(at(servers, 0), view, (session) => ({ ...session.data }))
      assert.deepEqual(result, { mine: 'of eve' })
    },
  },
  {
    name: 'one name with two ids is used for neither',
    async run(servers) {
      const one = new BrowserJar()
      const two = new BrowserJar()
      await visit(at(servers, 0), one, ({ data }) => void (data.n = 1))
      await visit(at(servers, 0), two, ({ data }) => void (data.n = 2))
      const cookie = `${one.header}; ${two.header}`
      const view = { method: 'GET', url: '/', header: (name: string) => (name === 'cookie' ? cookie : undefined) }
      const { result } = await request(at(servers, 0), view, (session) => session.isNew)
      assert.equal(result, true)
    },
  },
]
