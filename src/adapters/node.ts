/** Sessions for plain `node:http` and `node:https` servers. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { mountable } from '../core/mount.ts'
import type { OpenSession, Session, Sessions } from '../types.ts'
import { answerTo, type OnCommitError } from './commit-error.ts'
import { NodeRequest } from './node-request.ts'
import { gateResponse, isGated, type NodeErrorPolicy } from './response-gate.ts'

export type { CommitErrorAnswer, OnCommitError } from './commit-error.ts'

export interface NodeSessionsOptions {
  /** The answer when the session could not be opened or stored. Default: the error's status and a JSON body. */
  onCommitError?: OnCommitError<IncomingMessage>
}

export type NodeHandler<D> = (request: IncomingMessage, response: ServerResponse, session: Session<D>) => unknown

/**
 * Wraps a handler so that it is called with the request's session, and its answer waits until the session is stored.
 * A handler that throws or rejects is reported to the logger and answered 500, or its connection closed when the answer had begun.
 */
export function nodeSessions<D>(sessions: Sessions<D>, options: NodeSessionsOptions = {}): (handler: NodeHandler<D>) => RequestListener {
  const source = mountable(sessions)
  const policy: NodeErrorPolicy = { onCommitError: options.onCommitError, logger: source.logger }

  return (handler) => {
    function run(request: IncomingMessage, response: ServerResponse, session: Session<D>): void {
      try {
        const result = handler(request, response, session)
        if (isThenable(result)) result.then(undefined, (error: unknown) => handlerFailed(response, error, policy))
      } catch (error) {
        handlerFailed(response, error, policy)
      }
    }

    function start(request: IncomingMessage, response: ServerResponse, open: OpenSession<D>): void {
      try {
        source.attach(request, open)
        gateResponse(response, sessions, open, policy)
      } catch (error) {
        open.end()
        refuse(request, response, error, policy)
        return
      }
      run(request, response, open.session)
    }

    return (request, response) => {
      if (isGated(response, sessions)) return run(request, response, sessions.of(request))
      try {
        const opening = source.openNow(new NodeRequest(request))
        if (!(opening instanceof Promise)) return start(request, response, opening)
        opening.then(
          (open) => start(request, response, open),
          (error: unknown) => refuse(request, response, error, policy),
        )
      } catch (error) {
        refuse(request, response, error, policy)
      }
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown, policy: NodeErrorPolicy): void {
  const { status, headers, body = '' } = answerTo(error, request, policy)
  response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) })
  response.end(body)
}

function handlerFailed(response: ServerResponse, error: unknown, { logger }: NodeErrorPolicy): void {
  logger.error('holdfast: a request handler failed.', error)
  if (response.headersSent) {
    if (!response.writableEnded) response.destroy()
    return
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  response.statusMessage = ''
  const body = JSON.stringify({ error: { code: 'INTERNAL', message: 'The request could not be answered.' } })
  response.writeHead(500, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store', 'Content-Length': body.length })
  response.end(body)
}
