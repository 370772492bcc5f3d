import { SessionError } from '../errors.ts'

/** Largest frame a transport moves. */
export const MAX_FRAME_BYTES = 1_048_576
/** Four bytes of length (big endian, body only), one byte of version and type. */
export const FRAME_HEADER_BYTES = 5

/** Throws PEER_PROTOCOL when a frame is too large to be sent: the sender has to split it, no retry can help. */
export function checkFrameSize(frame: Uint8Array): void {
  if (frame.length <= MAX_FRAME_BYTES) return
  throw new SessionError('PEER_PROTOCOL', `A frame of ${frame.length} bytes is above the limit of ${MAX_FRAME_BYTES}: split it.`)
}

/** Writes a frame's header at `at`. */
export function writeFrameHeader(target: Buffer, at: number, type: number, bodyBytes: number): void {
  target.writeUInt32BE(bodyBytes, at)
  target[at + 4] = type
}

/** Cuts a stream of bytes, chunked in any way, into frames. */
export interface FrameParser {
  /** Largest body accepted from now on. */
  limit(maxBytes: number): void
  /** Throws PEER_PROTOCOL on a length above the limit, before anything is allocated for it. */
  push(chunk: Buffer): void
  /** Ignores everything from now on, the rest of the present chunk included. */
  stop(): void
}

/**
 * Each byte is copied at most once: bodies inside one chunk are handed over as views of it, others are gathered in a
 * buffer of their final size.
 */
export function frameParser(maxBytes: number, onFrame: (type: number, body: Buffer) => void): FrameParser {
  const header = Buffer.alloc(FRAME_HEADER_BYTES)
  let headerFilled = 0
  let body: Buffer | undefined
  let bodyFilled = 0
  let limit = maxBytes
  let stopped = false

  function bodySize(source: Buffer, at: number): number {
    const size = source.readUInt32BE(at)
    if (size <= limit) return size
    throw new SessionError('PEER_PROTOCOL', `announces a frame of ${size} bytes, ${limit} are allowed`)
  }

  /** Returns the offset behind what was consumed. */
  function gatherHeader(chunk: Buffer, offset: number): number {
    const end = Math.min(chunk.length, offset + FRAME_HEADER_BYTES - headerFilled)
    headerFilled += chunk.copy(header, headerFilled, offset, end)
    if (headerFilled === FRAME_HEADER_BYTES) body = Buffer.allocUnsafe(bodySize(header, 0))
    return end
  }

  function gatherBody(target: Buffer, chunk: Buffer, offset: number): number {
    const end = Math.min(chunk.length, offset + target.length - bodyFilled)
    bodyFilled += chunk.copy(target, bodyFilled, offset, end)
    return end
  }

  function push(chunk: Buffer): void {
    let offset = 0
    while (!stopped) {
      if (body !== undefined) {
        offset = gatherBody(body, chunk, offset)
        if (bodyFilled < body.length) return
        const whole = body
        body = undefined
        headerFilled = bodyFilled = 0
        onFrame(header[4] as number, whole)
      } else if (headerFilled === 0 && chunk.length - offset >= FRAME_HEADER_BYTES) {
        const start = offset + FRAME_HEADER_BYTES
        const size = bodySize(chunk, offset)
        if (chunk.length - start < size) {
          offset = gatherHeader(chunk, offset)
        } else {
          const type = chunk[offset + 4] as number
          offset = start + size
          onFrame(type, chunk.subarray(start, offset))
        }
      } else {
        if (offset === chunk.length) return
        offset = gatherHeader(chunk, offset)
      }
    }
  }

  return {
    limit: (bytes) => {
      limit = bytes
    },
    push,
    stop: () => {
      stopped = true
    },
  }
}
