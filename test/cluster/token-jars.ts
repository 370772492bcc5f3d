/** Jars as weaker designs would keep them, to show what root and notes are for. A browser's own is `BrowserJar`. */
import { deriveKeys } from '../../src/core/keys.ts'
import { compareDots, type Dot } from '../../src/core/merge.ts'
import { newNoteName, peekNote, writeNote } from '../../src/core/note.ts'
import { roots } from '../../src/core/root.ts'
import { decodeFloorNote, encodeFloorNote, type FloorNote, joinFloorNotes, TAG_BYTES } from '../../src/cluster/floor-note.ts'
import type { Note, Runtime } from '../../src/seam.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import type { RequestView } from '../../src/types.ts'

export const SECRET = 'a secret for tests, long enough to be one'
export const COOKIE_NAME = 'session'

export interface TabJar {
  take(setCookies: readonly string[]): void
  request(): RequestView
}

const NOTE = new RegExp(`^${COOKIE_NAME}-([\\w-]{8})=([^;]*)`)
const deletion = (name: string): string => `${COOKIE_NAME}-${name}=; Max-Age=0`
const isDeletion = (setCookie: string): boolean => /;\s*max-age=0(;|$)/i.test(setCookie)

/** One mutable token cookie: whatever an answer sets takes the place of what was there. The last answer wins. */
export class SingleTokenJar implements TabJar {
  readonly #jar = new BrowserJar()
  #slot: string | undefined

  take(setCookies: readonly string[]): void {
    for (const text of setCookies) {
      const name = NOTE.exec(text)?.[1]
      if (name === undefined) this.#jar.take([text])
      else if (!isDeletion(text)) this.#overwrite(name, text)
    }
  }

  #overwrite(name: string, text: string): void {
    if (this.#slot !== undefined) this.#jar.take([deletion(this.#slot)])
    this.#jar.take([text])
    this.#slot = name
  }

  request(): RequestView {
    return this.#jar.request()
  }
}

/** All notes, but a floor that keeps only the highest of their dots: a scalar. */
export class ScalarFloorJar implements TabJar {
  readonly #jar = new BrowserJar()
  readonly #runtime: Runtime
  readonly #keys = deriveKeys([SECRET], COOKIE_NAME)

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  take(setCookies: readonly string[]): void {
    this.#jar.take(setCookies)
    const { id, notes } = this.#contents()
    if (id === undefined || notes.length === 0) return
    const scalar = this.#scalarOf(id, notes)
    this.#jar.take([...notes.map(({ name }) => deletion(name)), `${COOKIE_NAME}-${scalar.name}=${scalar.value}`])
  }

  #contents(): { id: string | undefined; notes: Note[] } {
    const pairs = (this.#jar.header ?? '').split('; ')
    const root = pairs.find((pair) => pair.startsWith(`${COOKIE_NAME}=`))?.slice(COOKIE_NAME.length + 1)
    const notes = pairs.flatMap((pair) => {
      const match = NOTE.exec(pair)
      return match === null ? [] : [{ name: match[1] as string, value: match[2] as string }]
    })
    const id = root === undefined ? undefined : roots(this.#keys, this.#runtime).read(root, 'cookie')?.id
    return { id, notes }
  }

  #scalarOf(id: string, notes: readonly Note[]): Note {
    const payloads = notes.map((note) => peekNote(note) as Buffer)
    const tag = (payloads[0] as Buffer).subarray(0, TAG_BYTES)
    const joined = payloads.map((payload) => decodeFloorNote(tag, payload) as FloorNote).reduce(joinFloorNotes)
    const highest = [...joined.floor].sort(compareDots).at(-1) as Dot
    return writeNote(this.#keys, id, newNoteName(this.#runtime), encodeFloorNote(tag, { ...joined, floor: [highest] }))
  }

  request(): RequestView {
    return this.#jar.request()
  }
}
