/** What the page knows of its session, and the requests that change it: one at a time, so that every answer's cookies have arrived. */
import { computed, signal } from '@preact/signals'

export interface Answer {
  node: string
  isNew: boolean
  user: string | null
  key: string | null
  data: Record<string, unknown>
}
export type Mood =
  | { kind: 'stranger' }
  | { kind: 'remembered' }
  | { kind: 'forgotten'; node: string }
  | { kind: 'trouble'; node: string | undefined; message: string }
export interface Served {
  serial: number
  node: string
  ok: boolean
}

const SERVED_MAX = 14
const DEADLINE_MS = 15_000
const REMEMBERED_KEY = 'lab-session-key'
const CART_PREFIX = 'cart-'

export const answer = signal<Answer | undefined>(undefined)
export const mood = signal<Mood>({ kind: 'stranger' })
export const served = signal<Served[]>([])
export const busy = signal(0)
export const cart = computed(() => {
  const items = new Map<string, number>()
  for (const [name, value] of Object.entries(answer.value?.data ?? {}))
    if (name.startsWith(CART_PREFIX) && typeof value === 'number' && value > 0) items.set(name.slice(CART_PREFIX.length), value)
  return items
})

/** Survives a reload and is shared by the tabs of one browser, so that a log-out in one is no surprise in the other. */
const known = {
  get: (): string | null => localStorage.getItem(REMEMBERED_KEY),
  set: (key: string | null): void => (key === null ? localStorage.removeItem(REMEMBERED_KEY) : localStorage.setItem(REMEMBERED_KEY, key)),
}
let seen = 0
let acknowledged = 0
let serial = 0
let last: Promise<unknown> = Promise.resolve()

interface Step {
  method: string
  path: string
  body?: object
  /** The visitor asked for another session: log in, log out. */
  changesSession?: boolean
  visits?: number
}

function enqueue(step: Step): Promise<void> {
  busy.value += 1
  const run = last.then(() => send(step)).finally(() => (busy.value -= 1))
  last = run.catch(() => undefined)
  return run
}

async function send(step: Step): Promise<void> {
  const headers: Record<string, string> = { 'x-lab-seen': `${seen}`, 'x-lab-acknowledged': `${acknowledged}` }
  if (step.body !== undefined) headers['content-type'] = 'application/json'
  let response: Response
  let text: string
  try {
    const body = step.body === undefined ? null : JSON.stringify(step.body)
    response = await fetch(step.path, { method: step.method, headers, body, cache: 'no-store', signal: AbortSignal.timeout(DEADLINE_MS) })
    text = await response.text()
  } catch {
    mood.value = { kind: 'trouble', node: undefined, message: 'No answer came. The cluster may be restarting: try again.' }
    return
  }
  const node = response.headers.get('x-lab-node') ?? undefined
  if (node !== undefined) served.value = [{ serial: serial++, node, ok: response.ok }, ...served.value].slice(0, SERVED_MAX)
  if (response.status === 204) return left(node)
  if (!response.ok) {
    mood.value = { kind: 'trouble', node, message: messageOf(text) }
    return
  }
  learn(JSON.parse(text) as Answer, step)
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message
  } catch {
    return 'The request failed.'
  }
}

/** Logged out: the next session is a stranger's, and nobody was forgotten. */
function left(node: string | undefined): void {
  known.set(null)
  seen = acknowledged = 0
  answer.value = { node: node ?? '', isNew: true, user: null, key: null, data: {} }
  mood.value = { kind: 'stranger' }
}

function learn(next: Answer, step: Step): void {
  const before = known.get()
  const changed = before !== next.key
  const forgotten = before !== null && (next.isNew || (changed && step.changesSession !== true))
  const visits = Number(next.data['visits'] ?? 0)
  if (changed || next.isNew) seen = acknowledged = visits
  else {
    seen = Math.max(seen, visits)
    acknowledged = Math.max(visits, acknowledged + (step.visits ?? 0))
  }
  known.set(next.key)
  answer.value = next
  // The bad news stays until something is remembered again.
  if (forgotten) mood.value = { kind: 'forgotten', node: next.node }
  else if (next.key === null) mood.value = mood.value.kind === 'forgotten' ? mood.value : { kind: 'stranger' }
  else if (!next.isNew) mood.value = { kind: 'remembered' }
  else if (mood.value.kind !== 'forgotten') mood.value = { kind: 'remembered' }
}

export async function load(): Promise<void> {
  await enqueue({ method: 'GET', path: '/session' })
}
export function refresh(): Promise<void> {
  return (answer.value?.key ?? null) === null ? load() : enqueue({ method: 'POST', path: '/session/add', body: { visits: 1 }, visits: 1 })
}
export function addToCart(item: string, by: number): Promise<void> {
  return enqueue({ method: 'POST', path: '/session/add', body: { [CART_PREFIX + item]: by, visits: 1 }, visits: 1 })
}
export function removeFromCart(item: string): Promise<void> {
  return setFields({ [CART_PREFIX + item]: null })
}
export function setFields(fields: Record<string, unknown>): Promise<void> {
  return enqueue({ method: 'PATCH', path: '/session', body: fields })
}
export function login(user: string): Promise<void> {
  return enqueue({ method: 'POST', path: '/login', body: { user }, changesSession: true })
}
export function logout(everywhere: boolean): Promise<void> {
  return enqueue({ method: 'POST', path: everywhere ? '/logout-everywhere' : '/logout', changesSession: true })
}
