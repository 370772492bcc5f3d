import type { RequestView } from '../types.ts'

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/**
 * Whether a browser sent this request from another site with a method that may change something, or to open a WebSocket
 * (OWASP ASVS 5, 3.5). `Sec-Fetch-Site` decides where it is sent, else `Origin` against `Host`; neither: no browser.
 */
export function isCrossSite(request: RequestView): boolean {
  if (SAFE_METHODS.has(request.method) && request.header('upgrade') === undefined) return false
  const site = request.header('sec-fetch-site')
  if (site !== undefined) return site === 'cross-site'
  const origin = request.header('origin')
  if (origin === undefined) return false
  const host = request.header('host')
  return !URL.canParse(origin) || new URL(origin).host !== host
}
