import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'

/** Beyond its first time a body has to come at this rate. */
const BYTES_PER_MS_MIN = 0.5

/** A request's body, as a client sends it. */
export interface Body {
  readonly stream: Readable
  /** Without a length: sent in chunks. */
  readonly chunked: boolean
  /** It ended before it was whole. */
  isCut(): boolean
}

/** Takes a body to a server, no faster than the server reads it and no slower than a client may send it. */
export class Upload {
  readonly #body: Body
  readonly #socket: Socket
  readonly #ended: () => void
  #bytes = 0
  /** Time the server let the client wait does not count against the client. */
  #waitedMs = 0
  #readingSince = 0
  #stoppedAt = 0
  #over = false

  constructor(body: Body, socket: Socket, now: number, ended: () => void) {
    this.#body = body
    this.#ended = ended
    this.#socket = socket
    this.#readingSince = now
    body.stream.on('data', this.#data).on('end', this.#end)
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Has it taken longer than `allowedMs` and the time that its bytes may take? (Apache's mod_reqtimeout counts alike.) */
  isLate(now: number, allowedMs: number): boolean {
    if (this.#over) return false
    const reading = this.#readingSince === 0 ? 0 : now - this.#readingSince
    return this.#waitedMs + reading > allowedMs + this.#bytes / BYTES_PER_MS_MIN
  }

  /** The server has read nothing for so long. */
  isStuck(now: number, allowedMs: number): boolean {
    return this.#stoppedAt !== 0 && now - this.#stoppedAt > allowedMs
  }

  stop(): void {
    this.#body.stream.off('data', this.#data).off('end', this.#end)
    this.#socket.off('drain', this.#drain)
  }

  readonly #data = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    if (this.#write(chunk)) return
    this.#body.stream.pause()
    this.#stoppedAt = performance.now()
    this.#waitedMs += this.#stoppedAt - this.#readingSince
    this.#readingSince = 0
    this.#socket.once('drain', this.#drain)
  }

  readonly #drain = (): void => {
    this.#stoppedAt = 0
    this.#readingSince = performance.now()
    this.#body.stream.resume()
  }

  readonly #end = (): void => {
    this.#over = true
    this.stop()
    if (this.#body.isCut()) return void this.#socket.destroy()
    if (this.#body.chunked) this.#socket.write('0\r\n\r\n', 'latin1')
    this.#ended()
  }

  #write(chunk: Buffer): boolean {
    if (!this.#body.chunked) return this.#socket.write(chunk)
    if (chunk.length === 0) return true
    this.#socket.cork()
    this.#socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    this.#socket.write(chunk)
    const isFree = this.#socket.write('\r\n', 'latin1')
    this.#socket.uncork()
    return isFree
  }
}
