import type { RequestView } from '../types.ts'

/**
 * The cookies of one browser for one site, as far as Holdfast's answers need it: names, values and deletion. For paths,
 * domains and expiry use a real cookie jar in front of a real server.
 */
export class BrowserJar {
  readonly #cookies = new Map<string, string>()

  take(setCookies: readonly string[]): void {
    for (const text of setCookies) {
      const [pair = '', ...attributes] = text.split(';')
      const equals = pair.indexOf('=')
      const name = pair.slice(0, equals)
      if (attributes.some((attribute) => attribute.trim().toLowerCase() === 'max-age=0')) this.#cookies.delete(name)
      else this.#cookies.set(name, pair.slice(equals + 1))
    }
  }

  get header(): string | undefined {
    return this.#cookies.size === 0 ? undefined : [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  get names(): string[] {
    return [...this.#cookies.keys()]
  }

  copy(): BrowserJar {
    const copy = new BrowserJar()
    copy.#replace(this.#cookies)
    return copy
  }

  #replace(cookies: ReadonlyMap<string, string>): void {
    this.#cookies.clear()
    for (const [name, value] of cookies) this.#cookies.set(name, value)
  }

  request(method = 'GET'): RequestView {
    const cookie = this.header
    return { method, url: '/', header: (name) => (name === 'cookie' ? cookie : undefined) }
  }
}
