import type { AnswerHead } from './answer-head.ts'
import { type Failure, isRepeatable } from './failure.ts'
import type { Server, Servers, UnderWay } from './servers.ts'
import type { Connection, ConnectionUser, UpstreamRequest } from './upstream/connection.ts'
import type { PoolUser } from './upstream/pool.ts'

/** What one attempt tells the request it is made for. */
export interface AttemptHandlers {
  answered(attempt: Attempt, status: number, statusText: string, head: AnswerHead): void
  /** Nothing came with the head. */
  headAlone(): void
  data(attempt: Attempt, chunk: Buffer, isLast: boolean): void
  completed(attempt: Attempt): void
  failed(attempt: Attempt, failure: Failure): void
  hangs(attempt: Attempt): void
}

/** One request sent to one server. After it ended or was given up it tells nothing more. */
export class Attempt implements PoolUser, ConnectionUser, UnderWay {
  readonly server: Server
  readonly #servers: Servers
  readonly #to: AttemptHandlers
  readonly #request: UpstreamRequest
  #connection: Connection | undefined
  #stopWaiting: (() => void) | undefined
  #over = false
  hasHead = false

  constructor(server: Server, servers: Servers, request: UpstreamRequest, to: AttemptHandlers) {
    this.server = server
    this.#servers = servers
    this.#request = request
    this.#to = to
  }

  start(): void {
    this.#servers.begin(this.server, this)
    const stopWaiting = this.server.pool.take(this, !isRepeatable(this.#request.method))
    if (this.#connection === undefined) this.#stopWaiting = stopWaiting
  }

  /** The connection stood: bytes may have been sent. */
  get sent(): boolean {
    return this.#connection !== undefined
  }

  /** Ends it: the connection is closed, or the wait for one. */
  giveUp(): void {
    if (this.#over) return
    this.#finish()
    this.#stopWaiting?.()
    this.#connection?.destroy()
  }

  pause(): void {
    if (!this.#over) this.#connection?.pause()
  }

  resume(): void {
    if (!this.#over) this.#connection?.resume()
  }

  serverHangs(): void {
    if (!this.#over) this.#to.hangs(this)
  }

  end(): void {
    if (this.#over) return
    this.giveUp()
    this.#to.failed(this, this.sent ? 'reset' : 'removed')
  }

  connected(connection: Connection): void {
    this.#stopWaiting = undefined
    this.#connection = connection
    connection.send(this.#request, this)
  }

  unconnected(): void {
    this.broken('dial')
  }

  head(status: number, statusText: string, head: AnswerHead): void {
    this.hasHead = true
    this.#to.answered(this, status, statusText, head)
  }

  headTold(): void {
    if (!this.#over) this.#to.headAlone()
  }

  data(chunk: Buffer, isLast: boolean): void {
    if (!this.#over) this.#to.data(this, chunk, isLast)
  }

  completed(): void {
    if (this.#over) return
    this.#finish()
    this.#to.completed(this)
  }

  broken(failure: Failure): void {
    if (this.#over) return
    if (failure === 'stale' && this.#request.body === undefined && isRepeatable(this.#request.method)) return this.#dialAgain()
    this.#finish()
    this.#to.failed(this, failure)
  }

  #dialAgain(): void {
    this.#connection = undefined
    this.#stopWaiting = this.server.pool.dial(this)
  }

  #finish(): void {
    this.#over = true
    this.#servers.end(this.server, this)
  }
}
