import type { AccessEntry } from './access-log.ts'
import type { AnswerHead } from './answer-head.ts'
import { Attempt, type AttemptHandlers } from './attempt.ts'
import { type Failure, isRepeatable } from './failure.ts'
import type { Picker, PickRequest } from './picker.ts'
import { badRequest, CROWDED, NO_SERVER, type Refusal, refuse, SERVER_FAILED, TIMED_OUT, TOO_SLOW } from './refusal.ts'
import {
  breakOff,
  type ClientRequest,
  type ClientResponse,
  flushHead,
  hasStreamBody,
  isCut,
  isGone,
  stopSending,
  writeChunk,
  writeHead,
} from './reply.ts'
import { readRequest } from './request-facts.ts'
import { requestText } from './request-head.ts'
import type { Server, Servers } from './servers.ts'
import type { Trust } from './trust.ts'
import type { UpstreamRequest } from './upstream/connection.ts'
import type { Waiter } from './waiting-line.ts'

export interface ExchangeSettings {
  readonly servers: Servers
  readonly picker: Picker
  readonly retries: number
  readonly trust: Trust
  /** Told of every answer, once; 502 for one that broke off, 499 when the client left first. */
  done(entry: AccessEntry): void
}

/** An answer came before its request's body had arrived: the rest is read and dropped for so long. */
const LINGER_MS = 5_000
/** As nginx notes a client that left before its answer. */
const CLIENT_LEFT = 499

/** Takes one request of a client to a server and its answer back. */
export function exchange(settings: ExchangeSettings, request: ClientRequest, response: ClientResponse): void {
  const startedAt = performance.now()
  const facts = readRequest(request, settings.trust)
  const method = request.method ?? 'GET'
  if (typeof facts === 'string') {
    const { remoteAddress: address = '' } = request.socket
    settings.done({ method, path: '', status: 400, bytes: 0, startedAt, address, server: undefined, httpVersion: request.httpVersion })
    refuse(response, badRequest(facts))
    return drop(request)
  }
  const { head, path, picked } = facts
  const body =
    head.hasBody || hasStreamBody(request) ? { stream: request, chunked: !head.hasLength, isCut: () => isCut(request) } : undefined
  const text = requestText(method, path, body === undefined || head.hasBody ? head : { ...head, hasBody: true })
  new Exchange(settings, request, response, { method, head: text, body }, picked, path, startedAt).next()
}

/** Reads and drops what is left of a body, so that the connection can be used again; HTTP/2 tells the client to stop. */
function drop(request: ClientRequest): void {
  if (hasStreamBody(request)) return stopSending(request)
  if (request.complete) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), LINGER_MS)
  timer.unref()
  request.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
}

const ignore = (): void => undefined

class Exchange implements AttemptHandlers, Waiter {
  readonly #settings: ExchangeSettings
  readonly #request: ClientRequest
  readonly #response: ClientResponse
  readonly #forward: UpstreamRequest
  readonly #picked: PickRequest
  readonly #path: string
  readonly #startedAt: number
  #tried: readonly Server[] = []
  #attempt: Attempt | undefined
  #server: Server | undefined
  #leaveLine: (() => void) | undefined
  #status = 0
  #bytes = 0
  #isTold = false
  #drains = false

  constructor(
    settings: ExchangeSettings,
    request: ClientRequest,
    response: ClientResponse,
    forward: UpstreamRequest,
    picked: PickRequest,
    path: string,
    startedAt: number,
  ) {
    this.#settings = settings
    this.#request = request
    this.#response = response
    this.#forward = forward
    this.#picked = picked
    this.#path = path
    this.#startedAt = startedAt
    response.on('close', this.#closed)
    response.on('error', ignore)
    if (forward.body !== undefined) request.on('error', ignore)
  }

  /** Tries the next server. */
  next(exhausted: Refusal = NO_SERVER): void {
    const { picker, retries, servers } = this.#settings
    const server = this.#tried.length > retries ? undefined : picker.pick(this.#picked, this.#tried)
    if (server === undefined) return this.#refuse(exhausted)
    this.#server = server
    if (!servers.isFull(server)) return this.admitted()
    this.#leaveLine = server.line.join(this)
    if (this.#leaveLine === undefined) this.#refuse(CROWDED)
  }

  admitted(): void {
    const server = this.#server as Server
    this.#leaveLine = undefined
    this.#tried = [...this.#tried, server]
    this.#attempt = new Attempt(server, this.#settings.servers, this.#forward, this)
    this.#attempt.start()
  }

  gaveUp(): void {
    this.#refuse(CROWDED)
  }

  sentAway(): void {
    this.next()
  }

  answered(attempt: Attempt, status: number, statusText: string, head: AnswerHead): void {
    const { headers, label } = head
    const { servers, picker } = this.#settings
    if (label !== undefined) servers.learn(attempt.server, label)
    const cookie = picker.setCookie(this.#picked, attempt.server)
    if (cookie !== undefined) headers.push('set-cookie', cookie)
    try {
      writeHead(this.#response, status, statusText, headers)
    } catch {
      // Node refuses fields that no client should see.
      attempt.giveUp()
      return this.failed(attempt, 'malformed')
    }
    this.#status = status
  }

  /** A body that comes later must not hold the head back; one that is here already shares its packet. */
  headAlone(): void {
    if (!isGone(this.#response)) flushHead(this.#response)
  }

  data(attempt: Attempt, chunk: Buffer, isLast: boolean): void {
    this.#bytes += chunk.length
    if (isLast) return void this.#response.end(chunk)
    if (writeChunk(this.#response, chunk)) return
    attempt.pause()
    if (this.#drains) return
    this.#drains = true
    this.#response.on('drain', this.#drained)
  }

  completed(): void {
    if (!this.#response.writableEnded) this.#response.end()
    this.#finish(this.#status)
  }

  failed(attempt: Attempt, failure: Failure): void {
    const { servers } = this.#settings
    if (failure === 'dial' || failure === 'reset') servers.failed(attempt.server, failure)
    // Neither says that the server is down; a check finds out.
    if (failure === 'stale' || failure === 'unread') attempt.server.recheck()
    if (isGone(this.#response)) return this.#tell(CLIENT_LEFT)
    if (this.#response.headersSent) return this.#breakOff()
    const broken = failure === 'dial' || failure === 'removed' || failure === 'reset'
    if (broken && this.#maySendAgain(attempt)) return this.#retry(attempt, failure === 'reset' ? SERVER_FAILED : NO_SERVER, failure)
    if (failure === 'slow') return this.#refuse(TOO_SLOW)
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

  /** Nothing was sent, or what was sent may be sent again: a body goes once. */
  #maySendAgain(attempt: Attempt): boolean {
    return !attempt.sent || (this.#forward.body === undefined && isRepeatable(this.#forward.method))
  }

  #retry(attempt: Attempt, exhausted: Refusal, why: string): void {
    this.#settings.servers.notify({ type: 'retry', id: attempt.server.id, why })
    this.next(exhausted)
  }

  /** Part of an answer has gone: no client may take it for the whole. */
  #breakOff(): void {
    this.#tell(SERVER_FAILED.status)
    breakOff(this.#response)
  }

  #refuse(refusal: Refusal): void {
    try {
      refuse(this.#response, refusal)
    } catch {
      breakOff(this.#response)
    }
    this.#finish(refusal.status)
  }

  #finish(status: number): void {
    this.#attempt = undefined
    this.#tell(status)
    drop(this.#request)
  }

  readonly #drained = (): void => this.#attempt?.resume()

  readonly #closed = (): void => {
    this.#leaveLine?.()
    this.#attempt?.giveUp()
    this.#tell(CLIENT_LEFT)
  }

  #tell(status: number): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#settings.done({
      method: this.#forward.method,
      path: this.#path,
      status,
      bytes: this.#bytes,
      startedAt: this.#startedAt,
      address: this.#picked.address,
      server: this.#server?.id,
      httpVersion: this.#request.httpVersion,
    })
  }
}
