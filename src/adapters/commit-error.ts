/** The answer of a request whose session could not be opened or stored. */
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import { SessionError } from '../errors.ts'

/** What `onCommitError` returns: an HTTP answer. Its headers are sent as they are, beside `Content-Length` and `Date`. */
export interface CommitErrorAnswer {
  /** 200 to 599. */
  status: number
  headers?: Readonly<Record<string, string>>
  body?: string | Uint8Array
}

/** Makes the answer of a failed commit. The default: the error's status, and `{ "error": { "code", "message" } }`. */
export type OnCommitError<R> = (error: unknown, request: R) => CommitErrorAnswer

export interface ErrorPolicy<R> {
  readonly onCommitError: OnCommitError<R> | undefined
  readonly logger: Pick<Console, 'warn' | 'error'>
}

/** Never throws: an `onCommitError` that throws or returns no valid answer is reported, and the default answers. */
export function answerTo<R>(error: unknown, request: R, policy: ErrorPolicy<R>): CommitErrorAnswer {
  if (!SessionError.is(error)) policy.logger.error('holdfast: storing a session failed unexpectedly.', error)
  if (policy.onCommitError === undefined) return withErrorHeaders(defaultAnswer(error), error)
  try {
    return withErrorHeaders(checked(policy.onCommitError(error, request)), error)
  } catch (failure) {
    policy.logger.error('holdfast: onCommitError failed; the default answer was sent.', failure)
    return withErrorHeaders(defaultAnswer(error), error)
  }
}

/** `Retry-After` and the like, unless the answer has its own. */
function withErrorHeaders(answer: CommitErrorAnswer, error: unknown): CommitErrorAnswer {
  const headers: Record<string, string> = SessionError.is(error) ? { ...error.headers } : {}
  for (const [name, value] of Object.entries(answer.headers ?? {})) headers[name.toLowerCase()] = value
  return { ...answer, headers }
}

function defaultAnswer(error: unknown): CommitErrorAnswer {
  const known = SessionError.is(error)
  const code = known ? error.code : 'INTERNAL'
  const message = known ? error.message : 'The session could not be stored.'
  return {
    status: known ? error.status : 500,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    body: JSON.stringify({ error: { code, message } }),
  }
}

function checked(answer: CommitErrorAnswer): CommitErrorAnswer {
  const { status, headers = {}, body } = answer
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new TypeError('onCommitError: status must be 200 to 599.')
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array)) {
    throw new TypeError('onCommitError: body must be a string or a Uint8Array.')
  }
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  }
  return answer
}

const FRAMING: ReadonlySet<string> = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding', 'trailer'])

/** The whole answer as HTTP/1.1 text and bytes; `connection` are the lines that say whether the connection stays. */
export function renderAnswer(answer: CommitErrorAnswer, method: string | undefined, connection: string): { head: string; body: Buffer } {
  const body = Buffer.from(answer.body ?? '')
  let head = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'unknown'}\r\n`
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    if (!FRAMING.has(name.toLowerCase())) head += `${name}: ${value}\r\n`
  }
  head += `Date: ${new Date().toUTCString()}\r\n${connection}`
  const bodiless = answer.status === 204 || answer.status === 304
  if (!bodiless) head += `Content-Length: ${body.length}\r\n`
  return { head: `${head}\r\n`, body: bodiless || method === 'HEAD' ? Buffer.alloc(0) : body }
}
