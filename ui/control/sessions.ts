/** The session whose place is shown, and those that can be chosen. */
import { signal } from '@preact/signals'

export interface Located {
  key: string
  fate: 'live' | 'ended' | 'lost' | 'unknown'
  userId: string | null
  holders: { node: string; role: 'owner' | 'backup' | 'copy' }[]
  silent: string[]
  inStore: boolean | null
  inJar: boolean
  jarBytes: number | null
}
export interface Listed {
  key: string
  userId: string | null
}

const ASK_EVERY_MS = 1_000
const KEY = /^[\w-]{43}$/

export const listed = signal<Listed[]>([])
export const chosen = signal<string | undefined>(undefined)
export const located = signal<Located | undefined>(undefined)

export function choose(key: string | undefined): void {
  chosen.value = key
  located.value = undefined
  void ask()
}

async function ask(): Promise<void> {
  const key = chosen.value
  try {
    listed.value = ((await (await fetch('/api/sessions')).json()) as { sessions: Listed[] }).sessions
    if (key === undefined) return
    const answer = await fetch(`/api/sessions/${key}`)
    if (answer.ok && chosen.value === key) located.value = (await answer.json()) as Located
  } catch {
    // The lab has ended or starts again: the stream says so.
  }
}

/** The shop leads here with the key of its own session behind `#session=`. */
function chooseFromAddress(): void {
  const key = location.hash.replace('#session=', '')
  if (KEY.test(key)) choose(key)
}

export function followSessions(): void {
  chooseFromAddress()
  addEventListener('hashchange', chooseFromAddress)
  let busy = false
  setInterval(() => {
    if (busy || document.hidden) return
    busy = true
    void ask().finally(() => (busy = false))
  }, ASK_EVERY_MS)
  void ask()
}
