/** What express-session's MemoryStore takes for so many sessions: `node --expose-gc bench/memory-store.ts SESSIONS`. */
import { randomBytes } from 'node:crypto'
import session from 'express-session'
import { FIELDS, fieldValue } from './session-data.ts'

const WARM_UP = 10_000
const count = Number(process.argv[2])

async function collected(): Promise<NodeJS.MemoryUsage> {
  for (let round = 0; round < 6; round++) {
    ;(globalThis as { gc?: (options: object) => void }).gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return process.memoryUsage()
}

const store = new session.MemoryStore()

async function fill(sessions: number): Promise<string[]> {
  const ids: string[] = []
  for (let number = 0; number < sessions; number++) {
    const data = Object.fromEntries(FIELDS.map((name, index) => [name, fieldValue(index, number % 10)]))
    const cookie = { originalMaxAge: 86_400_000, expires: new Date(Date.now() + 86_400_000), httpOnly: true, path: '/' }
    const id = randomBytes(24).toString('base64url')
    store.set(id, { cookie, ...data } as unknown as session.SessionData)
    ids.push(id)
    if (number % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return ids
}

for (const id of await fill(WARM_UP)) store.destroy(id)
const empty = await collected()
await fill(count)
const full = await collected()
const per = (of: 'heapUsed' | 'rss'): number => Math.round((full[of] - empty[of]) / count)
// Used here, so that it is still there when its memory is measured.
const held = await new Promise<number>((resolve) => store.length((_, sessions) => resolve(sessions ?? 0)))
if (held !== count) throw new Error(`it holds ${held} sessions instead of ${count}`)
console.log(`READY ${per('heapUsed')} bytes of heap, ${per('rss')} resident`)
setInterval(() => undefined, 1_000)
