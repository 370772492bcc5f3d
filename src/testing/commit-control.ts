/** A strategy whose commits are always asynchronous, and can be held or made to fail. */
import type { MaybePromise, RunningStrategy, SessionStrategy } from '../seam.ts'

const COMMITS: ReadonlySet<PropertyKey> = new Set(['create', 'write', 'replace', 'update', 'destroy'])

export class CommitControl {
  /** Commits that have begun. */
  begun = 0
  /** Commits that have been stored. */
  stored = 0
  /** Every commit rejects with this. */
  failure: unknown = undefined
  #latch: { promise: Promise<void>; open: () => void } | undefined

  /** Commits wait until `release`. */
  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#latch = { promise, open: resolve }
  }

  release(): void {
    this.#latch?.open()
    this.#latch = undefined
  }

  async pass<T>(operation: () => MaybePromise<T>): Promise<T> {
    this.begun++
    await (this.#latch?.promise ?? new Promise((resolve) => setImmediate(resolve)))
    if (this.failure !== undefined) throw this.failure
    const result = await operation()
    this.stored++
    return result
  }
}

export function controlled(strategy: SessionStrategy, control: CommitControl): SessionStrategy {
  return {
    name: strategy.name,
    capabilities: strategy.capabilities,
    start(context): RunningStrategy {
      return new Proxy(strategy.start(context), {
        get(target, name) {
          const value: unknown = Reflect.get(target, name, target)
          if (typeof value !== 'function') return value
          if (!COMMITS.has(name)) return value.bind(target) as unknown
          return (...rest: unknown[]) => control.pass(() => Reflect.apply(value, target, rest) as unknown)
        },
      })
    },
  }
}
