/** One visitor's way to the shop: a cookie jar, or the session token in a header for a visitor with cookies off. */
import { type Agent, request as httpRequest } from 'node:http'
import { performance } from 'node:perf_hooks'
import { keepCookie } from '../cookies.ts'

const DEADLINE_MS = 5_000
const TOKEN = 'x-session-token'

export interface Exchange {
  /** Undefined: no answer. */
  readonly status: number | undefined
  readonly body: Readonly<Record<string, unknown>>
  readonly ms: number
  /** Of the session's cookies, or its token, in the request. */
  readonly cookieBytes: number
}

export type Send = (method: string, path: string, body: object | undefined) => Promise<Exchange>

export function createClient(port: number, agent: Agent, carrier: 'cookie' | 'header'): Send {
  const cookies = new Map<string, string>()
  let token = ''

  return (method, path, body) => {
    const sent = carrier === 'header' ? token : [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const text = body === undefined ? '' : JSON.stringify(body)
    const headers = {
      ...(carrier === 'header' ? { [TOKEN]: sent } : sent !== '' && { cookie: sent }),
      ...(text !== '' && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    }
    const startedAt = performance.now()
    return new Promise((resolve) => {
      const end = (status: number | undefined, answer: Exchange['body']): void =>
        resolve({ status, body: answer, ms: performance.now() - startedAt, cookieBytes: sent.length })
      const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent, signal: AbortSignal.timeout(DEADLINE_MS) })
      outgoing.on('error', () => end(undefined, {}))
      outgoing.on('response', (response) => {
        for (const line of response.headers['set-cookie'] ?? []) keepCookie(cookies, line)
        const renewed = response.headers[TOKEN]
        if (typeof renewed === 'string') token = renewed
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => void chunks.push(chunk))
        response.on('error', () => end(undefined, {}))
        response.on('end', () => end(response.statusCode, parsed(Buffer.concat(chunks).toString('utf8'))))
      })
      outgoing.end(text)
    })
  }
}

function parsed(text: string): Exchange['body'] {
  try {
    return JSON.parse(text) as Exchange['body']
  } catch {
    return {}
  }
}
