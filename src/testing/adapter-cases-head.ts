/** Adapter contract: the head is decided once, waits for the commit and loses nothing. */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { readBack, sessionCookie, setsSessionCookie } from './adapter-bench.ts'
import type { AdapterCase, ContractApp } from './adapter-contract.ts'
import { exchange, header, headerValues, openConnection, requestText, until } from './raw-http.ts'

const BOTH = ['node', 'fetch'] as const
const NODE = ['node'] as const

const json: ContractApp = {
  node: (_request, response, session) => {
    session.data.item = 'tea'
    response.setHeader('Content-Type', 'application/json')
    response.end('{"ok":true}')
  },
  fetch: (_request, session) => {
    session.data.item = 'tea'
    return Response.json({ ok: true })
  },
}

const reading: ContractApp = {
  node: (_request, response, session) => void response.end(String(session.data.item ?? 'nothing')),
  fetch: (_request, session) => new Response(String(session.data.item ?? 'nothing')),
}

/** Writes to the session, then answers as `answer` does: only for adapters that answer through a ServerResponse. */
export function writing(answer: (response: ServerResponse) => void): ContractApp {
  return {
    node: (_request, response, session) => {
      session.data.item = 'tea'
      answer(response)
    },
  }
}

const twoCookies: [string, (response: ServerResponse) => void][] = [
  ['setHeader', (response) => void response.setHeader('Set-Cookie', ['a=1', 'b=2']).end()],
  ['appendHeader', (response) => void response.appendHeader('Set-Cookie', 'a=1').appendHeader('Set-Cookie', 'b=2').end()],
  ['writeHead with an object', (response) => void response.writeHead(200, { 'Set-Cookie': ['a=1', 'b=2'] }).end()],
  ['writeHead with a flat list', (response) => void response.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']).end()],
  [
    'writeHead after setHeader',
    (response) =>
      void response
        .setHeader('X-A', '1')
        .writeHead(200, { 'Set-Cookie': ['a=1', 'b=2'] })
        .end(),
  ],
  [
    'writeHead with pairs',
    (response) => {
      const pairs = [
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ]
      response.writeHead(200, pairs as never).end()
    },
  ],
]

export const headCases: readonly AdapterCase[] = [
  {
    name: 'head - the answer waits until the session is stored',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(json)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1, 'the commit to begin')
      await new Promise((resolve) => setTimeout(resolve, 20))
      assert.equal(connection.received().length, 0, 'no byte leaves before the commit')
      served.control.release()
      const [answer] = await connection.closed()
      assert.deepEqual(await readBack(served, sessionCookie(answer)), { item: 'tea' })
    },
  },
  {
    name: 'head - an answer is as without Holdfast, but for the cookie',
    kinds: BOTH,
    async run(bench) {
      const { answers, served } = await bench.asWithout(json, requestText('/'))
      assert.deepEqual(await readBack(served, sessionCookie(answers[0])), { item: 'tea' })
    },
  },
  {
    name: 'head - a request that only reads is not deferred and sets no cookie',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(reading)
      served.control.hold()
      const [answer] = await exchange(served.port, requestText('/'))
      assert.ok(answer)
      assert.equal(answer.body.toString(), 'nothing')
      assert.equal(setsSessionCookie(answer), false)
      assert.match(header(answer, 'vary') ?? '', /\bCookie$/)
      assert.equal(served.control.begun, 0)
    },
  },
  {
    name: 'head - a request that does not look at the session is as without Holdfast',
    kinds: BOTH,
    async run(bench) {
      const app: ContractApp = {
        node: (_request, response) => void response.writeHead(200, { 'Content-Type': 'text/plain' }).end('plain'),
        fetch: () => new Response('plain'),
      }
      const { answers } = await bench.asWithout(app, requestText('/'))
      assert.doesNotMatch(header(answers[0] as never, 'vary') ?? '', /cookie/i)
    },
  },
  {
    name: 'head - a redirect carries the cookie',
    kinds: BOTH,
    async run(bench) {
      const app: ContractApp = {
        ...writing((response) => void response.writeHead(302, { Location: '/next' }).end()),
        fetch: (_request, session) => {
          session.data.item = 'tea'
          return Response.redirect('http://127.0.0.1/next', 302)
        },
      }
      const { answers, served } = await bench.asWithout(app, requestText('/', { method: 'POST', headers: { 'Content-Length': '0' } }))
      assert.equal(answers[0]?.status, 302)
      assert.deepEqual(await readBack(served, sessionCookie(answers[0])), { item: 'tea' })
    },
  },
  {
    name: 'head - HEAD sends the head alone',
    kinds: BOTH,
    async run(bench) {
      const { answers } = await bench.asWithout(json, requestText('/', { method: 'HEAD' }))
      sessionCookie(answers[0])
    },
  },
  {
    name: 'head - 304 and 204 have no body and carry the cookie',
    kinds: BOTH,
    async run(bench) {
      for (const status of [304, 204]) {
        const app: ContractApp = {
          ...writing((response) => void response.writeHead(status, { ETag: '"1"' }).end()),
          fetch: (_request, session) => {
            session.data.item = 'tea'
            return new Response(null, { status, headers: { ETag: '"1"' } })
          },
        }
        const { answers } = await bench.asWithout(app, requestText('/'))
        sessionCookie(answers[0])
      }
    },
  },
  {
    name: 'head - an error page commits too',
    kinds: BOTH,
    async run(bench) {
      const app: ContractApp = {
        ...writing((response) => void response.writeHead(500, 'Broken').end('sorry')),
        fetch: (_request, session) => {
          session.data.item = 'tea'
          return new Response('sorry', { status: 500 })
        },
      }
      const { answers, served } = await bench.asWithout(app, requestText('/'))
      assert.equal(answers[0]?.status, 500)
      assert.deepEqual(await readBack(served, sessionCookie(answers[0])), { item: 'tea' })
    },
  },
  {
    name: 'head - what the application set as Vary and Cache-Control is joined and replaced',
    kinds: BOTH,
    async run(bench) {
      for (const [vary, expected] of [
        ['Accept-Encoding', 'Accept-Encoding, Cookie'],
        ['accept-encoding, cookie', 'accept-encoding, cookie'],
        ['*', '*'],
      ] as const) {
        const app: ContractApp = {
          ...writing((response) => {
            response.setHeader('Vary', vary)
            response.setHeader('Cache-Control', 'public, max-age=60')
            response.end('x')
          }),
          fetch: (_request, session) => {
            session.data.item = 'tea'
            return new Response('x', { headers: { Vary: vary, 'Cache-Control': 'public, max-age=60' } })
          },
        }
        const served = await bench.serve(app)
        const [answer] = await exchange(served.port, requestText('/'))
        assert.ok(answer)
        assert.equal(header(answer, 'vary'), expected)
        assert.equal(header(answer, 'cache-control'), 'no-store')
      }
    },
  },
  ...twoCookies.map(
    ([name, answer]): AdapterCase => ({
      name: `head - other cookies are kept: ${name}`,
      kinds: NODE,
      async run(bench) {
        const { answers } = await bench.asWithout(writing(answer), requestText('/'))
        sessionCookie(answers[0])
      },
    }),
  ),
  {
    name: 'head - a list of cookies that the application keeps for every answer does not grow',
    kinds: NODE,
    async run(bench) {
      const constant = ['a=1']
      const served = await bench.serve(writing((response) => void response.setHeader('Set-Cookie', constant).end()))
      for (let round = 0; round < 3; round++) {
        const [answer] = await exchange(served.port, requestText('/'))
        assert.ok(answer)
        assert.equal(headerValues(answer, 'set-cookie').length, 2)
      }
      assert.deepEqual(constant, ['a=1'])
    },
  },
  {
    name: 'head - it is frozen while the commit is under way',
    kinds: NODE,
    async run(bench) {
      const seen: string[] = []
      const attempt = (action: () => unknown): void => {
        try {
          action()
          seen.push('done')
        } catch (error) {
          seen.push(String((error as { code?: string }).code))
        }
      }
      const app = writing((response) => {
        response.statusCode = 201
        response.setHeader('X-Kept', 'yes')
        response.end('answer')
        seen.push(String(response.headersSent), String(response.writableEnded))
        attempt(() => response.setHeader('X-Late', '1'))
        attempt(() => response.appendHeader('X-Late', '1'))
        attempt(() => response.removeHeader('X-Kept'))
        attempt(() => response.writeHead(404))
        attempt(() => response.flushHeaders())
        response.statusCode = 404
      })
      const { answers } = await bench.asWithout(app, requestText('/'))
      const [bare, held] = [seen.slice(0, 7), seen.slice(7)]
      assert.deepEqual(held, bare)
      assert.deepEqual(held.slice(0, 3), ['true', 'true', 'ERR_HTTP_HEADERS_SENT'])
      assert.equal(answers[0]?.status, 201)
    },
  },
  {
    name: 'head - an invalid header is refused where it is given, and another answer can be made',
    kinds: NODE,
    async run(bench) {
      const app = writing((response) => {
        try {
          response.writeHead(200, { 'X-Bad': 'a\nb' })
        } catch {
          response.writeHead(400)
        }
        response.end('answer')
      })
      const { answers } = await bench.asWithout(app, requestText('/'))
      assert.equal(answers[0]?.status, 400)
      sessionCookie(answers[0])
    },
  },
  {
    name: 'head - informational answers pass at once',
    kinds: NODE,
    async run(bench) {
      const app = writing((response) => {
        response.writeContinue()
        response.writeEarlyHints({ link: '</style.css>; rel=preload' })
        response.writeProcessing()
        response.end('answer')
      })
      const { answers } = await bench.asWithout(app, requestText('/'))
      assert.deepEqual(
        answers.map((answer) => answer.status),
        [100, 103, 102, 200],
      )
      const served = await bench.serve(app)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => connection.received().includes(' 102 '), 'the informational answers')
      assert.equal(connection.received().includes(' 200 '), false)
      served.control.release()
      await connection.closed()
    },
  },
  {
    name: 'head - what getHeader tells after the answer includes the cookie',
    kinds: NODE,
    async run(bench) {
      let told: unknown
      const served = await bench.serve(
        writing((response) => {
          response.on('finish', () => {
            told = response.getHeader('set-cookie')
          })
          response.end()
        }),
      )
      await exchange(served.port, requestText('/'))
      assert.ok(Array.isArray(told) && told.length === 1)
    },
  },
]
