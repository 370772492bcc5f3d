/** A visitor without a browser: keeps cookies and remembers what the shop told it. */
import { keepCookie } from './cookies.ts'
import { ACKNOWLEDGED_HEADER, SEEN_HEADER, WITNESS_FIELD } from './witness.ts'

const DEADLINE_MS = 10_000

interface Answer {
  readonly isNew: boolean
  readonly key: string | null
  readonly data: Readonly<Record<string, unknown>>
}

export interface Visitor {
  login(user: string): Promise<void>
  /** One visit: adds one to the visits counter, as a shop would. */
  visit(): Promise<void>
  /** One that only looks. */
  look(): Promise<void>
  /** Makes the session about this large. */
  fill(bytes: number): Promise<void>
  /** Of the session, as the last answer told; null before there is one. */
  key(): string | null
  /** Names and values of all cookies that the next request brings along. */
  jarBytes(): number
}

const FILLER_FIELD = 'filler'
/** What a session of the shop holds besides. */
const OWN_BYTES = 40

export function createVisitor(baseUrl: string): Visitor {
  const cookies = new Map<string, string>()
  let key: string | null = null
  let seen = 0
  let acknowledged = 0

  async function request(method: string, path: string, body?: object): Promise<Answer | undefined> {
    const headers: Record<string, string> = {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      [SEEN_HEADER]: `${seen}`,
      [ACKNOWLEDGED_HEADER]: `${acknowledged}`,
    }
    if (cookies.size > 0) headers['cookie'] = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
    for (const line of response.headers.getSetCookie()) keepCookie(cookies, line)
    const text = await response.text()
    return response.ok ? (JSON.parse(text) as Answer) : undefined
  }

  function learn(answer: Answer | undefined, added: number, keyMayChange: boolean): void {
    if (answer === undefined) return
    const visits = Number(answer.data[WITNESS_FIELD] ?? 0)
    // Forgotten: what was seen before belongs to another session.
    if (answer.isNew || (answer.key !== key && !keyMayChange)) seen = acknowledged = visits
    else {
      seen = Math.max(seen, visits)
      acknowledged = Math.max(visits, acknowledged + added)
    }
    key = answer.key
  }

  return {
    login: async (user) => learn(await request('POST', '/login', { user }), 0, true),
    visit: async () => learn(await request('POST', '/session/add', { [WITNESS_FIELD]: 1 }), 1, false),
    look: async () => learn(await request('GET', '/session'), 0, false),
    fill: async (bytes) => {
      const filler = 'x'.repeat(Math.max(0, bytes - OWN_BYTES))
      learn(await request('PATCH', '/session', { [FILLER_FIELD]: filler === '' ? null : filler }), 0, false)
    },
    key: () => key,
    jarBytes: () => [...cookies].reduce((sum, [name, value]) => sum + name.length + value.length + 3, 0),
  }
}
