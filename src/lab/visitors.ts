/** A small, bounded crowd that fills the lab with sessions and comes back, so that losses show. */
import { inParallel, unlessFailed } from './in-parallel.ts'
import { createVisitor, type Visitor } from './visitor.ts'

export const VISITORS_MAX = 200
const RETURN_EVERY_MS = 2_000
const STAY_MS = 60_000
const USERS = ['ada', 'bob', 'cleo', 'dev', 'eve', 'finn']

export interface Visitors {
  /** Resolves, once each of them has a session, to how many came in. Beyond the maximum the oldest leave. */
  send(count: number): Promise<number>
  count(): number
  /** Resolves once everybody has come back once more. */
  returnAll(): Promise<void>
  /** The one whose session it is. */
  find(key: string): Visitor | undefined
  /** Everybody leaves: their sessions belonged to a cluster that is gone. */
  forget(): void
  close(): void
}

export function createVisitors(baseUrl: string): Visitors {
  let crowd: { visitor: Visitor; leavesAt: number }[] = []
  let serial = 0
  let returning: Promise<void> | undefined

  const timer = setInterval(() => void returnAll(), RETURN_EVERY_MS)
  timer.unref()

  async function comeBack(): Promise<void> {
    const now = Date.now()
    crowd = crowd.filter((one) => one.leavesAt > now)
    await inParallel(
      crowd,
      unlessFailed(({ visitor }) => visitor.visit()),
    )
  }

  function returnAll(): Promise<void> {
    returning ??= comeBack().finally(() => (returning = undefined))
    return returning
  }

  async function enter(number: number): Promise<Visitor> {
    const visitor = createVisitor(baseUrl)
    // Every second one logs in; the others stay anonymous.
    if (number % 2 === 0) await visitor.login(USERS[(number / 2) % USERS.length] as string)
    await visitor.visit()
    return visitor
  }

  return {
    async send(count) {
      const numbers = Array.from({ length: count }, () => serial++)
      let created = 0
      const come = unlessFailed(async (number: number) => {
        const visitor = await enter(number)
        created += 1
        crowd = [...crowd, { visitor, leavesAt: Date.now() + STAY_MS }].slice(-VISITORS_MAX)
      })
      await inParallel(numbers, come)
      return created
    },
    count: () => crowd.length,
    async returnAll() {
      // A round that is under way may have passed some of them already.
      await returning
      await returnAll()
    },
    find: (key) => crowd.find(({ visitor }) => visitor.key() === key)?.visitor,
    forget() {
      crowd = []
    },
    close() {
      clearInterval(timer)
      crowd = []
    },
  }
}
