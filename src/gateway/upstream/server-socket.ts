// oxlint-disable no-underscore-dangle -- the names are node's
import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net'

type Done = (error?: Error | null) => void

/**
 * A server may answer (413) and close before it has read the request's body: writing then fails while its answer still waits to be read
 * (RFC 9112, section 9.6). So a failed write only ends writing; the connection ends when its reading side does.
 */
class ServerSocket extends Socket {
  #isDeaf = false

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    if (this.#isDeaf) return done()
    super._write(chunk, encoding, (error) => this.#written(error, done))
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    if (this.#isDeaf) return done()
    super._writev?.(chunks, (error) => this.#written(error, done))
  }

  #written(error: Error | null | undefined, done: Done): void {
    this.#isDeaf = !this.destroyed && error !== undefined && error !== null
    done(this.#isDeaf ? null : error)
  }
}

export function dialServer(address: TcpSocketConnectOpts & SocketConstructorOpts): Socket {
  return new ServerSocket(address).connect(address)
}
