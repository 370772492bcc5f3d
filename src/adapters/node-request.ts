import type { IncomingMessage } from 'node:http'
import type { RequestView } from '../types.ts'

/** A node request as the engine reads it, without copying anything. */
export class NodeRequest implements RequestView {
  readonly #request: IncomingMessage & { originalUrl?: string }

  constructor(request: IncomingMessage) {
    this.#request = request
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name]
    return typeof value === 'object' ? value.join(', ') : value
  }

  get method(): string {
    return this.#request.method ?? 'GET'
  }

  /** Routers shorten `url` while they descend. */
  get url(): string {
    return this.#request.originalUrl ?? this.#request.url ?? '/'
  }
}
