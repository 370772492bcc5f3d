import assert from 'node:assert/strict'
import { BrowserJar } from './browser-jar.ts'
import { at } from './servers.ts'
import type { StrategyCase } from './strategy-contract.ts'
import { readAll, visit } from './visit.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

const CLOCKS_DIFFER_MS = 500

export const lifetimeCases: readonly StrategyCase[] = [
  {
    name: 'a session ends idleMs after its last request, not before, on every server',
    needs: ['share'],
    options: { lifetime: { idleMs: 1200, touchEveryMs: 50 } },
    async run(servers) {
      const jar = new BrowserJar()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      for (let step = 0; step < 6; step++) {
        await pause(400)
        assert.deepEqual(await readAll(at(servers, step), jar), { a: 1 }, `used after ${(step + 1) * 400} ms`)
      }
      await pause(1500)
      for (const server of servers) assert.equal(await readAll(server, jar), undefined)
    },
  },
  {
    name: 'a session ends at its absolute end, used or not',
    options: { lifetime: { idleMs: 5000, absoluteMs: 1000, touchEveryMs: 0 } },
    async run(servers) {
      const jar = new BrowserJar()
      const started = Date.now()
      await visit(at(servers, 0), jar, ({ data }) => void (data.a = 1))
      while (Date.now() - started < 600) {
        assert.deepEqual(await readAll(at(servers, 0), jar), { a: 1 })
        await pause(100)
      }
      await pause(1000)
      assert.equal(await readAll(at(servers, 0), jar), undefined)
    },
  },
  {
    name: 'setLifetime with persistence gives a new root that outlives the browser',
    async run(servers) {
      const jar = new BrowserJar()
      const before = await visit(at(servers, 0), jar, (session) => {
        session.data.a = 1
        return session.key
      })
      await visit(at(servers, 0), jar, (session) => session.setLifetime({ idleMs: 86_400_000, absoluteMs: 30 * 86_400_000 }, true))
      await visit(at(servers, 0), jar, (session) => {
        assert.notEqual(session.key, before)
        assert.equal(session.data.a, 1)
        assert.ok(session.expiresAt - Date.now() > 80_000_000)
      })
    },
  },
  {
    name: 'setLifetime may shorten a session where it is',
    async run(servers) {
      const jar = new BrowserJar()
      const before = await visit(at(servers, 0), jar, (session) => {
        session.data.a = 1
        return session.key
      })
      await visit(at(servers, 0), jar, (session) => session.setLifetime({ idleMs: 1_000 }))
      await visit(at(servers, 0), jar, (session) => {
        assert.equal(session.key, before)
        // Servers that go by an agreed time may differ from this clock by what their messages take.
        assert.ok(session.expiresAt - Date.now() <= 1_000 + CLOCKS_DIFFER_MS)
      })
    },
  },
]
