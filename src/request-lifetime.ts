import { beginMeta, withLifetime } from './core/lifetime.ts'
import type { Engine } from './engine.ts'
import { lifetimeOf } from './options.ts'
import type { Change, RecordMeta } from './seam.ts'
import type { Lifetime } from './types.ts'

/** What `setLifetime` asked for in this request and no commit has stored yet. */
export class RequestLifetime {
  readonly #engine: Engine
  #wanted: { readonly lifetime: Required<Lifetime>; readonly persistent: boolean } | undefined

  constructor(engine: Engine) {
    this.#engine = engine
  }

  get isChanged(): boolean {
    return this.#wanted !== undefined
  }

  /** Returns the metadata of a session that is to be created with it. */
  set(lifetime: Lifetime, persistent: boolean | undefined, meta: RecordMeta): RecordMeta {
    const { idleMs, touchEveryMs } = meta
    const complete = lifetimeOf(lifetime, { idleMs, touchEveryMs, absoluteMs: this.#engine.settings.lifetime.absoluteMs })
    this.#wanted = { lifetime: complete, persistent: persistent ?? meta.persistent }
    return this.fresh(meta.userId, complete, this.#wanted.persistent)
  }

  forget(): void {
    this.#wanted = undefined
  }

  /** The root states the absolute end and whether it outlives the browser: what goes beyond needs another root. */
  changeOf(meta: RecordMeta): Change['lifetime'] | 'new root' | undefined {
    if (this.#wanted === undefined) return undefined
    const next = this.applied(meta)
    if (next.absoluteAt > meta.absoluteAt || next.persistent !== meta.persistent) return 'new root'
    return { idleMs: next.idleMs, touchEveryMs: next.touchEveryMs, absoluteAt: next.absoluteAt }
  }

  applied(meta: RecordMeta): RecordMeta {
    if (this.#wanted === undefined) return meta
    return withLifetime(meta, this.#engine.runtime.now(), this.#wanted.lifetime, this.#wanted.persistent)
  }

  /** Of a session that begins now. */
  fresh(
    userId: string | undefined,
    lifetime: Required<Lifetime> = this.#engine.settings.lifetime,
    persistent: boolean = this.#engine.settings.cookie.persistent,
  ): RecordMeta {
    return beginMeta(this.#engine.runtime.now(), userId, lifetime, persistent)
  }
}
