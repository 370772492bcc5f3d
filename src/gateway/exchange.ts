import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from '../vendor/undici.ts'
import { readAnswerHead } from './answer-head.ts'
import { Attempt, type AttemptHandlers } from './attempt.ts'
import { type Failure, isRepeatable } from './failure.ts'
import type { Picker, PickRequest } from './picker.ts'
import { badRequest, NO_SERVER, type Refusal, refuse, SERVER_FAILED, TIMED_OUT } from './refusal.ts'
import { RequestBody } from './request-body.ts'
import { addForwarded, clientAddress, readRequestHead } from './request-head.ts'
import type { Server, Servers } from './servers.ts'
import { pathOf } from './target.ts'

export interface ExchangeSettings {
  readonly servers: Servers
  readonly picker: Picker
  readonly retries: number
  readonly trustForwarded: boolean
  /** Told the status of every answer, once; 502 for one that broke off. */
  count(status: number): void
}

/** An answer came before its request's body had arrived: the rest is read and dropped for so long. */
const LINGER_MS = 5_000

/** Takes one request of a client to a server and its answer back. */
export function exchange(settings: ExchangeSettings, request: IncomingMessage, response: ServerResponse): void {
  const address = request.socket.remoteAddress ?? ''
  const facts = { address, trustForwarded: settings.trustForwarded }
  const head = readRequestHead(request.rawHeaders, settings.trustForwarded)
  const path = pathOf(request.url ?? '', head.host)
  const problem = head.problem ?? (path === undefined ? 'The request target must be a path on this host.' : undefined)
  if (problem !== undefined || path === undefined) {
    settings.count(400)
    refuse(response, badRequest(problem ?? ''))
    return drop(request)
  }
  const picked = { address: clientAddress(head, facts), cookie: head.cookie }
  addForwarded(head, facts)
  const options = { path, method: request.method ?? 'GET', headers: head.headers }
  new Exchange(settings, request, response, options, picked, head.hasBody).next()
}

/** Reads and drops what is left of a body, so that the connection can be used again. */
function drop(request: IncomingMessage): void {
  if (request.complete) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), LINGER_MS)
  timer.unref()
  request.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
}

const ignore = (): void => undefined

class Exchange implements AttemptHandlers {
  readonly #settings: ExchangeSettings
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: Dispatcher.DispatchOptions
  readonly #picked: PickRequest
  readonly #hasBody: boolean
  #tried: readonly Server[] = []
  #attempt: Attempt | undefined
  #body: RequestBody | undefined
  #wrote = false

  constructor(
    settings: ExchangeSettings,
    request: IncomingMessage,
    response: ServerResponse,
    options: Dispatcher.DispatchOptions,
    picked: PickRequest,
    hasBody: boolean,
  ) {
    this.#settings = settings
    this.#request = request
    this.#response = response
    this.#options = options
    this.#picked = picked
    this.#hasBody = hasBody
    response.on('drain', () => this.#attempt?.resume())
    response.on('close', () => this.#attempt?.giveUp())
    response.on('error', ignore)
    request.on('error', ignore)
  }

  /** Tries the next server. */
  next(exhausted: Refusal = NO_SERVER): void {
    const { picker, retries, servers } = this.#settings
    const server = this.#tried.length > retries ? undefined : picker.pick(this.#picked, this.#tried)
    if (server === undefined) return this.#refuse(exhausted)
    this.#tried = [...this.#tried, server]
    if (this.#hasBody) this.#body = new RequestBody(this.#request)
    const attempt = new Attempt(server, servers, this)
    this.#attempt = attempt
    attempt.start(this.#body === undefined ? this.#options : { ...this.#options, body: this.#body })
  }

  answered(attempt: Attempt, status: number, statusText: string, rawHeaders: readonly (Buffer | string)[]): void {
    const { headers, label } = readAnswerHead(rawHeaders)
    const { servers, picker } = this.#settings
    if (label !== undefined) servers.learn(attempt.server, label)
    const cookie = picker.setCookie(this.#picked, attempt.server)
    if (cookie !== undefined) headers.push('set-cookie', cookie)
    try {
      this.#response.writeHead(status, statusText, headers)
    } catch {
      // Node refuses to repeat a header that undici let through.
      attempt.giveUp()
      return this.failed(attempt, 'malformed')
    }
    this.#settings.count(status)
    // A body that comes later must not hold the head back; one that is here already shares its packet.
    process.nextTick(() => {
      if (!this.#wrote && !this.#response.destroyed) this.#response.flushHeaders()
    })
  }

  data(attempt: Attempt, chunk: Buffer): void {
    this.#wrote = true
    if (!this.#response.write(chunk)) attempt.pause()
  }

  completed(): void {
    this.#wrote = true
    this.#response.end()
    this.#finish()
  }

  failed(attempt: Attempt, failure: Failure): void {
    const { servers } = this.#settings
    if (failure === 'dial' || failure === 'reset') servers.failed(attempt.server, failure)
    if (this.#response.destroyed || failure === 'client') return void this.#response.destroy()
    if (this.#response.headersSent) return this.#breakOff()
    const broken = failure === 'dial' || failure === 'removed' || failure === 'reset'
    if (broken && this.#maySendAgain(attempt)) return this.#retry(attempt, failure === 'reset' ? SERVER_FAILED : NO_SERVER, failure)
    if (failure === 'invalid') return this.#refuse(badRequest('The request cannot be forwarded as HTTP/1.1.'))
    this.#refuse(failure === 'timeout' ? TIMED_OUT : SERVER_FAILED)
  }

  hangs(attempt: Attempt): void {
    const { servers, picker } = this.#settings
    if (attempt.hasHead || this.#tried.length > this.#settings.retries || !this.#maySendAgain(attempt)) return
    const elsewhere = picker.pick(this.#picked, [...servers.list.filter(({ state }) => state !== 'up'), ...this.#tried])
    if (elsewhere === undefined) return
    attempt.giveUp()
    this.#retry(attempt, SERVER_FAILED, 'hangs')
  }

  #maySendAgain(attempt: Attempt): boolean {
    if (this.#body?.consumed === true) return false
    return !attempt.sent || isRepeatable(this.#options.method)
  }

  #retry(attempt: Attempt, exhausted: Refusal, why: string): void {
    this.#settings.servers.notify({ type: 'retry', id: attempt.server.id, why })
    this.next(exhausted)
  }

  /** Part of an answer has gone: no client may take it for the whole. */
  #breakOff(): void {
    this.#settings.count(SERVER_FAILED.status)
    this.#response.destroy()
  }

  #refuse(refusal: Refusal): void {
    this.#settings.count(refusal.status)
    refuse(this.#response, refusal)
    this.#finish()
  }

  #finish(): void {
    this.#attempt = undefined
    this.#body?.destroy()
    drop(this.#request)
  }
}
