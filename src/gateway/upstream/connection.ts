import type { Socket } from 'node:net'
import type { AnswerHead } from '../answer-head.ts'
import type { Failure } from '../failure.ts'
import { type AnswerHandlers, AnswerParser } from './answer-parser.ts'
import { type Body, Upload } from './upload.ts'

export interface UpstreamRequest {
  readonly method: string
  /** Request line and header fields, up to and with the empty line. */
  readonly head: string
  readonly body: Body | undefined
}

/** Whom a connection serves. */
export interface ConnectionUser {
  head(status: number, statusText: string, head: AnswerHead): void
  data(chunk: Buffer, isLast: boolean): void
  /** All that came with the head has been told. */
  headTold(): void
  completed(): void
  broken(failure: Failure): void
}

export interface ConnectionTimes {
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly clientBodyTimeoutMs: number
}

/** A server says how long it keeps an idle connection; without a word it is taken for this. */
const KEPT_MS = 5_000
const KEPT_MS_MAX = 60_000
/** So much sooner than the server the gateway drops it: a request must not meet its end. */
const SOONER_MS = 1_000

/** One connection to a server: one request after the other, never two at once. */
export class Connection implements AnswerHandlers {
  readonly #socket: Socket
  readonly #times: ConnectionTimes
  readonly #released: (connection: Connection, alive: boolean) => void
  readonly #parser = new AnswerParser()
  #user: ConnectionUser | undefined
  #upload: Upload | undefined
  #hasHead = false
  #isHeadNew = false
  #isPaused = false
  #pausedAt = 0
  /** It has carried a whole answer before. */
  #isReused = false
  #isHeard = false
  #sentAt = 0
  #movedAt = 0
  #keptMs = KEPT_MS
  #failure: Failure | undefined
  /** Not to be used after this time. */
  idleUntil = 0

  constructor(socket: Socket, times: ConnectionTimes, released: (connection: Connection, alive: boolean) => void) {
    this.#socket = socket
    this.#times = times
    this.#released = released
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => this.#ended())
    socket.on('error', () => undefined)
    socket.on('close', () => this.#closed())
  }

  send(request: UpstreamRequest, user: ConnectionUser): void {
    this.#user = user
    this.#hasHead = false
    this.#isHeard = false
    this.#sentAt = performance.now()
    this.#movedAt = this.#sentAt
    this.#parser.begin(request.method, this)
    this.#socket.write(request.head, 'latin1')
    if (request.body !== undefined) this.#upload = new Upload(request.body, this.#socket, this.#movedAt, this.#uploaded)
  }

  pause(): void {
    if (!this.#isPaused) this.#pausedAt = performance.now()
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#movedAt = performance.now()
    this.#socket.resume()
  }

  /** Its user hears nothing more. */
  destroy(): void {
    this.#user = undefined
    this.#upload?.stop()
    this.#socket.destroy()
  }

  /** Ends it when its server or its client takes too long. */
  check(now: number): void {
    const { headersTimeoutMs, idleTimeoutMs, clientBodyTimeoutMs } = this.#times
    if (this.#user === undefined) return
    const upload = this.#upload
    if (upload?.isLate(now, clientBodyTimeoutMs) === true) return this.#fail('slow')
    if (this.#isPaused) {
      // A client that does not read holds the server's place no longer than a server that does not write.
      if (now - this.#pausedAt > idleTimeoutMs) this.#fail('timeout')
      return
    }
    // While a body is on its way the server's time to answer has not begun; the one to read it has.
    if (upload?.isOver === false) {
      if (upload.isStuck(now, idleTimeoutMs)) this.#fail('timeout')
    } else if (this.#hasHead ? now - this.#movedAt > idleTimeoutMs : now - this.#sentAt > headersTimeoutMs) this.#fail('timeout')
  }

  get isAlive(): boolean {
    return !this.#socket.destroyed
  }

  head(status: number, statusText: string, head: AnswerHead): void {
    this.#hasHead = true
    this.#isHeadNew = true
    if (head.keptMs !== undefined) this.#keptMs = head.keptMs
    this.#user?.head(status, statusText, head)
  }

  data(chunk: Buffer, isLast: boolean): void {
    this.#isHeadNew = false
    this.#user?.data(chunk, isLast)
  }

  end(reusable: boolean): void {
    const user = this.#user
    const upload = this.#upload
    this.#user = undefined
    this.#upload = undefined
    this.#isHeadNew = false
    const isWhole = upload === undefined || upload.isOver
    upload?.stop()
    if (reusable && isWhole && !this.#socket.destroyed) this.#rest()
    else this.#socket.destroy()
    user?.completed()
  }

  /** Waits for the next request. */
  #rest(): void {
    if (this.#isPaused) this.resume()
    this.#isReused = true
    const kept = Math.min(this.#keptMs, KEPT_MS_MAX)
    this.idleUntil = performance.now() + kept - Math.min(SOONER_MS, kept / 2)
    this.#released(this, true)
  }

  #read(chunk: Buffer): void {
    this.#movedAt = performance.now()
    this.#isHeard = true
    try {
      this.#parser.read(chunk)
    } catch {
      return this.#fail('malformed')
    }
    if (!this.#isHeadNew) return
    this.#isHeadNew = false
    this.#user?.headTold()
  }

  /** The server's time begins with the last byte of the request. */
  readonly #uploaded = (): void => {
    this.#sentAt = performance.now()
    this.#movedAt = this.#sentAt
  }

  #ended(): void {
    if (!this.#parser.finish()) this.#socket.destroy()
  }

  #fail(failure: Failure): void {
    this.#failure = failure
    const user = this.#user
    this.destroy()
    user?.broken(failure)
  }

  #whyClosed(): Failure {
    if (this.#isReused && !this.#isHeard) return 'stale'
    return this.#upload?.isOver === false ? 'unread' : 'reset'
  }

  #closed(): void {
    this.#released(this, false)
    const user = this.#user
    this.#user = undefined
    this.#upload?.stop()
    user?.broken(this.#failure ?? this.#whyClosed())
  }
}
