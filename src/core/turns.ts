import type { MaybePromise } from '../seam.ts'

/** Runs one operation at a time, in the order they were asked for; one that fails stops none of those behind it. */
export class Turns {
  #last: Promise<unknown> | undefined

  get busy(): boolean {
    return this.#last !== undefined
  }

  run<T>(operation: () => MaybePromise<T>): Promise<T> {
    const turn = this.#last === undefined ? begun(operation) : this.#last.then(operation)
    this.follow(turn)
    return turn
  }

  /** For an operation that has begun already: those asked for from now on wait for it. */
  follow(operation: Promise<unknown>): void {
    const ended = operation
      .catch(() => undefined)
      .then(() => {
        if (this.#last === ended) this.#last = undefined
      })
    this.#last = ended
  }

  async ended(): Promise<void> {
    while (this.#last !== undefined) await this.#last
  }
}

/** At once: what the handler does after it has asked for the operation comes after it. */
async function begun<T>(operation: () => MaybePromise<T>): Promise<T> {
  return operation()
}
