/** Answers the gateway gives itself: JSON `{ error: { code, message } }`. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { SessionError } from '../errors.ts'
import { type ClientResponse, writeHead } from './reply.ts'

export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
  readonly retryAfter?: number
}

function refusalOf(code: 'GATEWAY_NO_SERVER' | 'GATEWAY_SERVER_FAILED' | 'GATEWAY_TIMEOUT', message: string): Refusal {
  return { status: new SessionError(code, message).status, code, message }
}

export const NO_SERVER: Refusal = { ...refusalOf('GATEWAY_NO_SERVER', 'No server is up: try again in a moment.'), retryAfter: 1 }
export const SERVER_FAILED: Refusal = refusalOf(
  'GATEWAY_SERVER_FAILED',
  'The server failed while it handled this request: it may have taken effect; check before you send it again.',
)
export const TIMED_OUT: Refusal = refusalOf('GATEWAY_TIMEOUT', 'The server did not answer in time.')
export const CROWDED: Refusal = {
  ...refusalOf('GATEWAY_NO_SERVER', 'The servers have all the requests they may: try again in a moment.'),
  retryAfter: 1,
}
export const TOO_SLOW: Refusal = { status: 408, code: 'REQUEST_TOO_SLOW', message: 'The body of the request came too slowly.' }

export function badRequest(message: string): Refusal {
  return { status: 400, code: 'REQUEST_INVALID', message }
}

function bodyOf({ code, message }: Refusal): string {
  return JSON.stringify({ error: { code, message } })
}

function headersOf(refusal: Refusal, body: string): string[] {
  const headers = [
    'content-type',
    'application/json; charset=utf-8',
    'cache-control',
    'no-store',
    'content-length',
    `${Buffer.byteLength(body)}`,
  ]
  if (refusal.retryAfter !== undefined) headers.push('retry-after', `${refusal.retryAfter}`)
  return headers
}

export function refuse(response: ClientResponse, refusal: Refusal): void {
  const body = bodyOf(refusal)
  const headers = headersOf(refusal, body)
  if (refusal === TOO_SLOW && !('stream' in response)) headers.push('connection', 'close')
  writeHead(response, refusal.status, STATUS_CODES[refusal.status] ?? '', headers)
  response.end(body)
}

/** On a bare socket, for upgrades. */
export function refuseSocket(socket: Duplex, refusal: Refusal): void {
  const body = bodyOf(refusal)
  socket.end(`${rawHead(refusal.status, STATUS_CODES[refusal.status] ?? '', headersOf(refusal, body))}${body}`)
}

/** The head of an answer that ends with its connection. */
export function rawHead(status: number, statusText: string, headers: readonly string[], connection: 'close' | 'Upgrade' = 'close'): string {
  let head = `HTTP/1.1 ${status} ${statusText}\r\nConnection: ${connection}\r\n`
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${head}\r\n`
}
