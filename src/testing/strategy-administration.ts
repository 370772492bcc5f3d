import assert from 'node:assert/strict'
import type { SessionSummary } from '../types.ts'
import { BrowserJar } from './browser-jar.ts'
import { at } from './servers.ts'
import type { StrategyCase } from './strategy-contract.ts'
import { type Data, readAll, visit } from './visit.ts'
import type { Sessions } from '../types.ts'

const DEADLINE_MS = 10_000

async function keysOf(server: Sessions<Data>, userId: string): Promise<string[]> {
  const found: SessionSummary[] = []
  for await (const summary of server.list({ userId })) found.push(summary)
  return found.map((summary) => summary.key).sort()
}

async function loggedIn(server: Sessions<Data>, userId: string): Promise<{ jar: BrowserJar; key: string }> {
  const jar = new BrowserJar()
  const key = await visit(server, jar, async (session) => {
    await session.login(userId)
    return session.key
  })
  return { jar, key }
}

export const administrationCases: readonly StrategyCase[] = [
  {
    name: 'create makes a session that a request can use',
    async run(servers) {
      const created = await at(servers, 0).create({ userId: 'ada', data: { a: 1 } })
      const view = { method: 'GET', url: '/', header: (name: string) => (name === 'cookie' ? created.cookie : undefined) }
      const open = await at(servers, 0).open(view)
      assert.deepEqual([open.session.key, open.session.userId, open.session.data.a], [created.key, 'ada', 1])
      open.end()
    },
  },
  {
    name: "list finds a user's sessions, get shows one",
    needs: ['share', 'list'],
    async run(servers) {
      const one = await loggedIn(at(servers, 0), 'ada')
      const two = await loggedIn(at(servers, 1), 'ada')
      await loggedIn(at(servers, 2), 'bob')
      assert.deepEqual(await keysOf(at(servers, 2), 'ada'), [one.key, two.key].sort())
      assert.equal((await at(servers, 2).get(one.key))?.userId, 'ada')
      assert.equal(await at(servers, 2).get('A'.repeat(43)), undefined)
    },
  },
  {
    name: "revoke ends a session on every server, if it is the user's",
    needs: ['share', 'revoke'],
    async run(servers) {
      const { jar, key } = await loggedIn(at(servers, 0), 'ada')
      await at(servers, 1).revoke(key, { userId: 'bob' })
      assert.deepEqual(await readAll(at(servers, 2), jar), {})
      assert.equal(await at(servers, 1).revoke(key, { userId: 'ada' }), true)
      for (const server of servers) assert.equal(await readAll(server, jar.copy()), undefined)
    },
  },
  {
    name: "revokeUser ends all of a user's sessions but the one kept",
    needs: ['share', 'revokeUser'],
    async run(servers) {
      const kept = await loggedIn(at(servers, 0), 'ada')
      const one = await loggedIn(at(servers, 1), 'ada')
      const two = await loggedIn(at(servers, 2), 'ada')
      const bob = await loggedIn(at(servers, 2), 'bob')
      await at(servers, 1).revokeUser('ada', { except: kept.key })
      for (const server of servers) {
        for (const { jar } of [one, two]) assert.equal(await readAll(server, jar.copy()), undefined)
        for (const { jar } of [kept, bob]) assert.deepEqual(await readAll(server, jar.copy()), {})
      }
    },
  },
  {
    name: 'revoke and revokeUser tell what they ended',
    needs: ['share', 'revoke', 'revokeUser', 'know'],
    async run(servers) {
      const one = await loggedIn(at(servers, 0), 'ada')
      const kept = await loggedIn(at(servers, 1), 'ada')
      await loggedIn(at(servers, 2), 'ada')
      assert.equal(await at(servers, 1).revoke(one.key, { userId: 'bob' }), false)
      assert.equal(await at(servers, 1).revokeUser('ada', { except: kept.key }), 2)
      assert.equal(await at(servers, 2).revokeUser('bob'), 0)
      assert.equal(await at(servers, 0).revoke(one.key), false)
      assert.equal(await at(servers, 0).revoke(kept.key), true)
    },
  },
  {
    name: "a revoked session's signal aborts on the server that revokes it",
    needs: ['revoke'],
    async run(servers) {
      const { jar, key } = await loggedIn(at(servers, 0), 'ada')
      const open = await at(servers, 0).open(jar.request())
      const { signal } = open.session
      assert.equal(signal.aborted, false)
      const aborted = new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => resolve())
        setTimeout(() => reject(new Error('the signal did not abort')), DEADLINE_MS).unref()
      })
      await at(servers, 0).revoke(key)
      await aborted
      open.end()
    },
  },
]
