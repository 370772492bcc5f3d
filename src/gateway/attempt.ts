import type { Dispatcher } from '../vendor/undici.ts'
import { type Failure, failureOf } from './failure.ts'
import type { Server, Servers, UnderWay } from './servers.ts'

/** What one attempt tells the request it is made for. */
export interface AttemptHandlers {
  answered(attempt: Attempt, status: number, statusText: string, rawHeaders: readonly (Buffer | string)[]): void
  data(attempt: Attempt, chunk: Buffer): void
  completed(attempt: Attempt): void
  failed(attempt: Attempt, failure: Failure): void
  hangs(attempt: Attempt): void
}

const GIVEN_UP = 'The gateway gave this attempt up.'

/** One request sent to one server. After it ended or was given up it tells nothing more. */
export class Attempt implements Dispatcher.DispatchHandler, UnderWay {
  readonly server: Server
  readonly #servers: Servers
  readonly #to: AttemptHandlers
  #controller: Dispatcher.DispatchController | undefined
  #over = false
  /** The connection stood: bytes may have been sent. */
  sent = false
  hasHead = false

  constructor(server: Server, servers: Servers, to: AttemptHandlers) {
    this.server = server
    this.#servers = servers
    this.#to = to
  }

  start(options: Dispatcher.DispatchOptions): void {
    this.#servers.begin(this.server, this)
    this.server.pool.dispatch(options, this)
  }

  /** Ends it: the connection is closed, or closed as soon as there is one. */
  giveUp(): void {
    if (this.#over) return
    this.#finish()
    this.#controller?.abort(new Error(GIVEN_UP))
  }

  resume(): void {
    if (!this.#over) this.#controller?.resume()
  }

  serverHangs(): void {
    if (!this.#over) this.#to.hangs(this)
  }

  end(): void {
    if (this.#over) return
    this.giveUp()
    this.#to.failed(this, this.sent ? 'reset' : 'removed')
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new Error(GIVEN_UP))
    else this.sent = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText?: string): void {
    // Interim answers (102, 103) are not forwarded.
    if (this.#over || status < 200) return
    this.hasHead = true
    this.#to.answered(this, status, statusText ?? '', controller.rawHeaders as (Buffer | string)[])
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
    this.#controller = controller
    this.#to.data(this, chunk)
  }

  pause(): void {
    this.#controller?.pause()
  }

  onResponseEnd(): void {
    if (this.#over) return
    this.#finish()
    this.#to.completed(this)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return
    this.#finish()
    this.#to.failed(this, failureOf(error, this.sent))
  }

  #finish(): void {
    this.#over = true
    this.#servers.end(this.server, this)
  }
}
