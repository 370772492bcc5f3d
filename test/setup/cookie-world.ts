/**
 * A browser and several servers with the same secrets, for tests of `cookieBased`: requests present the jar as it was when
 * they were sent, answers arrive in any order, and an oracle that never folds says what must be read.
 */
import type { DeltaNote, JournalNote } from '../../src/core/journal.ts'
import { foldName, foldNotes } from '../../src/core/journal-fold.ts'
import { deriveKeys } from '../../src/core/keys.ts'
import { sealer } from '../../src/core/seal.ts'
import type {
  Change,
  Draft,
  Jar,
  JarDelta,
  Keys,
  MaybePromise,
  Note,
  Opened,
  Opening,
  Runtime,
  SessionId,
  StrategyContext,
  Written,
} from '../../src/seam.ts'
import type { CookieParts } from '../../src/strategies/cookie-plans.ts'
import { CookieNotes } from '../../src/strategies/cookie-notes.ts'
import { CookieBased, type CookieSettings } from '../../src/strategies/cookie-running.ts'
import { seededRandom, VIRTUAL_EPOCH } from './virtual-runtime.ts'

export const COOKIE_NAME = '__Host-session'
export const MINUTE = 60_000
/** How long an answer may be under way, and a request under work, in these tests. */
const DELIVERY_MS = 55_000
const REQUEST_MS = 7 * MINUTE

export interface Clock {
  ms: number
}

export function clockRuntime(clock: Clock, seed: number): Runtime {
  const random = seededRandom(seed)
  return {
    now: () => VIRTUAL_EPOCH + clock.ms,
    monotonic: () => clock.ms,
    randomBytes: (size) => random.bytes(size),
    setTimer: () => ({ cancel: () => {} }),
    defer: (run) => run(),
  }
}

export const KEYS: Keys = deriveKeys(['a secret of at least thirty-two bytes'], COOKIE_NAME)

export function cookieServer(
  clock: Clock,
  seed: number,
  parts?: Partial<CookieParts>,
  settings: Partial<CookieSettings & { keys: Keys }> = {},
): CookieBased {
  const { keys = KEYS, ...more } = settings
  const context: StrategyContext = {
    node: `n${seed}`,
    runtime: clockRuntime(clock, seed),
    keys,
    cookieName: COOKIE_NAME,
    limits: { sessionBytes: 65_536 },
    emit: () => {},
    ended: () => {},
    logger: console,
  }
  return new CookieBased(context, { maxHeaderBytes: 7_000, ...more }, { foldName, foldNotes, ...parts })
}

export function sessionId(seed: number): SessionId {
  const id = seededRandom(seed).bytes(16).toString('base64url')
  return { id, key: `key-${id}`, absoluteAt: VIRTUAL_EPOCH + 30 * 24 * 60 * MINUTE }
}

export function draftOf(fields: Record<string, string> = {}, idleMs = 24 * 60 * MINUTE): Draft {
  const meta = {
    userId: 'ada',
    createdAt: VIRTUAL_EPOCH,
    lastActiveAt: VIRTUAL_EPOCH,
    idleMs,
    touchEveryMs: idleMs / 20,
    absoluteAt: VIRTUAL_EPOCH + 30 * 24 * 60 * MINUTE,
    persistent: false,
  }
  return { meta, fields: new Map(Object.entries(fields)) }
}

export interface Edit {
  set?: Record<string, string | undefined>
  add?: Record<string, number>
}

export interface Browser {
  readonly notes: Map<string, string>
}

interface Request {
  readonly server: CookieBased
  readonly sentAt: number
  opened: Opened
}

interface Answer {
  readonly browser: Browser
  readonly at: number
  readonly jar: JarDelta
}

export interface WorldOptions {
  readonly seed?: number
  readonly servers?: number
  readonly parts?: Partial<CookieParts>
  /** Damages what a write answers. */
  readonly mutate?: (written: Written, presented: readonly string[]) => Written
  readonly fields?: Record<string, string>
  readonly id?: SessionId
  readonly settings?: Partial<CookieSettings>
}

/** Of a session without a store: nothing waits. */
export function atOnce<T>(value: MaybePromise<T>): T {
  if (value instanceof Promise) throw new Error('a session without a store waits for nothing')
  return value
}

export class CookieWorld {
  readonly clock: Clock = { ms: 0 }
  readonly id: SessionId
  readonly servers: CookieBased[]
  readonly browser: Browser = { notes: new Map() }
  readonly requests: Request[] = []
  readonly answers: Answer[] = []
  /** Everything ever set, by name. */
  readonly all: Map<string, { value: string; cookies: readonly Note[]; note: JournalNote; history: ReadonlySet<string> }> = new Map()
  readonly deltas: Map<string, DeltaNote> = new Map()
  readonly delivered: Set<string> = new Set()
  readonly fields: Record<string, string>
  biggest = 0
  readonly #mutate: WorldOptions['mutate']
  readonly #opener: CookieNotes

  constructor(options: WorldOptions = {}) {
    const seed = options.seed ?? 1
    this.id = options.id ?? sessionId(seed)
    this.servers = Array.from({ length: options.servers ?? 2 }, (_, index) =>
      cookieServer(this.clock, seed * 100 + index + 1, options.parts, options.settings),
    )
    this.#mutate = options.mutate
    this.fields = options.fields ?? { a: '"0"', n: '0' }
    this.#opener = new CookieNotes(sealer(KEYS, COOKIE_NAME, clockRuntime(this.clock, 9)), COOKIE_NAME, false)
    const created = atOnce((this.servers[0] as CookieBased).create(this.id, draftOf(this.fields)))
    this.#record(created.jar, [])
    this.#deliver({ browser: this.browser, at: 0, jar: created.jar })
  }

  jar(browser: Browser = this.browser): Jar {
    return jarOf(this.id, browser.notes)
  }

  fork(browser: Browser = this.browser): Browser {
    return { notes: new Map(browser.notes) }
  }

  open(server = 0, browser: Browser = this.browser): Opening {
    return atOnce((this.servers[server % this.servers.length] as CookieBased).open(this.jar(browser)))
  }

  send(server: number, browser: Browser = this.browser): Request | undefined {
    const opening = this.open(server, browser)
    if (opening.outcome !== 'found') return undefined
    const request = { server: this.servers[server % this.servers.length] as CookieBased, sentAt: this.clock.ms, opened: opening.opened }
    this.requests.push(request)
    return request
  }

  commit(request: Request, edit: Edit, browser: Browser = this.browser): Answer {
    const index = this.requests.indexOf(request)
    if (index >= 0) this.requests.splice(index, 1)
    const presented = [...(request.opened as unknown as { sizes: ReadonlyMap<string, number> }).sizes.keys()]
    let written = atOnce(request.server.write(request.opened, changeOf(edit, VIRTUAL_EPOCH + this.clock.ms)))
    written = this.#mutate?.(written, presented) ?? written
    this.#record(written.jar, presented)
    const answer = { browser, at: this.clock.ms, jar: written.jar }
    this.answers.push(answer)
    request.opened = written.opened
    return answer
  }

  /** A whole round trip. */
  write(server: number, edit: Edit, browser: Browser = this.browser): boolean {
    const request = this.send(server, browser)
    if (request === undefined) return false
    this.deliver(this.commit(request, edit, browser))
    return true
  }

  deliver(answer: Answer): void {
    const index = this.answers.indexOf(answer)
    if (index < 0) return
    this.answers.splice(index, 1)
    this.#deliver(answer)
  }

  /** Time passes; answers and requests that would take longer than the rules allow arrive or fail first. */
  advance(ms: number): void {
    for (const answer of [...this.answers]) if (this.clock.ms + ms - answer.at > DELIVERY_MS) this.deliver(answer)
    const slow = this.requests.filter((request) => this.clock.ms + ms - request.sentAt > REQUEST_MS)
    for (const request of slow) this.requests.splice(this.requests.indexOf(request), 1)
    this.clock.ms += ms
  }

  /** What must be read once all these deltas have been seen: the later assignment wins, counters sum, nothing is folded. */
  expected(names: ReadonlySet<string> = this.delivered): Map<string, string | undefined> {
    const read = new Map<string, string | undefined>(Object.entries(this.fields))
    const stamps = new Map<string, { counter: number; origin: string }>(
      Object.keys(this.fields).map((field) => [field, { counter: 1, origin: '' }]),
    )
    const deltas = [...names]
      .flatMap((name) => this.deltas.get(name) ?? [])
      .sort((a, b) => a.counter - b.counter || (a.name < b.name ? -1 : 1))
    for (const delta of deltas) {
      for (const [field, value] of delta.sets) {
        read.set(field, value)
        stamps.set(field, { counter: delta.counter, origin: delta.name })
      }
    }
    for (const delta of deltas) {
      for (const [field, add] of delta.adds) {
        const stamp = stamps.get(field) ?? { counter: 0, origin: '' }
        const { counter, origin } = add.generation
        if (stamp.counter !== counter || (origin !== '' && stamp.origin !== '' && stamp.origin !== origin)) continue
        read.set(field, String(Number(read.get(field) ?? add.from) + add.total))
      }
    }
    return read
  }

  /** Undefined: all as expected. */
  difference(opening: Opening, names: ReadonlySet<string> = this.delivered): string | undefined {
    if (opening.outcome === 'gone' || opening.outcome === 'anonymous' || opening.opened === undefined)
      return `not opened: ${opening.outcome}`
    const { record } = opening.opened
    const expected = this.expected(names)
    for (const [field, value] of expected) {
      if (record.get(field) !== value) return `${field}: ${record.get(field)} instead of ${value}`
      if (value === undefined && !record.isRemoved(field)) return `${field}: its removal is forgotten`
    }
    for (const field of record.fields()) if (!expected.has(field)) return `${field}: from nowhere`
    return undefined
  }

  #deliver({ browser, jar }: Answer): void {
    for (const name of jar.delete) browser.notes.delete(name)
    for (const { name, value } of jar.set) {
      browser.notes.delete(name)
      browser.notes.set(name, value)
      for (const known of this.all.get(name)?.history ?? []) if (browser === this.browser) this.delivered.add(known)
    }
    this.biggest = Math.max(this.biggest, this.jar(browser).headerBytes)
  }

  #record(jar: JarDelta, presented: readonly string[]): void {
    for (const note of this.#opener.open(this.id.id, jar.set, () => undefined).notes) {
      const { name } = note
      const cookies = jar.set.filter((cookie) => cookie.name.startsWith(name))
      const seen = note.kind === 'delta' ? note.parents : presented.filter((other) => jar.delete.includes(other))
      const history = new Set(seen.flatMap((other) => [...(this.all.get(other)?.history ?? [])]))
      if (note.kind === 'delta') {
        history.add(name)
        this.deltas.set(name, note)
      }
      // A fold that was made before is the same note.
      if (!this.all.has(name)) this.all.set(name, { value: cookies[0]?.value ?? '', cookies, note, history })
    }
  }
}

export function jarOf(id: SessionId, notes: ReadonlyMap<string, string>): Jar {
  const list = [...notes].map(([name, value]) => ({ name, value }))
  const headerBytes = list.reduce(
    (sum, note) => sum + COOKIE_NAME.length + note.name.length + note.value.length + 4,
    COOKIE_NAME.length + 60,
  )
  return { ...id, notes: list, headerBytes }
}

export function changeOf(edit: Edit, touchAt: number): Change {
  return {
    set: new Map(Object.entries(edit.set ?? {})),
    add: new Map(Object.entries(edit.add ?? {}).map(([field, by]) => [field, { by, from: 0 }])),
    touchAt,
  }
}
