/** A server tells its route label in this header, on health answers or any other; it never reaches a client. */
export const ROUTE_HEADER = 'x-holdfast-route'

/** What a server's answer says, fit for the client. */
export interface AnswerHead {
  /** Names and values in turn, order and repetitions kept. */
  readonly headers: string[]
  readonly label: string | undefined
}

/** Drops what belongs to the hop between gateway and server (RFC 9110, section 7.6.1). Trailers are not forwarded, nor announced. */
export function readAnswerHead(raw: readonly (Buffer | string)[]): AnswerHead {
  const headers: string[] = []
  let label: string | undefined
  let named: string[] | undefined
  for (let at = 0; at < raw.length; at += 2) {
    const original = textOf(raw[at] as Buffer | string)
    const name = original.toLowerCase()
    const value = textOf(raw[at + 1] as Buffer | string)
    switch (name) {
      case 'connection':
        if (value !== 'keep-alive' && value !== 'close') named = value.toLowerCase().split(',')
        continue
      case 'keep-alive':
      case 'proxy-connection':
      case 'te':
      case 'trailer':
      case 'transfer-encoding':
      case 'upgrade':
        continue
      case ROUTE_HEADER:
        label = value
        continue
      default:
        headers.push(original, value)
    }
  }
  return { headers: named === undefined ? headers : without(headers, named), label }
}

function without(headers: string[], named: readonly string[]): string[] {
  const dropped = new Set(named.map((name) => name.trim()))
  dropped.delete('content-length')
  return headers.filter((_, at) => !dropped.has((headers[at - (at % 2)] as string).toLowerCase()))
}

function textOf(part: Buffer | string): string {
  return typeof part === 'string' ? part : part.toString('latin1')
}
