import type { ServerResponse } from 'node:http'
import { SessionError } from '../errors.ts'
import { isLabError } from './lab-error.ts'

export function answerJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.statusCode = status
  response.setHeader('content-type', 'application/json; charset=utf-8')
  response.setHeader('content-length', Buffer.byteLength(text))
  response.setHeader('x-content-type-options', 'nosniff')
  response.end(text)
}

/** Anything unexpected is a 500 that says nothing of its cause. */
export function answerError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  if (SessionError.is(error)) {
    for (const [name, value] of Object.entries(error.headers ?? {})) response.setHeader(name, value)
  }
  const known = SessionError.is(error) || isLabError(error)
  const body = known ? { code: error.code, message: error.message } : { code: 'INTERNAL', message: 'The server failed; its log says why.' }
  answerJson(response, known ? error.status : 500, { error: body })
}
