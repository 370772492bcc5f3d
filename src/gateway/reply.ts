/** The client's side of a request, over HTTP/1.1 and HTTP/2 alike. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'

export type ClientRequest = IncomingMessage | Http2ServerRequest
export type ClientResponse = ServerResponse | Http2ServerResponse

function isHttp2(response: ClientResponse): response is Http2ServerResponse {
  return 'stream' in response
}

/** The client has left, or its connection was ended. */
export function isGone(response: ClientResponse): boolean {
  return isHttp2(response) ? response.stream === undefined || response.stream.destroyed : response.destroyed
}

/** Names and values in turn. Throws for fields that cannot be written. */
export function writeHead(response: ClientResponse, status: number, statusText: string, headers: string[]): void {
  if (!isHttp2(response)) return void response.writeHead(status, statusText, headers)
  const fields: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>
  for (let at = 0; at < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase()
    const value = headers[at + 1] as string
    const before = fields[name]
    fields[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
  }
  response.writeHead(status, fields)
}

/** No client may take what it has for the whole. */
export function breakOff(response: ClientResponse): void {
  if (isHttp2(response)) response.stream?.close(constants.NGHTTP2_INTERNAL_ERROR)
  else response.destroy()
}

/** HTTP/2 sends a head at once anyway. */
export function flushHead(response: ClientResponse): void {
  if (!isHttp2(response)) response.flushHeaders()
}

/** False: wait for 'drain'. */
export function writeChunk(response: ClientResponse, chunk: Buffer): boolean {
  return isHttp2(response) ? response.write(chunk) : response.write(chunk)
}
