import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

/**
 * A request's body for one server. Reading starts when the server's connection is there, so that a failed dial costs nothing, and
 * undici may destroy this stream without ending the client's connection.
 */
export class RequestBody extends Readable {
  readonly #request: IncomingMessage
  /** Bytes may have gone: the request cannot be sent again. */
  consumed = false

  constructor(request: IncomingMessage) {
    super({ highWaterMark: 65_536 })
    this.#request = request
  }

  override _read(): void {
    if (!this.consumed) this.#start()
    this.#request.resume()
  }

  override _destroy(_error: Error | null, callback: (error?: Error | null) => void): void {
    this.#request.off('data', this.#data).off('end', this.#end).off('close', this.#close)
    // The reason is known elsewhere; an 'error' event nobody hears would end the process.
    callback(null)
  }

  #start(): void {
    this.consumed = true
    this.#request.on('data', this.#data).on('end', this.#end).on('close', this.#close)
  }

  readonly #data = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#request.pause()
  }
  readonly #end = (): void => void this.push(null)
  readonly #close = (): void => {
    if (!this.#request.complete) this.destroy()
  }
}
