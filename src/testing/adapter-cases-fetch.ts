/** Adapter contract: what only handlers that return a Response can do. */
import assert from 'node:assert/strict'
import { readBack, sessionCookie } from './adapter-bench.ts'
import type { AdapterCase } from './adapter-contract.ts'
import { exchange, headerValues, openConnection, requestText, until } from './raw-http.ts'

const FETCH = ['fetch'] as const

export const fetchCases: readonly AdapterCase[] = [
  {
    name: 'fetch - a streamed body passes through, as without Holdfast',
    kinds: FETCH,
    async run(bench) {
      const parts = ['one', 'two', 'three']
      const { answers, served } = await bench.asWithout(
        {
          fetch: (_request, session) => {
            session.data.item = 'tea'
            const left = [...parts]
            const body = new ReadableStream<Uint8Array>({
              pull(controller) {
                const next = left.shift()
                if (next === undefined) controller.close()
                else controller.enqueue(Buffer.from(next))
              },
            })
            return new Response(body, { headers: { 'Content-Type': 'text/plain' } })
          },
        },
        requestText('/'),
      )
      assert.equal(answers[0]?.body.toString(), 'onetwothree')
      assert.deepEqual(await readBack(served, sessionCookie(answers[0])), { item: 'tea' })
    },
  },
  {
    name: 'fetch - a body is read at the pace of its reader, and cancelled when the client leaves',
    kinds: FETCH,
    async run(bench) {
      let pulled = 0
      let cancelled = false
      const served = await bench.serve({
        fetch: (_request, session) => {
          session.data.item = 'tea'
          const body = new ReadableStream<Uint8Array>(
            {
              pull(controller) {
                pulled++
                controller.enqueue(new Uint8Array(64 * 1024))
              },
              cancel() {
                cancelled = true
              },
            },
            { highWaterMark: 0 },
          )
          return new Response(body)
        },
      })
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => connection.received().length > 0, 'the first bytes')
      connection.socket.pause()
      let before = -1
      await until(() => {
        const still = pulled === before
        before = pulled
        return still
      }, 'the writer to wait')
      connection.socket.destroy()
      await until(() => cancelled, 'the body to be cancelled')
    },
  },
  {
    name: 'fetch - a Response that the application returns again does not gather cookies',
    kinds: FETCH,
    async run(bench) {
      const constant = new Response(null, { status: 204, headers: { 'Set-Cookie': 'a=1' } })
      const served = await bench.serve({
        fetch: (_request, session) => {
          session.data.item = 'tea'
          return constant
        },
      })
      for (let round = 0; round < 3; round++) {
        const [answer] = await exchange(served.port, requestText('/'))
        assert.ok(answer)
        assert.equal(headerValues(answer, 'set-cookie').length, 2)
        sessionCookie(answer)
      }
      assert.deepEqual(constant.headers.getSetCookie(), ['a=1'])
    },
  },
  {
    name: 'fetch - other cookies are kept apart',
    kinds: FETCH,
    async run(bench) {
      const { answers } = await bench.asWithout(
        {
          fetch: (_request, session) => {
            session.data.item = 'tea'
            const headers = new Headers([
              ['Set-Cookie', 'a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT'],
              ['Set-Cookie', 'b=2'],
            ])
            return new Response('x', { headers })
          },
        },
        requestText('/'),
      )
      assert.ok(answers[0])
      assert.equal(headerValues(answers[0], 'set-cookie').length, 3)
    },
  },
]
