/** Replies of memcached's meta protocol, from packets split anywhere. Nothing from the server is trusted: lines and values are bounded. */

export interface MemcachedReply {
  /** Two letters for meta commands; `STAT`, `END`, `ERROR`, `CLIENT_ERROR`, `SERVER_ERROR` beside them. */
  readonly code: string
  /** What follows on the line, without a value's size. */
  readonly tokens: readonly string[]
  /** Of `VA`. A view of the packet where it came whole: copy what is kept. */
  readonly value?: Buffer
}

const LINE_BYTES = 2_048
const LF = 10
const CR = 13
const SIZE = /^\d{1,10}$/
const CODES: ReadonlySet<string> = new Set([
  'HD',
  'VA',
  'EN',
  'NF',
  'NS',
  'EX',
  'MN',
  'STAT',
  'END',
  'ERROR',
  'CLIENT_ERROR',
  'SERVER_ERROR',
])

/** What was received is not the meta protocol: the connection is of no use any more. */
export class MemcachedProtocolError extends Error {
  override readonly name = 'MemcachedProtocolError'
}

/** A value on its way. */
interface Incoming {
  readonly tokens: readonly string[]
  /** The value and its line end. */
  readonly bytes: Buffer
  filled: number
}

export interface ReplyParser {
  /** The replies that this packet completes. Throws {@link MemcachedProtocolError}; use it no more then. */
  push(packet: Buffer): MemcachedReply[]
}

/** `maxValueBytes`: larger values are refused before anything is allocated for them. */
export function replyParser(maxValueBytes: () => number): ReplyParser {
  let line: Buffer | undefined
  let incoming: Incoming | undefined

  function value(packet: Buffer, at: number, size: number, tokens: readonly string[], replies: MemcachedReply[]): number {
    const end = at + size + 2
    if (end <= packet.length) {
      replies.push(withValue(tokens, packet.subarray(at, end)))
      return end
    }
    const bytes = Buffer.allocUnsafe(size + 2)
    incoming = { tokens, bytes, filled: packet.copy(bytes, 0, at) }
    return packet.length
  }

  function fill(packet: Buffer, into: Incoming, replies: MemcachedReply[]): number {
    const copied = packet.copy(into.bytes, into.filled)
    into.filled += copied
    if (into.filled < into.bytes.length) return copied
    incoming = undefined
    replies.push(withValue(into.tokens, into.bytes))
    return copied
  }

  function head(packet: Buffer, at: number, replies: MemcachedReply[]): number {
    const end = packet.indexOf(LF, at)
    const part = packet.subarray(at, end < 0 ? packet.length : end)
    if ((line?.length ?? 0) + part.length > LINE_BYTES) throw new MemcachedProtocolError('a line is too long')
    const whole = line === undefined ? part : Buffer.concat([line, part])
    if (end < 0) {
      line = Buffer.from(whole)
      return packet.length
    }
    line = undefined
    if (whole.at(-1) !== CR) throw new MemcachedProtocolError('a line does not end')
    const [code = '', ...tokens] = whole.toString('latin1', 0, whole.length - 1).split(' ')
    if (!CODES.has(code)) throw new MemcachedProtocolError('a reply is unknown')
    if (code !== 'VA') {
      replies.push({ code, tokens })
      return end + 1
    }
    const size = SIZE.test(tokens[0] ?? '') ? Number(tokens[0]) : Number.POSITIVE_INFINITY
    if (size > maxValueBytes()) throw new MemcachedProtocolError('a value is too large')
    return value(packet, end + 1, size, tokens.slice(1), replies)
  }

  return {
    push(packet): MemcachedReply[] {
      const replies: MemcachedReply[] = []
      for (let at = 0; at < packet.length; ) {
        at = incoming === undefined ? head(packet, at, replies) : at + fill(packet.subarray(at), incoming, replies)
      }
      return replies
    },
  }
}

function withValue(tokens: readonly string[], bytes: Buffer): MemcachedReply {
  const end = bytes.length - 2
  if (bytes[end] !== CR || bytes[end + 1] !== LF) throw new MemcachedProtocolError('a value does not end')
  return { code: 'VA', tokens, value: bytes.subarray(0, end) }
}

/** What a reply says under a flag, like the CAS value under `c`. */
export function flagOf({ tokens }: MemcachedReply, flag: string): string | undefined {
  return tokens.find((token) => token.startsWith(flag))?.slice(1)
}
