// oxlint-disable no-underscore-dangle -- the names are node's
/**
 * The parts of node's `ServerResponse` below its documented methods that the gate stands on. Node itself waits with them:
 * a pipelined answer is rendered and queued in `outputData` until its turn comes, and `_flush` lets it go. Unchanged in
 * Node 22 to 26; a unit test names each.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { SessionError } from '../errors.ts'

type Callback = ((error?: Error | null) => void) | null | undefined

export interface QueuedOutput {
  data: string | Uint8Array
  encoding: BufferEncoding | null | undefined
  callback: Callback
}

export interface NodeResponse extends ServerResponse {
  /** The rendered head; null until it is decided. */
  _header: string | null
  /** The head has been handed on, in front of the first bytes. */
  _headerSent: boolean
  /** The connection closes after this answer. */
  _last: boolean
  _keepAliveTimeout: number
  outputData: QueuedOutput[]
  outputSize: number
  /** Tells the server how much is queued on this connection. */
  _onPendingData(delta: number): void
  _storeHeader(firstLine: string, headers: unknown): void
  _writeRaw(data: string | Uint8Array, encoding?: BufferEncoding | Callback, callback?: Callback, size?: number): boolean
  _flush(): void
}

export interface NodeSocket extends Socket {
  _httpMessage?: ServerResponse | null
}

export function nodeResponse(response: ServerResponse): NodeResponse {
  const candidate = response as Partial<NodeResponse>
  if (typeof candidate._storeHeader === 'function' && typeof candidate._writeRaw === 'function') return response as NodeResponse
  throw new SessionError(
    'CONFIG_INVALID',
    'The adapter serves node:http and node:https: end HTTP/2 in front of it, or use the fetch adapter.',
  )
}

/** Adds to what `getHeader` tells, although the head is decided: for loggers that read it afterwards. */
export function setDecidedHeader(response: NodeResponse, name: string, value: string | readonly string[]): void {
  const decided = response._header
  response._header = null
  try {
    response.setHeader(name, value)
  } finally {
    response._header = decided
  }
}
