import type { Socket } from 'node:net'
import { FRAME_HEADER_BYTES, frameParser, writeFrameHeader } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'

/** Bytes waiting for a slow peer before `send` answers false. */
const MAX_QUEUED_BYTES = 16 * 1_048_576
/** Frames of one callback are gathered here and written at once: a TLS record per small frame would cost more than the frame. */
const SLAB_BYTES = 65_536
const CLOSING_MS = 500

export interface Connection {
  /** What frames are written to: the encrypted socket, or the raw one in plaintext. */
  readonly socket: Socket
  /** Counts bytes as they are on the wire. */
  readonly raw: Socket
  /** For people: `host:port` of a dialled peer, the host of one that dialled us. */
  readonly remote: string
  /** Its host, for a peer that does not say where it can be reached. */
  readonly remoteHost: string
}

export interface LinkHandlers {
  /** May throw PEER_PROTOCOL. */
  frame(type: number, body: Buffer): void
  /** The peer broke the protocol; the link is still open, so that it can be told. */
  malformed(error: SessionError): void
  /** Called once, after which no frame is handed over. `error`: what the socket said, if anything. */
  closed(why: string, error: NodeJS.ErrnoException | undefined): void
}

/** One connection to one peer: framing, batching, a bounded queue. */
export interface Link {
  readonly connection: Connection
  /** Monotonic ms of the last bytes received. */
  heardAt: number
  /** Resolves when the socket is gone. */
  readonly gone: Promise<void>
  limitFrames(maxBytes: number): void
  /** False when closed or the queue is full. The body is copied. */
  send(type: number, body: Uint8Array): boolean
  /** Ends the link; what was sent before is still written. */
  close(why: string): void
  bytes(): { read: number; written: number }
}

/** Gathers frames into few writes. */
function frameWriter(socket: Socket): { append(type: number, body: Uint8Array): void; flush(): void; pending(): number } {
  let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  let start = 0
  let filled = 0
  let planned = false

  function flush(): void {
    planned = false
    if (filled === start || socket.destroyed) return
    socket.write(slab.subarray(start, filled))
    start = filled
  }

  function append(type: number, body: Uint8Array): void {
    const needed = FRAME_HEADER_BYTES + body.length
    if (needed > slab.length - filled) {
      flush()
      slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, needed))
      start = filled = 0
    }
    writeFrameHeader(slab, filled, type, body.length)
    slab.set(body, filled + FRAME_HEADER_BYTES)
    filled += needed
    if (planned) return
    planned = true
    // At the end of this callback, not of this turn: whoever sends frames has gathered them for a turn already.
    queueMicrotask(flush)
  }

  return { append, flush, pending: () => filled - start }
}

export function createLink(connection: Connection, runtime: Runtime, maxFrameBytes: number, handlers: LinkHandlers): Link {
  const { socket, raw } = connection
  const writer = frameWriter(socket)
  const parser = frameParser(maxFrameBytes, (type, body) => handlers.frame(type, body))
  let open = true
  let closing: Timer | undefined
  let lastError: NodeJS.ErrnoException | undefined

  function ended(why: string): void {
    if (!open) return
    open = false
    parser.stop()
    handlers.closed(why, lastError)
  }

  function receive(chunk: Buffer): void {
    if (!open) return
    link.heardAt = runtime.monotonic()
    try {
      parser.push(chunk)
    } catch (error) {
      if (!open) return
      handlers.malformed(
        SessionError.is(error) ? error : new SessionError('PEER_PROTOCOL', 'a frame could not be handled', { cause: error }),
      )
    }
  }

  const link: Link = {
    connection,
    heardAt: runtime.monotonic(),
    gone: new Promise((resolve) => {
      if (socket.destroyed) resolve()
      else socket.once('close', () => resolve())
    }),
    limitFrames: (bytes) => parser.limit(bytes),
    send(type, body) {
      if (!open || !socket.writable) return false
      if (socket.writableLength + writer.pending() + body.length + FRAME_HEADER_BYTES > MAX_QUEUED_BYTES) return false
      writer.append(type, body)
      return true
    },
    close(why) {
      if (!open) return
      writer.flush()
      ended(why)
      socket.end()
      // A peer that does not answer must not hold the socket open.
      closing = runtime.setTimer(CLOSING_MS, () => socket.destroy())
    },
    bytes: () => ({ read: raw.bytesRead, written: raw.bytesWritten }),
  }

  socket.setNoDelay(true)
  socket.on('data', receive)
  socket.on('error', (error) => {
    lastError = error
  })
  // Half a connection is none: the peer is gone as soon as it stops sending.
  socket.on('end', () => {
    ended('connection closed')
    socket.destroy()
  })
  socket.on('close', () => {
    closing?.cancel()
    raw.destroy()
    ended(lastError === undefined ? 'connection closed' : `connection failed (${lastError.code ?? 'unknown'})`)
  })
  if (socket.destroyed) runtime.defer(() => ended('connection closed'))
  return link
}
