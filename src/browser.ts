/**
 * For pages whose cookies are off: a `fetch` that carries the session in the header `x-session-token` (`carrier: 'header'` or `'both'`)
 * and keeps it, as a browser keeps cookies: answers may arrive in any order, and parallel ones add up. No dependencies.
 */
const TOKEN_HEADER = 'x-session-token'
const ROOT_END = '~'
const NAME_END = '.'
/** Where the id stands in a root: the text around it changes when secrets are rotated, the id does not (`docs/protocol.md`). */
const ID_CHARS = [12, 33] as const
const STORAGE_KEY = 'holdfast-session'

/** What `localStorage` and `sessionStorage` are. */
export interface TokenStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

export interface SessionFetchOptions {
  /** Default: the global one. */
  readonly fetch?: typeof fetch
  /**
   * Where the token outlives the page: `sessionStorage` for a tab, `localStorage` for all of them. Whatever script runs in the page can
   * read it, unlike an HttpOnly cookie. Default: memory, which ends with the page.
   */
  readonly storage?: TokenStorage
  /** The name in the storage. Default `holdfast-session`. */
  readonly storageKey?: string
  /** Which URLs may be sent the token. Default: those of the page's own origin, and with no page those of the first request. */
  readonly isOwn?: (url: URL) => boolean
}

export interface SessionFetch {
  /** As the global `fetch`. A redirect hides the answer's token: let the application answer without one. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** The token as it stands, empty: none. For what is no fetch, such as the first message of a WebSocket. */
  token(): string
  /** Forgets the session here. The server's goes on: log out there. */
  forget(): void
}

/** Requests begun with the same jar may be answered in any order: each answer changes what it added and took away, and nothing else. */
export function sessionFetch(options: SessionFetchOptions = {}): SessionFetch {
  const { storageKey = STORAGE_KEY, storage = memory() } = options
  const send = options.fetch ?? globalThis.fetch.bind(globalThis)
  let origin = (globalThis as { location?: { origin?: string } }).location?.origin
  const isOwn = options.isOwn ?? ((url: URL): boolean => url.origin === (origin ??= url.origin))
  const current = (): string => storage.getItem(storageKey) ?? ''

  function keep(token: string): void {
    if (token === '') storage.removeItem(storageKey)
    else storage.setItem(storageKey, token)
  }

  return {
    async fetch(input, init) {
      const request = new Request(input, init)
      if (!isOwn(new URL(request.url))) return send(request)
      const sent = current()
      // Also when empty: that asks for a session by header.
      request.headers.set(TOKEN_HEADER, sent)
      const response = await send(request)
      const answered = response.headers.get(TOKEN_HEADER)
      if (answered !== null) keep(mergedToken(current(), sent, answered))
      return response
    },
    token: current,
    forget: () => keep(''),
  }
}

/** What the set is once an answer to a request has arrived that was sent with `sent`. Answers carry the whole as their request saw it. */
export function mergedToken(current: string, sent: string, answered: string): string {
  const [now, before, after] = [parsed(current), parsed(sent), parsed(answered)]
  // Ended, or given a new id, by this answer: unless a later request has begun another session meanwhile.
  if (after.id !== before.id) return after.id === '' && now.id !== before.id ? current : answered
  // An answer to an id that is not ours any more changes nothing.
  if (now.id !== after.id) return current
  const notes = new Map(now.notes)
  for (const name of before.notes.keys()) if (!after.notes.has(name)) notes.delete(name)
  for (const [name, value] of after.notes) if (!before.notes.has(name)) notes.set(name, value)
  return [after.root, ...[...notes].map(([name, value]) => name + NAME_END + value)].join(ROOT_END)
}

interface Token {
  readonly root: string
  /** Empty: no session. */
  readonly id: string
  readonly notes: ReadonlyMap<string, string>
}

function parsed(token: string): Token {
  const [root = '', ...parts] = token.split(ROOT_END)
  const notes = new Map<string, string>()
  for (const part of parts) {
    const end = part.indexOf(NAME_END)
    if (end > 0) notes.set(part.slice(0, end), part.slice(end + 1))
  }
  return { root, id: root.slice(...ID_CHARS), notes }
}

function memory(): TokenStorage {
  const items = new Map<string, string>()
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  }
}
