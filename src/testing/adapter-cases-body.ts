/** Adapter contract: bodies arrive byte-exact, with node's own framing, backpressure and events. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { readBack, sessionCookie } from './adapter-bench.ts'
import { writing } from './adapter-cases-head.ts'
import type { AdapterCase } from './adapter-contract.ts'
import { exchange, openConnection, type RequestOptions, requestText, until } from './raw-http.ts'

const BOTH = ['node', 'fetch'] as const
const NODE = ['node'] as const
const CHUNK = 64 * 1024

/** Answers whose bytes must be those of the same server without Holdfast. */
const shapes: [name: string, answer: (response: ServerResponse) => void][] = [
  ['end without a body', (response) => void response.end()],
  ['end with text', (response) => void response.end('grüße', 'utf8')],
  ['end with bytes', (response) => void response.end(Buffer.from([0, 255, 10, 13]))],
  ['end with base64', (response) => void response.end('AAEC', 'base64')],
  [
    'several writes',
    (response) => {
      response.write('one')
      response.write(Buffer.from('two'))
      response.end('three')
    },
  ],
  [
    'writes with a content length',
    (response) => {
      response.setHeader('Content-Length', 6)
      response.write('one')
      response.end('two')
    },
  ],
  [
    'writes later',
    (response) => {
      response.write('one')
      setImmediate(() => {
        response.write('two')
        setImmediate(() => response.end('three'))
      })
    },
  ],
  [
    'corked writes',
    (response) => {
      response.write('zero')
      response.cork()
      response.write('one')
      response.write('two')
      response.uncork()
      response.end('three')
    },
  ],
  [
    'trailers',
    (response) => {
      response.writeHead(200, { Trailer: 'X-Sum' })
      response.write('one')
      response.addTrailers({ 'X-Sum': '1' })
      response.end()
    },
  ],
  ['a pipe', (response) => void Readable.from(['one', 'two', 'three']).pipe(response)],
  ['a file', (response) => void createReadStream(fileURLToPath(import.meta.url)).pipe(response)],
  ['a pipeline', (response) => void pipeline(createReadStream(fileURLToPath(import.meta.url)), response, () => undefined)],
  [
    'two ends',
    (response) => {
      response.end('first')
      response.end()
    },
  ],
]

export const bodyCases: readonly AdapterCase[] = [
  ...shapes.map(
    ([name, answer]): AdapterCase => ({
      name: `body - as without Holdfast: ${name}`,
      kinds: NODE,
      async run(bench) {
        const ways: RequestOptions[] = name === 'trailers' ? [{}] : [{}, { version: '1.0' }, { method: 'HEAD' }]
        for (const text of ways.map((way) => requestText('/', way))) {
          const { answers, served } = await bench.asWithout(writing(answer), text)
          assert.deepEqual(await readBack(served, sessionCookie(answers[0])), { item: 'tea' })
        }
      },
    }),
  ),
  {
    name: 'body - callbacks and events come in the same order as without Holdfast',
    kinds: NODE,
    async run(bench) {
      const orders: string[][] = []
      const app = writing((response) => {
        const order: string[] = []
        orders.push(order)
        for (const event of ['prefinish', 'finish', 'close'] as const) response.on(event, () => order.push(event))
        response.write('one', () => order.push('written'))
        response.end('two', () => order.push('ended'))
      })
      await bench.asWithout(app, requestText('/'))
      await until(() => orders.length === 2 && orders.every((order) => order.includes('close')), 'both answers to close')
      assert.deepEqual(orders[1], orders[0])
    },
  },
  {
    name: 'body - a large answer keeps its bytes, and its writer waits for drain',
    kinds: NODE,
    async run(bench) {
      let heldBytes = 0
      const app = writing((response) => {
        let sent = 0
        const more = (): void => {
          while (sent < 60) {
            const goOn = response.write(Buffer.alloc(CHUNK, sent++ % 251))
            if (heldBytes === 0 && !goOn) heldBytes = response.writableLength
            if (!goOn) return void response.once('drain', more)
          }
          response.end()
        }
        more()
      })
      const served = await bench.serve(app)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1 && heldBytes > 0, 'the writer to wait')
      assert.ok(heldBytes <= 4 * CHUNK, `what waits is bounded (${heldBytes} bytes)`)
      served.control.release()
      const [answer] = await connection.closed()
      const expected = createHash('sha256')
      for (let index = 0; index < 60; index++) expected.update(Buffer.alloc(CHUNK, index % 251))
      assert.ok(answer?.whole)
      assert.equal(createHash('sha256').update(answer.body).digest('hex'), expected.digest('hex'))
    },
  },
  {
    name: 'body - server-sent events: flushHeaders sends the head once stored, events follow as they are written',
    kinds: NODE,
    async run(bench) {
      let stream: ServerResponse | undefined
      const app = writing((response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' })
        response.flushHeaders()
        stream = response
      })
      const served = await bench.serve(app)
      served.control.hold()
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => served.control.begun === 1, 'the commit to begin')
      assert.equal(connection.received().length, 0)
      served.control.release()
      await until(() => connection.received().includes('text/event-stream'), 'the head')
      stream?.write('data: 1\n\n')
      await until(() => connection.received().includes('data: 1'), 'the event')
      stream?.end('data: 2\n\n')
      const [answer] = await connection.closed()
      assert.equal(answer?.body.toString(), 'data: 1\n\ndata: 2\n\n')
      sessionCookie(answer)
    },
  },
  {
    name: 'body - a change after the head is reported as a late write and not stored',
    kinds: BOTH,
    async run(bench) {
      let change: (() => void) | undefined
      const served = await bench.serve({
        node: (_request, response, session) => {
          session.data.item = 'tea'
          response.write('one')
          change = () => {
            session.data.item = 'coffee'
            response.end()
          }
        },
        fetch: (_request, session) => {
          session.data.item = 'tea'
          const body = new ReadableStream<Uint8Array>({
            start(controller) {
              controller.enqueue(Buffer.from('one'))
              change = () => {
                session.data.item = 'coffee'
                controller.close()
              }
            },
          })
          return new Response(body)
        },
      })
      const connection = await openConnection(served.port)
      connection.send(requestText('/'))
      await until(() => connection.received().includes('one'), 'the first bytes')
      change?.()
      const [answer] = await connection.closed()
      await until(() => served.events.some((event) => event.type === 'lateWrite'), 'the event')
      assert.deepEqual(await readBack(served, sessionCookie(answer)), { item: 'tea' })
    },
  },
  {
    name: 'body - a change while the answer waits for its commit is reported as a late write',
    kinds: NODE,
    async run(bench) {
      const served = await bench.serve({
        node: (_request, response, session) => {
          session.data.item = 'tea'
          response.end('answer')
          session.data.item = 'coffee'
        },
      })
      const [answer] = await exchange(served.port, requestText('/'))
      await until(() => served.events.some((event) => event.type === 'lateWrite'), 'the event')
      assert.deepEqual(await readBack(served, sessionCookie(answer)), { item: 'tea' })
    },
  },
  {
    name: 'body - many answers at once each carry their own session',
    kinds: BOTH,
    async run(bench) {
      const served = await bench.serve({
        node: (request, response, session) => {
          session.data.path = request.url
          response.end(request.url)
        },
        fetch: (request, session) => {
          const { pathname } = new URL(request.url)
          session.data.path = pathname
          return new Response(pathname)
        },
      })
      const paths = Array.from({ length: 20 }, (_, index) => `/${index}`)
      await Promise.all(
        paths.map(async (path) => {
          const [answer] = await exchange(served.port, requestText(path))
          assert.equal(answer?.body.toString(), path)
          assert.deepEqual(await readBack(served, sessionCookie(answer)), { path })
        }),
      )
    },
  },
]
