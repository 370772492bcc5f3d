/** Serves the built pages: two HTML files and their assets, nothing else. */
import { readdirSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { labError } from './lab-error.ts'
import { packageFile } from './locate.ts'

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export interface Pages {
  /** True when the path is one of the page's assets and has been answered. */
  asset(path: string, response: ServerResponse): boolean
  /** `values` replace `__NAME__` in the page's text. */
  page(response: ServerResponse, values?: Readonly<Record<string, string>>): void
}

export function setPageHeaders(response: ServerResponse): void {
  response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY)
  response.setHeader('x-content-type-options', 'nosniff')
  response.setHeader('referrer-policy', 'no-referrer')
}

/** Reads everything once: what is not in this list does not exist, so no path can reach beyond the folder. */
export function loadPages(name: 'control' | 'shop'): Pages {
  const html = readPage(name)
  const assets = new Map<string, Buffer>()
  for (const file of readdirSync(packageFile('ui/assets'))) assets.set(`/assets/${file}`, readFileSync(packageFile(`ui/assets/${file}`)))
  return {
    asset(path, response) {
      const body = assets.get(path)
      if (body === undefined) return false
      setPageHeaders(response)
      response.setHeader('content-type', TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'application/octet-stream')
      response.setHeader('cache-control', 'public, max-age=31536000, immutable')
      response.end(body)
      return true
    },
    page(response, values = {}) {
      setPageHeaders(response)
      response.setHeader('content-type', TYPES['html'] as string)
      response.setHeader('cache-control', 'no-store')
      response.end(html.replaceAll(/__([A-Z_]+)__/g, (whole, key: string) => values[key] ?? whole))
    },
  }
}

function readPage(name: string): string {
  try {
    return readFileSync(packageFile(`ui/${name}.html`), 'utf8')
  } catch {
    throw labError(500, 'PAGES_MISSING', 'The pages are not built: run npm run build.')
  }
}
