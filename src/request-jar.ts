import { JarChanges, type PresentedJar } from './core/jar.ts'
import type { Carrier } from './core/root.ts'
import type { Engine } from './engine.ts'
import type { RecordMeta, SessionId } from './seam.ts'
import type { CommitResult } from './types.ts'

const NOTHING: CommitResult = { cookies: [], headers: [] }

/** What one request was presented with, and what its answer changes about it. */
export class RequestJar {
  readonly #engine: Engine
  readonly #presented: PresentedJar
  #changes: JarChanges | undefined
  #newId: SessionId | undefined

  constructor(engine: Engine, presented: PresentedJar) {
    this.#engine = engine
    this.#presented = presented
  }

  get carrier(): Carrier {
    return this.#presented.carrier
  }

  /** The id that the session gets once it is stored. `absoluteAt`: Unix ms, as the root will state it. */
  idFor(absoluteAt: number): SessionId {
    this.#newId ??= this.#engine.roots.make(absoluteAt)
    if (this.#newId.absoluteAt !== absoluteAt) this.#newId = { ...this.#newId, absoluteAt }
    return this.#newId
  }

  changes(): JarChanges {
    return (this.#changes ??= new JarChanges(this.#presented))
  }

  /** The session has ended; one that follows gets another id. */
  end(): void {
    if (this.#presented.jar !== undefined || this.#changes !== undefined) this.changes().deleteRoot()
    this.#newId = undefined
  }

  token(): string {
    return this.#changes?.token(this.#engine.roots) ?? ''
  }

  /** `seen`: the handler has looked at the session, so the answer varies by it. */
  result(seen: boolean, { persistent, absoluteAt }: RecordMeta): CommitResult {
    const { cookies, roots, runtime, seen: varies, settings } = this.#engine
    if (this.#changes === undefined || this.#changes.isEmpty) return seen ? varies : NOTHING
    const result: CommitResult = { cookies: [], headers: seen ? [...varies.headers] : [] }
    this.#changes.write(result, roots, settings.cookie.name, cookies, persistent ? absoluteAt : undefined, runtime.now())
    return result
  }
}
