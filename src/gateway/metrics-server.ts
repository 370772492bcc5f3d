/** Prometheus metrics on a port of their own: they are not for visitors. */
import { createServer, type Server } from 'node:http'
import { isIP } from 'node:net'

const HEADERS_MS = 5_000
const PATH = '/metrics'

/** A browser that a foreign page sent here (DNS rebinding) names that page's host. */
function isOwnHost(host: string | undefined, bound: string): boolean {
  const name = (host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  // On every address: any of them may be named, but no name that a foreign page's owner could point here.
  if ((bound === '0.0.0.0' || bound === '::') && isIP(name) !== 0) return true
  return ['127.0.0.1', 'localhost', '::1', bound].includes(name)
}

export function createMetricsServer(host: string, text: () => string): Server {
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: HEADERS_MS, connectionsCheckingInterval: HEADERS_MS })
  server.on('request', (request, response) => {
    request.resume()
    if (!isOwnHost(request.headers.host, host)) return response.writeHead(403).end()
    if (request.url !== PATH || (request.method !== 'GET' && request.method !== 'HEAD')) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' })
    response.end(text())
  })
  return server
}
