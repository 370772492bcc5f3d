/** What a visitor's cookies weigh on the wire: one session of 1 KB, written and read in turn. */

export interface CookieBytes {
  /** Mean of the `Cookie` header, all requests. */
  readonly sent: number
  /** Mean of the `Set-Cookie` headers of a write's answer. */
  readonly set: number
}

const WRITES = 48

/** A browser's cookies, as far as a benchmark needs them. */
export class CookieJar {
  readonly #cookies = new Map<string, string>()

  /** The `Cookie` header; empty: there is none. */
  header(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  take(setCookies: readonly string[]): void {
    for (const text of setCookies) {
      const [pair = ''] = text.split(';')
      const equals = pair.indexOf('=')
      if (/max-age=0/i.test(text)) this.#cookies.delete(pair.slice(0, equals))
      else this.#cookies.set(pair.slice(0, equals), pair.slice(equals + 1))
    }
  }

  /** Asks, takes the cookies of the answer, and returns them. */
  async visit(url: string): Promise<readonly string[]> {
    const cookie = this.header()
    const response = await fetch(url, { headers: cookie === '' ? {} : { cookie } })
    if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
    await response.arrayBuffer()
    const setCookies = response.headers.getSetCookie()
    this.take(setCookies)
    return setCookies
  }
}

export async function cookieBytes(url: string): Promise<CookieBytes> {
  const jar = new CookieJar()
  await jar.visit(`${url}/seed`)
  let [sent, set] = [0, 0]
  for (let turn = 0; turn < WRITES; turn++) {
    sent += jar.header().length
    for (const text of await jar.visit(`${url}/write`)) set += text.length
    sent += jar.header().length
    await jar.visit(`${url}/read`)
  }
  return { sent: sent / (2 * WRITES), set: set / WRITES }
}
