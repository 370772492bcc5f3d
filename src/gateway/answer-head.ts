/** A server tells its route label in this header, on health answers or any other; it never reaches a client. */
export const ROUTE_HEADER = 'x-holdfast-route'
/** A server tells how many sessions it has in this header, on health answers; it never reaches a client. */
export const LOAD_HEADER = 'x-holdfast-load'

/** What a server's answer says, fit for the client. */
export interface AnswerHead {
  /** Names and values in turn, order and repetitions kept. */
  readonly headers: string[]
  readonly label: string | undefined
  readonly contentLength: number | undefined
  readonly chunked: boolean
  /** The server closes the connection after this answer. */
  readonly close: boolean
  /** How long the server keeps an idle connection. */
  readonly keptMs: number | undefined
  /** Set when the answer must not be used: where it ends is not certain. */
  readonly problem: string | undefined
}

const LENGTH = /^\d{1,15}$/
const KEPT = /timeout=(\d{1,6})/i

/** Drops what belongs to the hop between gateway and server (RFC 9110, section 7.6.1). Trailers are not forwarded, nor announced. */
export function readAnswerHead(raw: readonly string[]): AnswerHead {
  const headers: string[] = []
  let label: string | undefined
  let named: string[] | undefined
  let contentLength: number | undefined
  let chunked = false
  let keptMs: number | undefined
  let problem: string | undefined
  for (let at = 0; at < raw.length; at += 2) {
    const original = raw[at] as string
    const name = original.toLowerCase()
    const value = raw[at + 1] as string
    switch (name) {
      case 'connection':
        if (value !== 'keep-alive') named = [...(named ?? []), ...value.toLowerCase().split(',')]
        continue
      case 'keep-alive':
        keptMs = keptMsOf(value)
        continue
      case 'transfer-encoding':
        if (chunked || value.toLowerCase() !== 'chunked') problem = 'The answer has another transfer coding than chunked.'
        chunked = true
        continue
      case 'content-length':
        if (contentLength !== undefined || !LENGTH.test(value)) problem = 'The answer has no clear length.'
        contentLength = Number(value)
        headers.push(original, value)
        continue
      case 'proxy-connection':
      case 'te':
      case 'trailer':
      case 'upgrade':
      case 'http2-settings':
      case LOAD_HEADER:
        continue
      case ROUTE_HEADER:
        label = value
        continue
      default:
        headers.push(original, value)
    }
  }
  if (chunked && contentLength !== undefined) problem = 'The answer has both a length and chunks.'
  const names = named?.map((name) => name.trim())
  return {
    headers: names === undefined ? headers : without(headers, names),
    label,
    contentLength,
    chunked,
    close: names?.includes('close') === true,
    keptMs,
    problem,
  }
}

function keptMsOf(value: string): number | undefined {
  const seconds = KEPT.exec(value)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1_000
}

function without(headers: string[], named: readonly string[]): string[] {
  const dropped = new Set(named)
  dropped.delete('content-length')
  return headers.filter((_, at) => !dropped.has((headers[at - (at % 2)] as string).toLowerCase()))
}
