// oxlint-disable no-underscore-dangle -- the names are node's
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import type { NodeResponse } from '../../../src/adapters/node-response.ts'
import { type AnsweredSession, gateResponse, isGated } from '../../../src/adapters/response-gate.ts'
import { exchange, openConnection, requestText, until } from '../../../src/testing/raw-http.ts'
import { listen } from '../../setup/adapter-servers.ts'
import { sessionsDouble } from '../../setup/session-double.ts'

const closers: (() => Promise<void>)[] = []
const QUIET = { onCommitError: undefined, logger: { warn: () => undefined, error: () => undefined } }

afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<number> {
  const server = await listen(handler)
  closers.push(() => server.close())
  return server.port
}

function openOf(sessions: ReturnType<typeof sessionsDouble>): AnsweredSession {
  return sessions.openNow(undefined as never) as never
}

test('a client that leaves during the commit - the session ends after the commit, not before', async () => {
  const stored = Promise.withResolvers<{ cookies: []; headers: [] }>()
  const sessions = sessionsDouble({ needsCommit: true, commit: () => stored.promise })
  let closed = false
  const port = await serve((_request, response) => {
    gateResponse(response, sessions, openOf(sessions), QUIET)
    response.on('close', () => {
      closed = true
    })
    response.end('answer')
  })
  const connection = await openConnection(port)
  connection.send(requestText('/'))
  await until(() => sessions.calls.includes('commit'), 'the commit to begin')
  connection.socket.destroy()
  await until(() => closed, 'the server to see that the client left')
  expect(sessions.calls).toEqual(['commit'])
  stored.resolve({ cookies: [], headers: [] })
  await until(() => sessions.calls.includes('end'), 'the end')
  expect(sessions.calls).toEqual(['commit', 'headSent', 'end'])
})

test('an answer that was refused for an invalid header and then needs no commit is not held', async () => {
  const sessions = sessionsDouble()
  let changed = true
  const open: AnsweredSession = { ...openOf(sessions), needsCommit: () => changed }
  const port = await serve((_request, response) => {
    gateResponse(response, sessions, open, QUIET)
    expect(() => response.writeHead(200, { 'X-Bad': 'a\nb' })).toThrow(TypeError)
    changed = false
    response.end('answer')
  })
  const [answer] = await exchange(port, requestText('/'))
  expect(answer?.body.toString()).toBe('answer')
  expect(sessions.calls.slice(0, 2)).toEqual(['settle', 'headSent'])
})

test.each([
  ['stored', () => Promise.resolve({ cookies: ['s=1'], headers: [] })],
  ['not stored', () => Promise.reject(new Error('not stored'))],
])('an answer that was held and %s leaves no bytes counted as queued on its connection', async (_name, commit) => {
  const sessions = sessionsDouble({ needsCommit: true, commit })
  let counted = 0
  let queued: number | undefined
  const port = await serve((_request, response) => {
    const inner = response as NodeResponse
    const count = inner._onPendingData
    inner._onPendingData = (delta) => {
      counted += delta
      count(delta)
    }
    gateResponse(response, sessions, openOf(sessions), QUIET)
    response.on('finish', () => {
      queued = inner.outputSize
    })
    response.write('a longer part of the answer')
    response.end('answer')
  })
  const [answer] = await exchange(port, requestText('/'))
  expect(answer?.whole).toBe(true)
  await until(() => queued !== undefined, 'the answer to finish')
  expect([counted, queued]).toEqual([0, 0])
})

test('a handler that ends while its error answer waits keeps the connection', async () => {
  const sessions = sessionsDouble({ needsCommit: true, commit: () => Promise.reject(new Error('not stored')) })
  const port = await serve((request, response) => {
    if (request.url === '/plain') return void response.end('plain')
    gateResponse(response, sessions, openOf(sessions), QUIET)
    response.write('part')
    setTimeout(() => response.end('rest'), 5)
  })
  const answers = await exchange(port, requestText('/', { keepAlive: true }) + requestText('/plain'))
  expect(answers.map((answer) => answer.status)).toEqual([500, 200])
})

test('isGated - tells the sessions that are mounted, and only those', async () => {
  const [one, other] = [sessionsDouble(), sessionsDouble()]
  let seen: boolean[] = []
  const port = await serve((_request, response) => {
    seen = [isGated(response, one)]
    gateResponse(response, one, openOf(one), QUIET)
    seen.push(isGated(response, one), isGated(response, other))
    response.end()
  })
  await exchange(port, requestText('/'))
  expect(seen).toEqual([false, true, false])
})

test('a socket that is destroyed while its answer is held is destroyed all the same, within two seconds', async () => {
  const never = new Promise<never>(() => undefined)
  const sessions = sessionsDouble({ needsCommit: true, commit: () => never })
  const port = await serve((request, response) => {
    gateResponse(response, sessions, openOf(sessions), QUIET)
    response.end('answer')
    request.socket.destroy()
  })
  expect(await exchange(port, requestText('/'))).toEqual([])
})
