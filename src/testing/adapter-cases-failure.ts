/** Adapter contract: a session that cannot be stored or opened, and handlers that fail. */
import assert from 'node:assert/strict'
import { SessionError } from '../errors.ts'
import { readBack, sessionCookie, setsSessionCookie, storedCount } from './adapter-bench.ts'
import { writing } from './adapter-cases-head.ts'
import type { AdapterCase, ContractApp } from './adapter-contract.ts'
import { exchange, header, openConnection, type RawAnswer, requestText, until } from './raw-http.ts'

const BOTH = ['node', 'fetch'] as const
const NODE = ['node'] as const

const answering: ContractApp = {
  node: (_request, response, session) => {
    session.data.item = 'tea'
    response.writeHead(201, { 'X-Handler': 'yes', 'Set-Cookie': 'a=1', 'Content-Type': 'text/plain' })
    response.end('the answer of the handler')
  },
  fetch: (_request, session) => {
    session.data.item = 'tea'
    return new Response('the answer of the handler', { status: 201, headers: { 'X-Handler': 'yes', 'Set-Cookie': 'a=1' } })
  },
}

function unavailable(): SessionError {
  return new SessionError('STORE_UNAVAILABLE', 'The store did not answer: try again.', { headers: { 'retry-after': '2' } })
}

function isDefaultAnswer(answer: RawAnswer | undefined): void {
  assert.ok(answer)
  assert.equal(answer.status, 503)
  assert.equal(header(answer, 'retry-after'), '2')
  assert.equal(header(answer, 'cache-control'), 'no-store')
  assert.match(header(answer, 'content-type') ?? '', /^application\/json/)
  assert.equal(header(answer, 'x-handler'), undefined, "the handler's headers are dropped")
  assert.equal(header(answer, 'set-cookie'), undefined, 'no cookie is set')
}

const WANTED = { error: { code: 'STORE_UNAVAILABLE', message: 'The store did not answer: try again.' } }

export const failureCases: readonly AdapterCase[] = [
  {
    name: 'failure - a session that is not stored is an error answer, and nothing of the handler leaves',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(answering)
      served.control.failure = unavailable()
      const [answer] = await exchange(served.port, requestText('/'))
      isDefaultAnswer(answer)
      assert.deepEqual(JSON.parse(answer?.body.toString() ?? ''), WANTED)
    },
  },
  {
    name: 'failure - the connection goes on with the next request',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(answering)
      served.control.failure = unavailable()
      const connection = await openConnection(served.port)
      connection.send(requestText('/', { keepAlive: true }))
      await until(() => connection.received().includes('try again'), 'the error answer')
      served.control.failure = undefined
      connection.send(requestText('/'))
      const [first, second] = await connection.closed()
      isDefaultAnswer(first)
      assert.equal(second?.status, 201)
      sessionCookie(second)
    },
  },
  {
    name: 'failure - HEAD is answered without a body',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(answering)
      served.control.failure = unavailable()
      isDefaultAnswer((await exchange(served.port, requestText('/', { method: 'HEAD' })))[0])
    },
  },
  {
    name: 'failure - onCommitError makes the answer',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(answering, {
        onCommitError: () => ({ status: 507, headers: { 'Content-Type': 'text/plain', 'Retry-After': '9' }, body: 'later, please' }),
      })
      served.control.failure = unavailable()
      const [answer] = await exchange(served.port, requestText('/'))
      assert.ok(answer)
      assert.equal(answer.status, 507)
      assert.equal(answer.body.toString(), 'later, please')
      assert.equal(header(answer, 'retry-after'), '9')
      assert.equal(header(answer, 'content-type'), 'text/plain')
      assert.equal(header(answer, 'x-handler'), undefined)
    },
  },
  {
    name: 'failure - an onCommitError that throws or gives no valid answer is replaced by the default',
    kinds: BOTH,
    async run(bench) {
      const wrong: (() => never)[] = [
        () => {
          throw new Error('in onCommitError')
        },
        () => ({ status: 42 }) as never,
        () => ({ status: 503, headers: { 'X-Bad': 'a\r\nSet-Cookie: b=1' } }) as never,
      ]
      for (const onCommitError of wrong) {
        const served = await bench.serve(answering, { onCommitError })
        served.control.failure = unavailable()
        isDefaultAnswer((await exchange(served.port, requestText('/')))[0])
        assert.ok(served.logged.length > 0, 'it is reported')
      }
    },
  },
  {
    name: 'failure - an unexpected error answers 500 and does not show its message',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(answering)
      served.control.failure = new Error('internal detail')
      const [answer] = await exchange(served.port, requestText('/'))
      assert.equal(answer?.status, 500)
      assert.equal(answer.body.includes('internal detail'), false)
      assert.ok(served.logged.length > 0, 'it is reported')
    },
  },
  {
    name: 'failure - a handler that is still writing is cut off, and its callbacks are called',
    kinds: NODE,
    async run(bench) {
      const heard: string[] = []
      let more: (() => void) | undefined
      const app = writing((response) => {
        response.on('close', () => heard.push('close'))
        response.write('part of the answer', () => heard.push('written'))
        more = () => void response.write('more')
      })
      const served = await bench.serve(app)
      served.control.failure = unavailable()
      const connection = await openConnection(served.port)
      connection.send(requestText('/', { keepAlive: true }))
      const [answer] = await connection.closed()
      more?.()
      isDefaultAnswer(answer)
      assert.equal(header(answer as RawAnswer, 'connection'), 'close')
      assert.equal(connection.received().includes('part of the answer'), false)
      await until(() => heard.includes('written') && heard.includes('close'), 'the handler to hear of it')
      more?.()
    },
  },
  {
    name: 'failure - a session that cannot be opened is answered before the handler runs',
    kinds: BOTH,
    async run(bench) {
      let ran = false
      const served = await bench.serve({
        node: (_request, response) => {
          ran = true
          response.end()
        },
        fetch: () => {
          ran = true
          return new Response()
        },
      })
      await served.sessions.close()
      const [answer] = await exchange(served.port, requestText('/'))
      assert.equal(answer?.status, 503)
      assert.equal(ran, false)
    },
  },
  {
    name: 'failure - a handler that throws before it answers: 500, and what it changed is stored',
    kinds: NODE,
    async run(bench) {
      const served = await bench.serve(
        writing((response) => {
          response.setHeader('X-Handler', 'yes')
          throw new Error('in the handler')
        }),
      )
      const [answer] = await exchange(served.port, requestText('/'))
      assert.equal(answer?.status, 500)
      assert.deepEqual(await readBack(served, sessionCookie(answer)), { item: 'tea' })
    },
  },
  {
    name: 'failure - a handler that throws after its whole answer: that answer leaves whole, and no second one',
    kinds: NODE,
    async run(bench) {
      const app = writing((response) => {
        response.end('the answer')
        throw new Error('after the answer')
      })
      const served = await bench.serve(app)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1, 'the commit to begin')
      // Time for a framework to destroy the socket.
      await new Promise((resolve) => setTimeout(resolve, 20))
      served.control.release()
      const [answer, ...more] = await connection.closed()
      assert.equal(answer?.status, 200)
      assert.equal(answer.body.toString(), 'the answer')
      assert.equal(answer.whole, true)
      assert.equal(more.length, 0)
      assert.deepEqual(await readBack(served, sessionCookie(answer)), { item: 'tea' })
    },
  },
  {
    name: 'failure - a handler that throws within its answer: the connection ends, what was changed is stored',
    kinds: NODE,
    async run(bench) {
      const app = writing((response) => {
        response.write('part of the answer')
        throw new Error('within the answer')
      })
      const served = await bench.serve(app)
      const connection = await openConnection(served.port)
      connection.send(requestText('/', { keepAlive: true }))
      const answers = await connection.closed()
      assert.ok(answers.every((answer) => !answer.whole))
      await until(() => served.control.stored === 1, 'the commit to complete')
      assert.equal(await storedCount(served), 1)
    },
  },
  {
    name: 'failure - an exception of the handler is passed on and stores nothing',
    kinds: ['fetch'],
    async run(bench) {
      const served = await bench.serve({
        fetch: (_request, session) => {
          session.data.item = 'tea'
          throw new Error('in the handler')
        },
      })
      const [answer] = await exchange(served.port, requestText('/'))
      assert.ok(answer)
      assert.equal(answer.status, 500)
      assert.equal(setsSessionCookie(answer), false)
      assert.equal(served.control.begun, 0)
    },
  },
]
