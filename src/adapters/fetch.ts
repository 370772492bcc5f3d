/** Sessions for handlers that take a `Request` and return a `Response`. */
import { mountable } from '../core/mount.ts'
import type { CommitResult, OpenSession, RequestView, Session, Sessions } from '../types.ts'
import { answerTo, type ErrorPolicy, type OnCommitError } from './commit-error.ts'
import { amendHeaders } from './head.ts'

export type { CommitErrorAnswer, OnCommitError } from './commit-error.ts'

export interface FetchSessionsOptions {
  /** The answer when the session could not be opened or stored. Default: the error's status and a JSON body. */
  onCommitError?: OnCommitError<Request>
}

export type FetchHandler<D, A extends unknown[]> = (request: Request, session: Session<D>, ...rest: A) => Response | Promise<Response>
export type FetchListener<A extends unknown[]> = (request: Request, ...rest: A) => Promise<Response>

/**
 * Wraps a handler so that it is called with the request's session, and its `Response` waits until the session is stored; its
 * body passes through untouched. An exception of the handler is passed on and stores nothing: no answer of it exists.
 */
export function fetchSessions<D>(
  sessions: Sessions<D>,
  options: FetchSessionsOptions = {},
): <A extends unknown[]>(handler: FetchHandler<D, A>) => FetchListener<A> {
  const source = mountable(sessions)
  const policy: ErrorPolicy<Request> = { onCommitError: options.onCommitError, logger: source.logger }

  return (handler) =>
    async (request, ...rest) => {
      let open: OpenSession<D>
      try {
        open = await source.openNow(new FetchRequest(request))
        source.attach(request, open)
      } catch (error) {
        return errorResponse(error, request, policy)
      }
      let response: Response
      try {
        response = await handler(request, open.session, ...rest)
        if (typeof (response as Response | undefined)?.status !== 'number') throw new TypeError('The handler returned no Response.')
      } catch (error) {
        open.end()
        throw error
      }
      return finish(request, response, open, policy)
    }
}

class FetchRequest implements RequestView {
  readonly #request: Request

  constructor(request: Request) {
    this.#request = request
  }

  header(name: string): string | undefined {
    const value = this.#request.headers.get(name)
    if (value !== null) return value
    // Some servers turn the Host header into the URL only.
    return name === 'host' ? new URL(this.#request.url).host : undefined
  }

  get method(): string {
    return this.#request.method
  }

  get url(): string {
    const { pathname, search } = new URL(this.#request.url)
    return pathname + search
  }
}

async function finish<D>(request: Request, response: Response, open: OpenSession<D>, policy: ErrorPolicy<Request>): Promise<Response> {
  let result: CommitResult
  try {
    result = open.needsCommit() ? await open.commit() : open.settle()
  } catch (error) {
    open.headSent()
    open.end()
    response.body?.cancel().catch(() => undefined)
    return errorResponse(error, request, policy)
  }
  open.headSent()
  return withResult(response, result, () => open.end())
}

/** A new Response where something changes: the handler's may be immutable, or a constant that it returns again. */
function withResult(response: Response, result: CommitResult, end: () => void): Response {
  const { body } = response
  const unchanged = result.cookies.length === 0 && result.headers.length === 0
  // 101 and Response.error() cannot be made again; an upgrade sets no cookie.
  if (response.status < 200 || (body === null && unchanged) || response.bodyUsed) {
    end()
    return response
  }
  const answer = new Response(body === null ? null : whenDone(body, end), response)
  if (body === null) end()
  amendHeaders(answer.headers, result)
  return answer
}

/** The same chunks at the reader's pace; `done` once they end, fail or are no longer wanted. */
function whenDone(body: ReadableStream<Uint8Array>, done: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done: ended, value } = await reader.read()
          if (!ended) return controller.enqueue(value)
          controller.close()
        } catch (error) {
          controller.error(error)
        }
        done()
      },
      async cancel(reason) {
        done()
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

function errorResponse(error: unknown, request: Request, policy: ErrorPolicy<Request>): Response {
  const { status, headers = {}, body } = answerTo(error, request, policy)
  const bodiless = status === 204 || status === 205 || status === 304 || request.method === 'HEAD'
  return new Response(bodiless || body === undefined ? null : (body as string | Uint8Array<ArrayBuffer>), { status, headers })
}
