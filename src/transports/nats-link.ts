/**
 * A link between two servers: a stream of frames in sealed messages. NATS forgets what it could not deliver. So the sender keeps
 * what the receiver has not confirmed, and the receiver, once it misses something, asks for everything from there on: frames survive a
 * restart of the NATS server, or the link ends.
 */
import { ByteReader } from '../core/bytes.ts'
import { MAX_FRAME_BYTES } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Peer, Runtime } from '../seam.ts'
import { type Arrived, type Envelope, OVERHEAD_BYTES } from './nats-envelope.ts'
import { NUMBER_BYTES } from './nats-letters.ts'
import { type ByeCode, encodeBye, KIND_BYE, KIND_FRAMES, KIND_LAST, KIND_PART, KIND_PING } from './nats-messages.ts'

const LENGTH_BYTES = 4
/** Frames of one turn are gathered here and sealed at once. */
const SLAB_BYTES = 65_536
/** Larger frames travel in parts of this size, or of what the NATS server takes. */
const PART_BYTES = 524_288
/** Nobody sends more in one message. */
export const MAX_MESSAGE_BYTES: number = PART_BYTES + OVERHEAD_BYTES
/** Bytes to one peer that it has not confirmed, before `send` answers false. */
const MAX_UNCONFIRMED_BYTES = 16 * 1_048_576
/** To all peers together: that much memory a NATS server that is away or stopped can cost. */
const MAX_UNDER_WAY_BYTES = 64 * 1_048_576
/** The receiver confirms with each ping, and at the latest after this many. */
const CONFIRM_BYTES = 1_048_576
const ASK_AGAIN_MS = 1000

/** A stretch of the outgoing stream, as it is sent again where needed. */
interface Piece {
  readonly kind: number
  readonly offset: number
  readonly body: Buffer
}

/** Bytes under way on all links. */
export interface UnderWay {
  bytes: number
}

export interface LinkOptions {
  readonly name: string
  readonly peer: Peer
  readonly envelope: Envelope
  readonly runtime: Runtime
  readonly underWay: UnderWay
  /** The largest message the NATS server takes now. */
  largestMessage(): number
  publish(message: Buffer, isPing: boolean): void
  frame(body: Buffer): void
}

export interface Link {
  readonly name: string
  readonly peer: Peer
  /** Monotonic ms of the last message. */
  heardAt: number
  /** How often NATS said since then that nobody listens there. */
  unheard: number
  /** False: too much is under way. The frame is copied. */
  send(frame: Uint8Array): boolean
  ping(): void
  bye(code: ByeCode): void
  open(message: Buffer): Arrived | 'repeated' | 'forged'
  /** Hands frames over, in order and each once. Throws PEER_PROTOCOL. */
  take(arrived: Arrived): void
  /** Nothing is sent or handed over any more. */
  close(): void
}

export function createLink(options: LinkOptions): Link {
  const { envelope, peer, runtime, underWay } = options
  /** Offsets of the outgoing stream: its end, and what the peer has confirmed. */
  let sent = 0
  let confirmed = 0
  const unconfirmed: Piece[] = []
  /** Offsets of the incoming stream: what has come in order, and what of it was confirmed to the peer. */
  let received = 0
  let reported = 0
  let askedAt: number | undefined
  let slab: Buffer | undefined
  let filled = 0
  let planned = false
  let parts: Buffer[] = []
  let partBytes = 0
  let closed = false

  function seal(kind: number, offset: number, body: Uint8Array): void {
    options.publish(envelope.seal(kind, offset, body), kind === KIND_PING)
  }

  /** The body belongs to the link from here on. */
  function stream(kind: number, body: Buffer): void {
    const offset = sent
    sent += body.length
    unconfirmed.push({ kind, offset, body })
    seal(kind, offset, body)
  }

  function flush(): void {
    planned = false
    if (filled === 0 || slab === undefined || closed) return
    const body = Buffer.from(slab.subarray(0, filled))
    filled = 0
    stream(KIND_FRAMES, body)
  }

  function sendParts(frame: Uint8Array, most: number): void {
    flush()
    for (let at = 0; at < frame.length; at += most) {
      const end = Math.min(at + most, frame.length)
      stream(end === frame.length ? KIND_LAST : KIND_PART, Buffer.from(frame.subarray(at, end)))
    }
  }

  function gather(frame: Uint8Array, most: number): void {
    const needed = LENGTH_BYTES + frame.length
    if (filled + needed > most) flush()
    slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES)
    slab.writeUInt32BE(frame.length, filled)
    slab.set(frame, filled + LENGTH_BYTES)
    filled += needed
    if (planned) return
    planned = true
    runtime.defer(flush)
  }

  // ---------------------------------------------------------------- confirming

  function ping(asks = false): void {
    if (closed) return
    reported = received
    const body = Buffer.alloc(NUMBER_BYTES + 1)
    body.writeUIntBE(received, 0, NUMBER_BYTES)
    body[NUMBER_BYTES] = asks ? 1 : 0
    seal(KIND_PING, sent, body)
  }

  function onPing(body: Buffer): void {
    const upTo = body.length === NUMBER_BYTES + 1 ? body.readUIntBE(0, NUMBER_BYTES) : Number.NaN
    if (!(upTo >= confirmed && upTo <= sent)) throw new SessionError('PEER_PROTOCOL', 'confirmed what was not sent')
    underWay.bytes -= upTo - confirmed
    confirmed = upTo
    const kept = unconfirmed.findIndex(({ offset }) => offset >= upTo)
    unconfirmed.splice(0, kept === -1 ? unconfirmed.length : kept)
    if (body[NUMBER_BYTES] === 1) for (const piece of unconfirmed) seal(piece.kind, piece.offset, piece.body)
  }

  /** Once, and again when nothing came of it: what is under way already will be missed as well. */
  function askAgain(): void {
    const now = runtime.monotonic()
    if (askedAt !== undefined && now - askedAt < ASK_AGAIN_MS) return
    askedAt = now
    ping(true)
  }

  // ---------------------------------------------------------------- handing over

  function handOver(body: Buffer): void {
    const reader = new ByteReader(body)
    while (reader.remaining > 0 && !closed) options.frame(reader.raw(reader.u32()))
  }

  function addPart(kind: number, body: Buffer): void {
    partBytes += body.length
    if (partBytes > MAX_FRAME_BYTES) throw new SessionError('PEER_PROTOCOL', 'sent a frame above the limit')
    parts.push(body)
    if (kind !== KIND_LAST) return
    const whole = Buffer.concat(parts, partBytes)
    parts = []
    partBytes = 0
    options.frame(whole)
  }

  const link: Link = {
    name: options.name,
    peer,
    heardAt: runtime.monotonic(),
    unheard: 0,
    ping: () => ping(),
    send(frame) {
      const bytes = LENGTH_BYTES + frame.length
      if (closed || sent + filled - confirmed + bytes > MAX_UNCONFIRMED_BYTES) return false
      if (underWay.bytes + bytes > MAX_UNDER_WAY_BYTES) return false
      const most = options.largestMessage() - OVERHEAD_BYTES
      const inSlab = bytes <= Math.min(SLAB_BYTES, most)
      underWay.bytes += inSlab ? bytes : frame.length
      if (inSlab) gather(frame, Math.min(SLAB_BYTES, most))
      else sendParts(frame, Math.min(PART_BYTES, most))
      return true
    },
    bye(code) {
      if (closed) return
      flush()
      seal(KIND_BYE, sent, encodeBye(code))
    },
    open(message) {
      const arrived = envelope.open(message)
      if (typeof arrived === 'string') return arrived
      link.heardAt = runtime.monotonic()
      link.unheard = 0
      return arrived
    },
    take({ kind, offset, body }) {
      if (closed) return
      if (kind === KIND_PING) onPing(body)
      if (offset > received) return askAgain()
      // Asked for and come all the same.
      if (kind === KIND_PING || offset < received) return
      askedAt = undefined
      received += body.length
      if (kind === KIND_FRAMES) handOver(body)
      else if (kind === KIND_PART || kind === KIND_LAST) addPart(kind, body)
      else throw new SessionError('PEER_PROTOCOL', 'sent a message that does not belong here')
      if (received - reported >= CONFIRM_BYTES) ping()
    },
    close() {
      if (closed) return
      closed = true
      underWay.bytes -= sent + filled - confirmed
      parts = []
      unconfirmed.length = 0
      slab = undefined
    },
  }
  return link
}
