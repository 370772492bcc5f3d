import { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import type { Front } from './front.ts'

/** By its own end (FIN) a client that waits for its answer cannot be told from one that has left. */
const BEGIN_MS = 1_000

/**
 * A client may close its half of the connection once its request is sent, and still read (RFC 9112, section 9.6): it is answered if its
 * answer begins within a second. From then on a client that has left resets the connection. WebSockets have their own rule.
 */
export function answerHalfClosed(front: Front): void {
  // TLS has no halves that Node would keep open.
  if (!(front instanceof HttpServer)) return
  // Node would end the connection at once; its types do not know this property.
  Object.assign(front, { httpAllowHalfOpen: true })
  const ended = function (this: Socket): void {
    const { bytesWritten } = this
    const timer = setTimeout(() => {
      if (this.bytesWritten === bytesWritten) this.destroy()
    }, BEGIN_MS)
    this.once('close', () => clearTimeout(timer))
  }
  front.on('connection', (socket: Socket) => void socket.once('end', ended))
  front.on('upgrade', (_request, socket) => void socket.off('end', ended))
}
