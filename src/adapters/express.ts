/** Sessions for Express 4 and 5, and for what calls middleware the same way (connect, polka, restana). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { mountable } from '../core/mount.ts'
import type { OpenSession, Sessions } from '../types.ts'
import type { OnCommitError } from './commit-error.ts'
import { NodeRequest } from './node-request.ts'
import { gateResponse, isGated, type NodeErrorPolicy } from './response-gate.ts'

export type { CommitErrorAnswer, OnCommitError } from './commit-error.ts'

export interface ExpressSessionsOptions {
  /** Requests that need no session: static files, health checks. */
  skip?: (request: IncomingMessage) => boolean
  /** The answer when the session could not be stored. Default: the error's status and a JSON body. */
  onCommitError?: OnCommitError<IncomingMessage>
}

export type ExpressMiddleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

/**
 * Middleware: `sessions.of(req)` finds the session in every handler after it, and the answer waits until it is stored.
 * A session that cannot be opened is passed to `next(error)`; one that cannot be stored is answered by `onCommitError`.
 */
export function expressSessions<D>(sessions: Sessions<D>, options: ExpressSessionsOptions = {}): ExpressMiddleware {
  const source = mountable(sessions)
  const policy: NodeErrorPolicy = { onCommitError: options.onCommitError, logger: source.logger }
  const { skip } = options

  function mount(request: IncomingMessage, response: ServerResponse, open: OpenSession<D>): unknown {
    try {
      source.attach(request, open)
      gateResponse(response, sessions, open, policy)
      return undefined
    } catch (error) {
      open.end()
      return error
    }
  }

  return (request, response, next) => {
    if (skip?.(request) === true || isGated(response, sessions)) return next()
    let opening: OpenSession<D> | Promise<OpenSession<D>>
    try {
      opening = source.openNow(new NodeRequest(request))
    } catch (error) {
      return next(error)
    }
    if (!(opening instanceof Promise)) return next(mount(request, response, opening))
    // oxlint-disable-next-line promise/no-callback-in-promise -- middleware goes on by a callback
    opening.then((open) => next(mount(request, response, open)), next)
  }
}
