import assert from 'node:assert/strict'
import { SessionError } from '../errors.ts'
import { BrowserJar } from './browser-jar.ts'
import type { StrategyCase } from './strategy-contract.ts'
import { at } from './servers.ts'
import { readAll, request, visit } from './visit.ts'

export const dataCases: readonly StrategyCase[] = [
  {
    name: 'a request that only reads creates nothing and sets no cookie',
    async run(servers) {
      const { cookies, result } = await request(at(servers, 0), new BrowserJar().request(), (session) => [
        session.isNew,
        session.data.nothing,
      ])
      assert.deepEqual(result, [true, undefined])
      assert.deepEqual(cookies, [])
    },
  },
  {
    name: 'what one server stored, every server reads',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(
        at(servers, 0),
        jar,
        ({ data }) => void Object.assign(data, { text: 'grün "x"; \u{1F33F}', list: [1, { a: null }], yes: true }),
      )
      for (const server of servers)
        assert.deepEqual(await readAll(server, jar), { text: 'grün "x"; \u{1F33F}', list: [1, { a: null }], yes: true })
    },
  },
  {
    name: 'a value changed in place is stored, an untouched one is not',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void Object.assign(data, { cart: ['a'], other: { n: 1 } }))
      await visit(at(servers, 0), jar, ({ data }) => void data.cart.push('b'))
      assert.deepEqual(await readAll(at(servers, 0), jar), { cart: ['a', 'b'], other: { n: 1 } })
      const { cookies } = await request(at(servers, 0), jar.request(), ({ data }) => data.cart.length)
      assert.deepEqual(cookies, [], 'a plain read in steady state sets no cookie')
    },
  },
  {
    name: 'defaults fill what is absent, and a removed field stays removed',
    options: { initial: () => ({ visits: 0, theme: 'light', cart: [] }) },
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => {
        assert.equal(data.theme, 'light')
        data.cart.push('a')
      })
      await visit(at(servers, 0), jar, ({ data }) => {
        assert.deepEqual(data.cart, ['a'])
        assert.equal(data.theme, 'light')
        delete data.theme
      })
      await visit(at(servers, 0), jar, ({ data }) => assert.equal('theme' in data, false))
      await visit(at(servers, 0), jar, (session) => session.add('visits', 2))
      assert.deepEqual(await readAll(at(servers, 0), jar), { visits: 2, cart: ['a'] })
    },
  },
  {
    name: 'a field may have any name',
    async run(servers) {
      const jar = new BrowserJar()
      const names = ['__proto__', 'constructor', 'toString', 'a:b', 'a.b', 'ü'.repeat(64), ' ', '0']
      await visit(at(servers, 0), jar, ({ data }) => names.forEach((name, index) => Object.defineProperty(data, name, { value: index })))
      await visit(at(servers, 0), jar, ({ data }) => {
        assert.deepEqual(Object.keys(data).sort(), [...names].sort())
        names.forEach((name, index) => assert.equal(Object.getOwnPropertyDescriptor(data, name)?.value, index))
        assert.equal(({} as Record<string, unknown>).polluted, undefined)
      })
    },
  },
  {
    name: 'a value that cannot be stored is refused by its path and nothing is stored',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.good = 1))
      const refused = await visit(
        at(servers, 0),
        jar,
        ({ data }) => void Object.assign(data, { good: 2, bad: { inner: [() => 1] } }),
      ).catch((error: unknown) => error)
      assert.ok(SessionError.is(refused) && refused.code === 'FIELD_INVALID' && refused.message.includes('bad.inner[0]'))
      assert.deepEqual(await readAll(at(servers, 0), jar), { good: 1 })
    },
  },
  {
    name: 'take reads once',
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.flash = 'saved'))
      assert.equal(await visit(at(servers, 0), jar, (session) => session.take('flash')), 'saved')
      assert.equal(await visit(at(servers, 0), jar, (session) => session.take('flash')), undefined)
    },
  },
  {
    name: 'save stores at once, and what follows is stored with the answer',
    needs: ['share'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, async (session) => {
        session.data.list = [1]
        const { list } = session.data
        await session.save()
        list.push(2)
        session.data.after = true
      })
      assert.deepEqual(await readAll(at(servers, 1), jar), { list: [1, 2], after: true })
    },
  },
  {
    name: 'reload forgets what was not saved and sees what others stored',
    needs: ['end', 'share', 'know'],
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      await visit(at(servers, 0), jar, async (session) => {
        session.data.a = 'unsaved'
        await visit(at(servers, 0), jar.copy(), ({ data }) => void (data.b = 2))
        await session.reload()
        assert.deepEqual({ ...session.data }, { a: 1, b: 2 })
      })
      assert.deepEqual(await readAll(at(servers, 1), jar), { a: 1, b: 2 })
    },
  },
]
