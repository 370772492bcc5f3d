export type ErrorCode =
  | 'CONFIG_INVALID'
  | 'COOKIE_TOO_LARGE'
  | 'CROSS_SITE_REFUSED'
  | 'DEPENDENCY_MISSING'
  | 'FIELD_INVALID'
  | 'GATEWAY_NO_SERVER'
  | 'GATEWAY_SERVER_FAILED'
  | 'GATEWAY_TIMEOUT'
  | 'HEADERS_SENT'
  | 'NO_SESSION'
  | 'PEER_PROTOCOL'
  | 'PEER_REFUSED'
  | 'PORT_IN_USE'
  | 'SESSION_GONE'
  | 'SESSION_PROPERTY_UNKNOWN'
  | 'SESSION_REGRESSED'
  | 'SESSION_REPLACED'
  | 'SESSION_TOO_LARGE'
  | 'SESSION_UNAVAILABLE'
  | 'SESSIONS_CLOSED'
  | 'STORE_RECORD_INVALID'
  | 'STORE_UNAVAILABLE'
  | 'STRATEGY_UNSUPPORTED'

/** Every code a {@link SessionError} can carry, with the HTTP status it answers with. `docs/errors.md` explains each. */
export const ERROR_CODES: Readonly<Record<ErrorCode, number>> = {
  CONFIG_INVALID: 500,
  COOKIE_TOO_LARGE: 500,
  CROSS_SITE_REFUSED: 403,
  DEPENDENCY_MISSING: 500,
  FIELD_INVALID: 500,
  GATEWAY_NO_SERVER: 503,
  GATEWAY_SERVER_FAILED: 502,
  GATEWAY_TIMEOUT: 504,
  HEADERS_SENT: 500,
  NO_SESSION: 500,
  PEER_PROTOCOL: 500,
  PEER_REFUSED: 500,
  PORT_IN_USE: 500,
  SESSION_GONE: 409,
  SESSION_PROPERTY_UNKNOWN: 500,
  SESSION_REGRESSED: 409,
  SESSION_REPLACED: 409,
  SESSION_TOO_LARGE: 500,
  SESSION_UNAVAILABLE: 503,
  SESSIONS_CLOSED: 503,
  STORE_RECORD_INVALID: 500,
  STORE_UNAVAILABLE: 503,
  STRATEGY_UNSUPPORTED: 501,
}

/** Marks our errors across copies of the package (two versions in one process still recognise each other's). */
const MARK: unique symbol = Symbol.for('holdfast.SessionError') as never

/**
 * The one error class of Holdfast. `message` says what to do; it never holds an id, a token, a secret or a field's value.
 * `expose` is false, so that frameworks do not print the message to a visitor.
 */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly code: ErrorCode
  readonly status: number
  readonly statusCode: number
  readonly headers?: Readonly<Record<string, string>>
  readonly expose = false

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; headers?: Record<string, string> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.status = ERROR_CODES[code]
    this.statusCode = this.status
    if (options.headers !== undefined) this.headers = options.headers
    Object.defineProperty(this, MARK, { value: true })
  }

  static is(error: unknown): error is SessionError {
    return typeof error === 'object' && error !== null && MARK in error
  }
}
