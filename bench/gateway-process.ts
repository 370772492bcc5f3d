/** One process of the gateway benchmark: `node bench/gateway-process.ts KIND TARGET-URL`; sends its port to its parent. */
import { Agent, createServer, request as ask, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

const [kind = '', target = ''] = process.argv.slice(2)
const IDLE_MAX = 256
const BODY = Buffer.alloc(1_000, 'x')

/** What an application answers: some fields and 1 KB. */
const application: RequestListener = (_request, response) => {
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': BODY.length,
    'cache-control': 'no-store',
    vary: 'Cookie',
  })
  response.end(BODY)
}

/** The shortest proxy that is right about hop-by-hop fields: what Node's own client costs. */
function plainProxy(): RequestListener {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true, maxFreeSockets: IDLE_MAX })
  return (request, response) => {
    const headers: Record<string, string | string[] | undefined> = {
      ...request.headers,
      'x-forwarded-for': request.socket.remoteAddress,
      'x-forwarded-proto': 'http',
      'x-forwarded-host': request.headers.host,
    }
    delete headers['connection']
    const asking = ask({ hostname, port, method: request.method, path: request.url, headers, agent }, (answer) => {
      const { connection: _hop, 'keep-alive': _alive, ...rest } = answer.headers
      response.writeHead(answer.statusCode ?? 502, rest)
      answer.pipe(response)
    })
    asking.on('error', () => response.destroy())
    request.pipe(asking)
  }
}

async function httpProxy3(): Promise<RequestListener> {
  const { createProxyServer } = await import('http-proxy-3')
  const agent = new Agent({ keepAlive: true, maxFreeSockets: IDLE_MAX })
  const proxy = createProxyServer({ target, agent, xfwd: true })
  proxy.on('error', (_error: unknown, _request: unknown, response: unknown) => (response as { destroy(): void }).destroy())
  return (request, response) => proxy.web(request, response)
}

/** `GATEWAY_MODULE`: another file than the built one, to profile a change. */
async function holdfast(): Promise<number> {
  const { createGateway } = await import(process.env['GATEWAY_MODULE'] ?? '../dist/public/gateway.js')
  const gateway = createGateway({ to: [target] })
  return (await gateway.listen()).port
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
}

async function start(): Promise<number> {
  if (kind === 'application') return listening(createServer({ keepAliveTimeout: 60_000 }, application))
  if (kind === 'holdfast') return holdfast()
  return listening(createServer(kind === 'http-proxy-3' ? await httpProxy3() : plainProxy()))
}

process.on('disconnect', () => process.exit(0))
const port = await start()
process.send?.({ port })
