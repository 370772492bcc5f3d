/** Adapter contract: clients that leave, stay, or send several requests at once. */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { comparable, sessionCookie, storedCount } from './adapter-bench.ts'
import { writing } from './adapter-cases-head.ts'
import type { AdapterCase, ContractApp } from './adapter-contract.ts'
import { exchange, openConnection, requestText, until } from './raw-http.ts'

const BOTH = ['node', 'fetch'] as const
const NODE = ['node'] as const

const counting: ContractApp = {
  node: (request, response, session) => {
    session.data.path = request.url
    response.end(`answer to ${request.url}`)
  },
  fetch: (request, session) => {
    const { pathname } = new URL(request.url)
    session.data.path = pathname
    return new Response(`answer to ${pathname}`)
  },
}

export const clientCases: readonly AdapterCase[] = [
  {
    name: 'client - a commit whose client has left still completes',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(counting)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1, 'the commit to begin')
      connection.socket.destroy()
      await connection.closed()
      served.control.release()
      await until(() => served.control.stored === 1, 'the commit to complete')
      assert.equal(await storedCount(served), 1)
    },
  },
  {
    name: 'client - it leaves during a commit that fails: nothing crashes',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(counting)
      served.control.hold()
      served.control.failure = new Error('not stored')
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1, 'the commit to begin')
      connection.socket.destroy()
      await connection.closed()
      served.control.release()
      await until(() => served.logged.length > 0, 'the failure to be reported')
      assert.equal(await storedCount(served), 0)
    },
  },
  {
    name: 'client - it leaves before the handler answers: what the handler did is stored',
    kinds: NODE,
    async run(bench) {
      let answer: ServerResponse | undefined
      let closed = false
      const app = writing((response) => {
        answer = response
        response.on('close', () => {
          closed = true
        })
      })
      const served = await bench.serve(app)
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => answer !== undefined, 'the handler to run')
      connection.socket.destroy()
      await until(() => closed, 'the server to see it')
      assert.equal(served.control.begun, 0)
      answer?.setHeader('X-Late', '1')
      answer?.end('nobody reads this')
      await until(() => served.control.stored === 1, 'the commit to complete')
      assert.equal(await storedCount(served), 1)
    },
  },
  {
    name: 'client - a request that is never answered stores nothing',
    kinds: NODE,
    async run(bench) {
      let closed = false
      const app = writing((response) => {
        response.on('close', () => {
          closed = true
        })
      })
      const served = await bench.serve(app)
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => connection.received().length === 0 && served.events.length === 0, 'the request to be under way')
      await new Promise((resolve) => setTimeout(resolve, 20))
      connection.socket.destroy()
      await until(() => closed, 'the server to see it')
      assert.equal(served.control.begun, 0)
      assert.equal(await storedCount(served), 0)
    },
  },
  {
    name: 'client - requests on one connection, one after the other',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve(counting)
      const connection = await openConnection(served.port)
      for (const path of ['/1', '/2']) {
        connection.send(requestText(path, { keepAlive: true }))
        await until(() => connection.received().includes(`answer to ${path}`), 'the answer')
      }
      connection.send(requestText('/3'))
      const answers = await connection.closed()
      assert.deepEqual(
        answers.map((answer) => answer.body.toString()),
        ['answer to /1', 'answer to /2', 'answer to /3'],
      )
      assert.equal(new Set(answers.map(sessionCookie)).size, 3)
    },
  },
  {
    name: 'client - pipelined requests are answered whole and in order, as without Holdfast',
    kinds: BOTH,
    async run(bench) {
      const text = [requestText('/1', { keepAlive: true }), requestText('/2', { keepAlive: true }), requestText('/3')].join('')
      const { answers } = await bench.asWithout(counting, text)
      assert.deepEqual(
        answers.map((answer) => answer.body.toString()),
        ['answer to /1', 'answer to /2', 'answer to /3'],
      )
      assert.equal(new Set(answers.map(sessionCookie)).size, 3)
    },
  },
  {
    name: 'client - of pipelined requests one only reads, one is not stored, one is',
    kinds: NODE,
    async run(bench) {
      const app: ContractApp = {
        node: (request, response, session) => {
          if (request.url !== '/2') session.data.path = request.url
          response.end(`answer to ${request.url}`)
        },
      }
      const bare = await bench.serveBare(app)
      const served = await bench.serve(app)
      served.control.hold()
      served.control.failure = new Error('not stored')
      const connection = await openConnection(served.port)
      connection.send([requestText('/1', { keepAlive: true }), requestText('/2', { keepAlive: true }), requestText('/3')].join(''))
      await until(() => served.control.begun === 2, 'the commits to begin')
      assert.equal(connection.received().length, 0, 'the second answer does not overtake the first')
      served.control.release()
      const answers = await connection.closed()
      assert.deepEqual(
        answers.map((answer) => answer.status),
        [500, 200, 500],
      )
      const [alone] = await exchange(bare.port, requestText('/2', { keepAlive: true }) + requestText('/x'))
      assert.deepEqual(comparable(answers[1] as never), comparable(alone as never))
    },
  },
]
