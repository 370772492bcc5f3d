/** The jar: one root and its notes, as a request presents them and as an answer changes them. */
import type { Jar, JarDelta, Note, SessionId } from '../seam.ts'
import type { CommitResult, RequestView } from '../types.ts'
import type { CookieWriter } from './cookie.ts'
import type { Carrier, Roots } from './root.ts'

export const TOKEN_HEADER = 'x-session-token'

/** Chromium keeps about 180 cookies of a site: a longer jar was not made by a browser. */
const NOTES_MAX = 180
const ROOTS_MAX = 8
/** Eight characters, and the number of a chunk: other cookies that begin like ours are left alone. */
const NOTE_NAME = /^[\w-]{8}(?:-[1-4])?$/
const ROOT_END = '~'
const NAME_END = '.'

export interface PresentedJar {
  /** How the answer has to be sent; undefined when the client asked for neither. */
  readonly carrier: Carrier
  readonly jar: Jar | undefined
  /** Presented note names, also where no root verified: orphans to clean away once a new session begins. */
  readonly notes: readonly Note[]
  readonly route: string | undefined
}

export interface JarReader {
  read(request: RequestView): PresentedJar
}

export function jarReader(roots: Roots, cookieName: string, carriers: 'cookie' | 'header' | 'both'): JarReader {
  const notePrefix = `${cookieName}-`
  const routeName = routeCookieName(cookieName)

  function fromCookies(header: string): PresentedJar {
    const found: string[] = []
    const notes: Note[] = []
    let route: string | undefined
    let at = 0
    while (at < header.length) {
      let end = header.indexOf(';', at)
      if (end < 0) end = header.length
      while (header.charCodeAt(at) === 32) at++
      if (header.startsWith(cookieName, at)) {
        const equals = header.indexOf('=', at)
        if (equals >= 0 && equals < end) {
          const name = header.slice(at, equals)
          const value = header.slice(equals + 1, end).trimEnd()
          if (name === cookieName) found.push(value)
          else if (name === routeName) route ??= value
          else if (name.startsWith(notePrefix) && notes.length < NOTES_MAX) addNote(notes, name.slice(notePrefix.length), value)
        }
      }
      at = end + 1
    }
    return { carrier: 'cookie', jar: jarOf(oneRoot(found), notes, header.length), notes, route }
  }

  /** One name that verifies to two different ids is used for neither: a tossed cookie must not pick the session. */
  function oneRoot(texts: readonly string[]): SessionId | undefined {
    let one: SessionId | undefined
    for (const text of texts.slice(0, ROOTS_MAX)) {
      const id = roots.read(text, 'cookie')
      if (id === undefined) continue
      if (one !== undefined && one.key !== id.key) return undefined
      one = id
    }
    return one
  }

  function fromHeader(token: string): PresentedJar {
    const [root = '', ...rest] = token.split(ROOT_END, NOTES_MAX + 1)
    const notes: Note[] = []
    for (const part of rest) {
      const dot = part.indexOf(NAME_END)
      if (dot > 0) addNote(notes, part.slice(0, dot), part.slice(dot + 1))
    }
    return { carrier: 'header', jar: jarOf(roots.read(root, 'header'), notes, token.length), notes, route: undefined }
  }

  return {
    read(request) {
      const token = carriers === 'cookie' ? undefined : request.header(TOKEN_HEADER)
      const cookies = carriers === 'header' ? undefined : request.header('cookie')
      if (token === undefined) return cookies === undefined ? emptyJar(carriers === 'header' ? 'header' : 'cookie') : fromCookies(cookies)
      const byHeader = fromHeader(token)
      if (cookies === undefined) return byHeader
      const byCookie = fromCookies(cookies)
      // Two carriers with different ids: neither is trusted.
      if (byHeader.jar !== undefined && byCookie.jar !== undefined && byHeader.jar.key !== byCookie.jar.key) return emptyJar('header')
      return byHeader.jar === undefined && byCookie.jar !== undefined ? byCookie : byHeader
    },
  }
}

/** The gateway's own route cookie, where servers name no labels, is no note although it has eight characters. */
const GATEWAY_ROUTE = 'route-gw'

function addNote(notes: Note[], name: string, value: string): void {
  if (NOTE_NAME.test(name) && name !== GATEWAY_ROUTE && !notes.some((note) => note.name === name)) notes.push({ name, value })
}

function jarOf(id: SessionId | undefined, notes: readonly Note[], headerBytes: number): Jar | undefined {
  return id === undefined ? undefined : { id: id.id, key: id.key, absoluteAt: id.absoluteAt, notes, headerBytes }
}

function emptyJar(carrier: Carrier): PresentedJar {
  return { carrier, jar: undefined, notes: [], route: undefined }
}

export function routeCookieName(cookieName: string): string {
  return `${cookieName}-route`
}

/** Collects what one request's commits change, and writes it for the request's carrier. */
export class JarChanges {
  readonly #presented: PresentedJar
  readonly #set = new Map<string, string>()
  readonly #delete = new Set<string>()
  #root: SessionId | 'delete' | undefined
  #route: string | undefined

  constructor(presented: PresentedJar) {
    this.#presented = presented
  }

  get isEmpty(): boolean {
    return this.#root === undefined && this.#set.size === 0 && this.#delete.size === 0 && this.#route === undefined
  }

  setRoot(id: SessionId): void {
    this.#dropAll()
    this.#root = id
  }

  deleteRoot(): void {
    this.#dropAll()
    this.#root = 'delete'
  }

  /** Notes belong to one id: with the id they go, those never sent at once. */
  #dropAll(): void {
    this.#set.clear()
    for (const note of this.#presented.notes) this.#delete.add(note.name)
  }

  add(delta: JarDelta): void {
    for (const name of delta.delete) if (!this.#set.delete(name)) this.#delete.add(name)
    for (const { name, value } of delta.set) this.#set.set(name, value)
    if (delta.route !== undefined && delta.route !== this.#presented.route) this.#route = delta.route
  }

  /** Puts the changes into `result`. `until`: Unix ms for cookies that outlive the browser's session. */
  write(result: CommitResult, roots: Roots, cookieName: string, writer: CookieWriter, until: number | undefined, now: number): void {
    if (this.isEmpty) return
    result.headers.push(['cache-control', 'no-store'])
    if (this.#presented.carrier === 'header') {
      result.headers.push([TOKEN_HEADER, this.token(roots)], ['access-control-expose-headers', TOKEN_HEADER])
      return
    }
    const set = (name: string, value: string): number => result.cookies.push(writer.set(name, value, until, now))
    if (typeof this.#root === 'object') set(cookieName, roots.write(this.#root, 'cookie'))
    for (const [name, value] of this.#set) set(`${cookieName}-${name}`, value)
    if (this.#route !== undefined) set(routeCookieName(cookieName), this.#route)
    // Deletions last: curl forgets one that another cookie follows, and reads the old cookie back from its file.
    for (const name of this.#delete) result.cookies.push(writer.delete(`${cookieName}-${name}`))
    if (this.#root !== 'delete') return
    result.cookies.push(writer.delete(cookieName))
    if (this.#presented.route !== undefined) result.cookies.push(writer.delete(routeCookieName(cookieName)))
  }

  /** The header carrier answers with the joined whole; empty: the session has ended. */
  token(roots: Roots): string {
    const id = typeof this.#root === 'object' ? this.#root : this.#presented.jar
    if (this.#root === 'delete' || id === undefined) return ''
    const kept = this.#presented.notes.filter((note) => !this.#delete.has(note.name) && !this.#set.has(note.name))
    const notes = [...kept, ...[...this.#set].map(([name, value]) => ({ name, value }))]
    return [roots.write(id, 'header'), ...notes.map((note) => `${note.name}${NAME_END}${note.value}`)].join(ROOT_END)
  }
}
