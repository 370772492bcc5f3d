/** The session as handlers see it. */
import { dataOf } from './core/field-proxy.ts'
import type { Fields } from './core/fields.ts'
import { SessionError } from './errors.ts'
import type { RequestSession } from './request-session.ts'
import type { CounterField, KeepOptions, Lifetime, LoginOptions, Session } from './types.ts'

// A mistyped property would be lost in silence: it throws instead. Known properties never reach this prototype.
const refuseUnknown = new Proxy(Object.create(null) as object, {
  set(_target, name): boolean {
    throw new SessionError('SESSION_PROPERTY_UNKNOWN', `session.${String(name)} is not stored: use session.data.${String(name)}.`)
  },
})

class SessionHandle<D> implements Session<D> {
  readonly #request: RequestSession<D>
  #data: object | undefined

  constructor(request: RequestSession<D>) {
    this.#request = request
  }

  get key(): string {
    return this.#request.key
  }

  get isNew(): boolean {
    this.#request.seen = true
    return this.#request.isNew
  }

  get data(): D {
    this.#request.seen = true
    return (this.#data ??= dataOf(this.#request.fields)) as D
  }

  get userId(): string | undefined {
    this.#request.seen = true
    return this.#request.meta.userId
  }

  get createdAt(): number {
    return this.#request.meta.createdAt
  }

  get expiresAt(): number {
    return this.#request.expiresAt
  }

  get signal(): AbortSignal {
    return this.#request.signal
  }

  async login(userId: string, options: LoginOptions<D> = {}): Promise<void> {
    await this.#request.login(userId, options)
  }

  logout(): Promise<void> {
    return this.#request.logout()
  }

  add(field: CounterField<D>, by = 1): void {
    this.#request.fields.add(field, by)
  }

  update<R>(change: (data: D) => R extends PromiseLike<unknown> ? never : R): Promise<R> {
    return this.#request.update((fields: Fields): R => {
      const result: R = change(dataOf(fields) as D)
      if (result instanceof Promise) throw new SessionError('FIELD_INVALID', 'session.update(change): change must not be async.')
      return result
    })
  }

  take<K extends keyof D & string>(field: K): D[K] {
    this.#request.seen = true
    const value = this.#request.fields.get(field) as D[K]
    this.#request.fields.remove(field)
    return value
  }

  setLifetime(lifetime: Lifetime, persistent?: boolean): void {
    this.#request.setLifetime(lifetime, persistent)
  }

  touch(): void {
    this.#request.touch()
  }

  async regenerate(options: KeepOptions<D> = {}): Promise<void> {
    await this.#request.regenerate(options)
  }

  save(): Promise<void> {
    return this.#request.save()
  }

  reload(): Promise<void> {
    return this.#request.reload()
  }
}

Object.setPrototypeOf(SessionHandle.prototype, refuseUnknown)

export function createSession<D>(request: RequestSession<D>): Session<D> {
  return new SessionHandle(request)
}
