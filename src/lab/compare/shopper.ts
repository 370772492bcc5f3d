/** A visitor who checks the shop: keeps cookies as a browser does, and remembers every write that was acknowledged. */
import type { Exchange, Send } from './http-client.ts'
import type { Tally } from './tally.ts'
import type { Action, WorkloadOptions } from './workload.ts'

export interface Shopper {
  /** The first visit: fills the session. Rejects when the shop refuses. */
  enter(): Promise<void>
  perform(action: Action): Promise<void>
  /** The last look, when all is quiet: what is missing now is lost. */
  check(): Promise<void>
}

/** What a field may hold: the newest acknowledged write, or one whose outcome nobody knows. */
interface Expected {
  acknowledged: number
  readonly undecided: Set<number>
}

interface Shown {
  readonly isNew: boolean
  readonly key: string | null
  readonly data: Readonly<Record<string, unknown>>
}

const LOOKS = 3

/** Serial numbers in front of padding: a value tells which write made it. */
const valueOf = (serial: number, bytes: number): string => `${serial}:`.padEnd(bytes, 'holdfast ')
const serialOf = (value: unknown): number => (typeof value === 'string' ? Number.parseInt(value, 10) : 0)

export function createShopper(
  { send, tally, user }: { send: Send; tally: Tally; user: string | undefined },
  { fieldBytes, fields }: WorkloadOptions,
): Shopper {
  const expected = new Map<number, Expected>()
  let serial = 0
  let key: string | null = null

  async function exchange(method: string, path: string, body: object | undefined): Promise<Exchange> {
    const answer = await send(method, path, body)
    if (answer.status === undefined || (answer.status >= 500 && answer.status < 600)) tally.failed()
    else tally.answered({ ms: answer.ms, cookieBytes: answer.cookieBytes, isWrite: method !== 'GET' })
    return answer
  }

  function forget(): void {
    expected.clear()
    key = null
  }

  /** Once, however many requests were under way with it. */
  function lose(before: string | null): void {
    if (before === null || key !== before) return
    tally.sessionLost()
    forget()
  }

  /** Undefined: no answer about the session that was there before the request. */
  function shownBy(answer: Exchange, before: string | null): Shown | undefined {
    // The shop says that the session is over, or that writes of it are lost: the visitor has to start anew.
    if (answer.status === 409) lose(before)
    if (answer.status !== 200) return undefined
    const shown = answer.body as unknown as Shown
    if (before !== null && (shown.isNew || shown.key !== before)) lose(before)
    return shown
  }

  async function write(names: readonly number[]): Promise<void> {
    const before = key
    const written = new Map(names.map((name) => [name, ++serial]))
    const answer = await exchange(
      'PATCH',
      '/session',
      Object.fromEntries([...written].map(([name, number]) => [`f${name}`, valueOf(number, fieldBytes)])),
    )
    const shown = shownBy(answer, before)
    if (shown === undefined) {
      if (answer.status !== 409) for (const [name, number] of written) expectedOf(name).undecided.add(number)
      return
    }
    key = shown.key
    for (const [name, number] of written) {
      const one = expectedOf(name)
      one.acknowledged = Math.max(one.acknowledged, number)
    }
  }

  function expectedOf(name: number): Expected {
    const known = expected.get(name)
    if (known !== undefined) return known
    const fresh = { acknowledged: 0, undecided: new Set<number>() }
    expected.set(name, fresh)
    return fresh
  }

  /** How many fields show an older state than was acknowledged. Undefined: nothing can be said. */
  async function look(): Promise<number | undefined> {
    const before = key
    const shown = shownBy(await exchange('GET', '/session', undefined), before)
    if (shown === undefined || shown.isNew || shown.key !== before) return undefined
    let old = 0
    for (const [name, one] of expected) {
      const found = serialOf(shown.data[`f${name}`])
      if (one.undecided.delete(found)) one.acknowledged = Math.max(one.acknowledged, found)
      if (found < one.acknowledged) old += 1
    }
    return old
  }

  return {
    async enter() {
      await write(Array.from({ length: fields }, (_, name) => name))
      if (user === undefined) return
      const shown = shownBy(await exchange('POST', '/login', { user }), null)
      if (shown !== undefined) key = shown.key
    },
    async perform({ kind, fields: [first, second] }) {
      if (kind === 'write') await write([first])
      else if (kind === 'pair') await Promise.all([write([first]), write([second])])
      else if (((await look()) ?? 0) > 0) tally.staleRead()
    },
    async check() {
      for (let attempt = 0; attempt < LOOKS; attempt++) {
        const old = await look()
        if (old === undefined) continue
        for (let count = 0; count < old; count++) tally.updateLost()
        return
      }
    },
  }
}
