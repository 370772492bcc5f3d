/** What an error of undici or node:net means for a request. */
export type Failure =
  /** No byte of the request was sent. */
  | 'dial'
  /** The connection broke after the request may have been sent. */
  | 'reset'
  /** The server took too long to begin its answer. */
  | 'timeout'
  /** The server's answer is not HTTP. */
  | 'malformed'
  /** The server was removed before the request left. */
  | 'removed'
  /** The request cannot be put into HTTP/1.1. */
  | 'invalid'
  /** The client went away or cheated about its length. */
  | 'client'

const BY_CODE: Readonly<Record<string, Failure>> = {
  UND_ERR_INVALID_ARG: 'invalid',
  UND_ERR_NOT_SUPPORTED: 'invalid',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_CLOSED: 'removed',
  UND_ERR_DESTROYED: 'removed',
  UND_ERR_ABORTED: 'client',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'client',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'malformed',
  UND_ERR_HEADERS_OVERFLOW: 'malformed',
  UND_ERR_BODY_TIMEOUT: 'timeout',
}

/** `sent`: the connection stood and writing began. */
export function failureOf(error: Error & { code?: unknown }, sent: boolean): Failure {
  const code = typeof error.code === 'string' ? error.code : ''
  const known = BY_CODE[code]
  if (known === 'removed' && sent) return 'reset'
  if (known !== undefined) return known
  if (!sent) return 'dial'
  return code.startsWith('HPE_') ? 'malformed' : 'reset'
}

/** RFC 9110, section 9.2.2, less the ones that change something: a repeated PUT may undo what came between. */
export function isRepeatable(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}
