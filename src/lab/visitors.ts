/** A small, bounded crowd that fills the lab with sessions and comes back, so that losses show. */
import { createVisitor, type Visitor } from './visitor.ts'

export const VISITORS_MAX = 200
const AT_ONCE = 8
const RETURN_EVERY_MS = 2_000
const STAY_MS = 60_000
const USERS = ['ada', 'bob', 'cleo', 'dev', 'eve', 'finn']

export interface Visitors {
  /** Resolves, once each of them has a session, to how many came in. Beyond the maximum the oldest leave. */
  send(count: number): Promise<number>
  count(): number
  /** Everybody leaves: their sessions belonged to a cluster that is gone. */
  forget(): void
  close(): void
}

export function createVisitors(baseUrl: string): Visitors {
  let crowd: { visitor: Visitor; leavesAt: number }[] = []
  let serial = 0
  let busy = false

  const timer = setInterval(() => void returnAll(), RETURN_EVERY_MS)
  timer.unref()

  async function returnAll(): Promise<void> {
    if (busy) return
    busy = true
    const now = Date.now()
    crowd = crowd.filter((one) => one.leavesAt > now)
    await inParallel(crowd, ({ visitor }) => visitor.visit())
    busy = false
  }

  async function enter(number: number): Promise<Visitor> {
    const visitor = createVisitor(baseUrl)
    await visitor.visit()
    // Every second one logs in; the others stay anonymous.
    if (number % 2 === 0) await visitor.login(USERS[(number / 2) % USERS.length] as string)
    return visitor
  }

  return {
    async send(count) {
      const numbers = Array.from({ length: count }, () => serial++)
      let created = 0
      await inParallel(numbers, async (number) => {
        const visitor = await enter(number)
        created += 1
        crowd = [...crowd, { visitor, leavesAt: Date.now() + STAY_MS }].slice(-VISITORS_MAX)
      })
      return created
    },
    count: () => crowd.length,
    forget() {
      crowd = []
    },
    close() {
      clearInterval(timer)
      crowd = []
    },
  }
}

/** Failures are the visitors' own: the lab counts them at the gateway. */
async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...items]
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item).catch(() => undefined)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
