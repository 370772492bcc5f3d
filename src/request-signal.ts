import type { Engine } from './engine.ts'

/** `session.signal` of one request: made when first asked for, ended with the request or with its session. */
export class RequestSignal {
  readonly #engine: Engine
  #open: { signal: AbortSignal; close(): void } | undefined

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** `expiry`: when the session ends by now, Unix ms; undefined: it has ended. */
  of(key: string, expiry: () => Promise<number | undefined>): AbortSignal {
    this.#open ??= this.#engine.signals.open(key, expiry)
    return this.#open.signal
  }

  /** The session goes on under another id: who holds the signal of the old one is told. */
  leave(oldKey: string): void {
    this.close()
    this.#open = undefined
    this.#engine.signals.abort(oldKey)
  }

  close(): void {
    this.#open?.close()
  }
}
