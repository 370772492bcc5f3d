/** The servers that the adapter contract runs over: node:http, Express, and a small bridge from node:http to fetch handlers. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import compression from 'compression'
import express, { type RequestHandler } from 'express'
import { Hono } from 'hono'
import { expressSessions } from '../../src/adapters/express.ts'
import { fetchSessions } from '../../src/adapters/fetch.ts'
import { nodeSessions } from '../../src/adapters/node.ts'
import type { AdapterUnderTest, ContractServer } from '../../src/testing/adapter-contract.ts'

export async function listen(listener: RequestListener): Promise<ContractServer> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const nodeServer: AdapterUnderTest = {
  kind: 'node',
  serve({ node }, sessions, { bareSession, onCommitError }) {
    const handler = node ?? (() => undefined)
    if (sessions === undefined) return listen((request, response) => void handler(request, response, bareSession))
    return listen(nodeSessions(sessions, onCommitError === undefined ? {} : { onCommitError })(handler))
  },
}

/** `before` and `after` stand around the sessions. */
export function expressServer(
  before: RequestHandler[] = [],
  after: RequestHandler[] = [],
  skip: Record<string, string> = {},
): AdapterUnderTest {
  return {
    skip,
    kind: 'node',
    serve({ node }, sessions, { bareSession, onCommitError }) {
      const app = express().disable('x-powered-by').set('env', 'test')
      for (const middleware of before) app.use(middleware)
      if (sessions !== undefined) app.use(expressSessions(sessions, onCommitError === undefined ? {} : { onCommitError }))
      for (const middleware of after) app.use(middleware)
      app.use((request, response) => node?.(request, response, sessions?.of(request) ?? bareSession))
      return listen(app)
    },
  }
}

export const compressible = (): RequestHandler => compression({ threshold: 0 })

/** As a browser asks, and whatever the content type. */
export function compressAll(): RequestHandler {
  const compress = compression({ threshold: 0, filter: () => true })
  return (request, response, next) => {
    request.headers['accept-encoding'] = 'gzip'
    compress(request, response, next)
  }
}

type FetchListener = (request: Request) => Promise<Response> | Response

export function fetchServer(): AdapterUnderTest {
  return {
    kind: 'fetch',
    serve({ fetch }, sessions, { bareSession, onCommitError }) {
      const handler = fetch ?? (() => new Response())
      if (sessions === undefined) return listen(bridge((request) => handler(request, bareSession)))
      return listen(bridge(fetchSessions(sessions, onCommitError === undefined ? {} : { onCommitError })(handler)))
    },
  }
}

export function honoServer(): AdapterUnderTest {
  return {
    kind: 'fetch',
    serve({ fetch }, sessions, { bareSession, onCommitError }) {
      const handler = fetch ?? (() => new Response())
      const app = new Hono()
      const wrapped = sessions && fetchSessions(sessions, onCommitError === undefined ? {} : { onCommitError })(handler)
      app.all('*', (context) => (wrapped === undefined ? handler(context.req.raw, bareSession) : wrapped(context.req.raw)))
      app.onError(() => new Response('failed', { status: 500 }))
      return listen(bridge((request) => app.fetch(request)))
    },
  }
}

function bridge(handle: FetchListener): RequestListener {
  return (request, response) => {
    answer(request, response, handle).catch(() => {
      if (!response.headersSent) response.writeHead(500)
      response.end()
    })
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, handle: FetchListener): Promise<void> {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) headers.set(name, String(value))
  const result = await handle(new Request(`http://${request.headers.host}${request.url}`, { method: request.method ?? 'GET', headers }))
  for (const [name, value] of result.headers) if (name !== 'set-cookie') response.setHeader(name, value)
  const cookies = result.headers.getSetCookie()
  if (cookies.length > 0) response.setHeader('set-cookie', cookies)
  response.writeHead(result.status)
  const reader = result.body?.getReader()
  const closed = new Promise<void>((resolve) => response.on('close', resolve))
  response.on('close', () => void reader?.cancel().catch(() => undefined))
  for (;;) {
    const next = await reader?.read()
    if (next === undefined || next.done) break
    if (!response.write(next.value)) await Promise.race([closed, new Promise((resolve) => response.once('drain', resolve))])
    if (response.destroyed) break
  }
  response.end()
}
