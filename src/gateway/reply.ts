/** The client's side of a request, over HTTP/1.1 and HTTP/2 alike. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'

export type ClientRequest = IncomingMessage | Http2ServerRequest
export type ClientResponse = ServerResponse | Http2ServerResponse

export function isHttp2(response: ClientResponse): response is Http2ServerResponse {
  return 'stream' in response
}

/** The client has left, or its connection was ended. */
export function isGone(response: ClientResponse): boolean {
  return isHttp2(response) ? response.stream === undefined || response.stream.destroyed : response.destroyed
}

function isHttp2Request(request: ClientRequest): request is Http2ServerRequest {
  return 'stream' in request
}

/** An HTTP/2 request whose body comes after its head. */
export function hasStreamBody(request: ClientRequest): boolean {
  return isHttp2Request(request) && !request.stream.endAfterHeaders
}

/** Its client ended an HTTP/2 stream before the body was whole: Node then tells its end as of any other. */
export function isCut(request: ClientRequest): boolean {
  return isHttp2Request(request) && request.stream.closed
}

/** The answer is whole: the client need not send the rest (RFC 9113, section 8.1). */
export function stopSending(request: ClientRequest): void {
  request.resume()
  if (isHttp2Request(request)) request.stream.close(constants.NGHTTP2_NO_ERROR)
}

/** Names and values in turn. Throws for fields that cannot be written. */
export function writeHead(response: ClientResponse, status: number, statusText: string, headers: string[]): void {
  if (!isHttp2(response)) return void response.writeHead(status, statusText, headers)
  const fields: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>
  for (let at = 0; at < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase()
    const value = headers[at + 1] as string
    const before = fields[name]
    if (name === 'set-cookie') fields[name] = before === undefined ? [value] : [...before, value]
    // Node takes no lists for fields that have one value; RFC 9110, section 5.3 allows to join any but Set-Cookie.
    else if (before !== value) fields[name] = before === undefined ? value : `${before as string}, ${value}`
  }
  try {
    response.writeHead(status, fields)
  } catch (error) {
    // What was stored would spoil the refusal that follows.
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    throw error
  }
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
