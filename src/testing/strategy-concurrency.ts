import assert from 'node:assert/strict'
import { BrowserJar } from './browser-jar.ts'
import { at } from './servers.ts'
import type { StrategyCase } from './strategy-contract.ts'
import { readAll, request, visit } from './visit.ts'

const ROUNDS = 40

export const concurrencyCases: readonly StrategyCase[] = [
  {
    name: 'parallel writes to different fields lose none, over several servers, answers in any order',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.start = 0))
      const expected: Record<string, number> = { start: 0 }
      for (let round = 0; round < ROUNDS; round++) {
        const answers = await Promise.all(
          [0, 1, 2, 3].map((tab) => {
            const field = `f${tab}`
            expected[field] = round
            return request(at(servers, tab + round), jar.request(), ({ data }) => void (data[field] = round))
          }),
        )
        for (const answer of round % 2 === 0 ? answers : answers.reverse()) jar.take(answer.cookies)
        assert.deepEqual(await readAll(at(servers, round), jar), expected, `round ${round}`)
      }
    },
  },
  {
    name: 'parallel additions to a counter sum exactly',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, (session) => session.add('visits', 1))
      let expected = 1
      for (let round = 0; round < ROUNDS; round++) {
        const answers = await Promise.all(
          [1, 2, 3].map((by) => request(at(servers, by + round), jar.request(), (session) => session.add('visits', by))),
        )
        for (const answer of answers) jar.take(answer.cookies)
        expected += 6
        assert.equal((await readAll(at(servers, round), jar))?.visits, expected, `round ${round}`)
      }
    },
  },
  ...(['login', 'regenerate'] as const).map(
    (way): StrategyCase => ({
      name: `${way} takes along what parallel requests have stored since it was opened`,
      // Where there is one place that decides: a cookie can only say what its own request brought.
      needs: ['share', 'update'],
      async run(servers) {
        const jar = new BrowserJar()
        await visit(at(servers, 0), jar, ({ data }) => void Object.assign(data, { kept: 1, mine: 1, n: 1, removed: 1 }))
        const slow = await request(at(servers, 0), jar.request(), async (session) => {
          session.data.mine = 2
          session.add('n', 10)
          await visit(at(servers, 0), jar, (other) => {
            other.data.theirs = 3
            other.data.mine = 3
            other.add('n', 100)
            delete other.data.removed
          })
          session.data.saved = 1
          await session.save()
          await (way === 'login' ? session.login('ada') : session.regenerate())
        })
        jar.take(slow.cookies)
        assert.deepEqual(await readAll(at(servers, 1), jar), { kept: 1, mine: 2, n: 111, saved: 1, theirs: 3 })
      },
    }),
  ),
  {
    name: 'what a handler changes while its login is under way is stored, in the new session',
    async run(servers) {
      for (const keep of [true, ['list', 'n']] as const) {
        const jar = new BrowserJar()
        await visit(at(servers, 0), jar, ({ data }) => void Object.assign(data, { a: 1, list: [1], n: 1, removed: 1 }))
        await visit(at(servers, 0), jar, async (session) => {
          const list = session.data.list as number[]
          session.add('n', 10)
          const login = session.login('ada', { keep: keep === true ? true : [...keep] })
          session.data.late = 2
          session.add('n', 100)
          list.push(2)
          delete session.data.removed
          await login
          list.push(3)
        })
        const expected = { ...(keep === true && { a: 1 }), late: 2, list: [1, 2, 3], n: 111 }
        assert.deepEqual(await readAll(at(servers, 0), jar), expected, `keep ${String(keep)}`)
      }
    },
  },
  {
    name: 'a slow reader undoes nothing',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void Object.assign(data, { a: 1, list: [] }))
      const slow = await request(at(servers, 1), jar.request(), async ({ data }) => {
        assert.deepEqual([data.a, data.list], [1, []])
        await visit(at(servers, 2), jar, (session) => void Object.assign(session.data, { a: 2, list: [1] }))
      })
      jar.take(slow.cookies)
      for (const server of servers) assert.deepEqual(await readAll(server, jar), { a: 2, list: [1] })
    },
  },
  {
    name: 'a request reads one moment, whatever others store meanwhile',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void Object.assign(data, { a: 1, b: 1 }))
      await visit(at(servers, 0), jar, async ({ data }) => {
        assert.equal(data.a, 1)
        await visit(at(servers, 0), jar.copy(), (session) => void Object.assign(session.data, { a: 2, b: 2 }))
        assert.equal(data.b, 1)
      })
    },
  },
  {
    name: 'a visitor reads its own writes at every server',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      for (let round = 0; round < 200; round++) {
        await visit(at(servers, round * 7), jar, ({ data }) => void (data.n = round))
        const seen = await visit(at(servers, round * 5 + 1), jar, ({ data }) => data.n)
        assert.equal(seen, round)
      }
    },
  },
  {
    name: 'update is atomic against every other writer',
    needs: ['share', 'update'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.list = []))
      for (let round = 0; round < 10; round++) {
        const answers = await Promise.all(
          [0, 1, 2].map((tab) =>
            request(at(servers, tab), jar.request(), (session) => session.update(({ list }) => void list.push(`${round}.${tab}`))),
          ),
        )
        for (const answer of answers) jar.take(answer.cookies)
      }
      const list = (await readAll(at(servers, 1), jar))?.list as string[]
      assert.equal(list.length, 30)
      assert.equal(new Set(list).size, 30)
    },
  },
]
