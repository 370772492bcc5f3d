import type { IncomingMessage } from 'node:http'
import { labError } from './lab-error.ts'

const DEADLINE_MS = 10_000

export type JsonObject = Readonly<Record<string, unknown>>

/** A request without a body needs no content type. */
export function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
}

/** Reads a bounded JSON object. 415 for another type, 413 beyond `maxBytes`, 408 when it does not arrive, 400 when it does not parse. */
export async function readJsonObject(request: IncomingMessage, maxBytes: number): Promise<JsonObject> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json') throw labError(415, 'JSON_ONLY', 'Send the body as JSON, with content-type: application/json.')
  return parseObject((await readBounded(request, maxBytes)).toString('utf8'))
}

function parseObject(text: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw labError(400, 'JSON_INVALID', 'The body is not valid JSON.')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw labError(400, 'JSON_INVALID', 'The body must be a JSON object.')
}

function readBounded(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const timer = setTimeout(() => fail(408, 'BODY_TIMEOUT', 'The body did not arrive in time.'), DEADLINE_MS)
    function settle(done: () => void): void {
      clearTimeout(timer)
      request.off('data', take)
      done()
    }
    function fail(status: number, code: string, message: string): void {
      // The rest is read and thrown away, so that the answer reaches a client that is still sending.
      settle(() => reject(labError(status, code, message)))
      request.resume()
    }
    function take(chunk: Buffer): void {
      size += chunk.length
      if (size > maxBytes) fail(413, 'BODY_TOO_LARGE', `The body must not exceed ${maxBytes} bytes.`)
      else chunks.push(chunk)
    }
    request.on('data', take)
    request.once('end', () => settle(() => resolve(Buffer.concat(chunks))))
    request.once('error', () => fail(400, 'BODY_ABORTED', 'The client left before the body was complete.'))
    request.once('close', () => fail(400, 'BODY_ABORTED', 'The client left before the body was complete.'))
  })
}
