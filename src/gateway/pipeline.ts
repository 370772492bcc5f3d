/** Pipelined requests of one HTTP/1.1 connection, one after the other: some may depend on those before (RFC 9112, section 9.3.2). */
import type { Socket } from 'node:net'
import { type ClientRequest, type ClientResponse, isHttp2 } from './reply.ts'

/** More requests that wait on one connection end it. */
const WAITING_MAX = 128

interface Line {
  last: ClientResponse
  waiting: number
}

/** Returns what begins a request, at the latest once the answer before it has left. HTTP/2 has streams for that. */
export function createPipeline(): (request: ClientRequest, response: ClientResponse, begin: () => void) => void {
  const lines = new WeakMap<Socket, Line>()
  return (request, response, begin) => {
    if (isHttp2(response)) return begin()
    const { socket } = request
    const line = lines.get(socket)
    if (line === undefined) {
      lines.set(socket, { last: response, waiting: 0 })
      return begin()
    }
    const before = line.last
    line.last = response
    if ('closed' in before && before.closed) return begin()
    if (line.waiting >= WAITING_MAX) return void socket.destroy()
    line.waiting++
    before.once('close', () => {
      line.waiting--
      // Node closes no answer that had no turn: those that wait for it are told here.
      if (socket.destroyed) response.emit('close')
      else begin()
    })
  }
}
