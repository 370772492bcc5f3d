/** Many visitors who write all the time, over servers that die, stand still and come back; and what they were promised. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../setup/virtual-runtime.ts'
import type { Server } from './session-cluster.ts'
import { type Answer, type Request, Visitor } from './visitor.ts'

/** A write that finds no server to acknowledge it by then is a failure of the cluster. */
const RETRY_DEADLINE_MS = 30_000
const RETRY_PAUSE_MS = 50
const FIELDS = 4

export interface Lost {
  readonly visitor: number
  /** Which write, or that the whole session is unknown. */
  readonly what: string
}

/** One visitor, one request at a time, with what the servers have acknowledged. */
class Regular {
  readonly visitor: Visitor = new Visitor()
  /** The last acknowledged value of each field. */
  readonly acknowledged: Map<string, number> = new Map()
  /** Additions acknowledged, and those whose outcome is unknown: their connection failed. */
  added = 0
  unsure = 0
  writes = 0
  busy = false
}

export interface Crowd {
  readonly acknowledged: number
  /** Requests that failed at their connection, or were answered 503, and were sent again. */
  readonly retried: number
  /** Creates all sessions, through the servers in turn. */
  arrive(servers: readonly Server[]): Promise<void>
  /** Writes of random visitors, some at once, until `until` settles. Each goes to a random one of `servers()`. */
  writeUntil(servers: () => readonly Server[], until: Promise<unknown>, options?: { onAnswer?: (server: Server) => void }): Promise<void>
  /** Reads every visitor at this server and compares with what was acknowledged when the read was sent. */
  lostAt(server: Server): Promise<Lost[]>
}

export interface CrowdOptions {
  readonly visitors: number
  readonly atOnce: number
  readonly random: Random
}

export function crowdOf({ visitors, atOnce, random }: CrowdOptions): Crowd {
  const regulars = Array.from({ length: visitors }, () => new Regular())
  let acknowledged = 0
  let retried = 0

  /** Sends it, again elsewhere when the connection failed or the server could not decide, until it is answered. */
  async function insist(one: Regular, pick: () => Server, request: Request): Promise<{ answer: Answer; server: Server }> {
    const until = performance.now() + RETRY_DEADLINE_MS
    for (;;) {
      const server = pick()
      const outcome = await one.visitor.send(server, request).catch((error: unknown) => error as Error)
      const isAnswer = !(outcome instanceof Error)
      if (isAnswer && outcome.status === 200) return { answer: outcome, server }
      const why = isAnswer ? `${outcome.status} ${outcome.code}` : `${outcome.name}: ${outcome.message}`
      if (isAnswer && outcome.status !== 503) throw new Error(`${request.path}: ${why}`)
      if (performance.now() > until) throw new Error(`${request.path} was not answered within ${RETRY_DEADLINE_MS} ms: ${why}`)
      // Sets may be sent twice; an addition may have been counted although its answer is lost.
      if (request.path === 'POST /add') one.unsure++
      retried++
      await sleep(RETRY_PAUSE_MS)
    }
  }

  async function write(one: Regular, pick: () => Server): Promise<Server> {
    const value = ++one.writes
    const isAddition = value % 3 === 0
    const field = `f${value % FIELDS}`
    const request: Request = isAddition ? { path: 'POST /add', body: { count: 1 } } : { path: 'POST /set', body: { [field]: value } }
    const { answer, server } = await insist(one, pick, request)
    one.visitor.take(answer)
    if (isAddition) one.added++
    else one.acknowledged.set(field, value)
    acknowledged++
    return server
  }

  function comparison(one: Regular): (data: Record<string, unknown> | undefined) => string[] {
    const expected = [...one.acknowledged]
    const { added, unsure } = one
    return (data) => {
      if (data === undefined) return ['the session']
      const fields = expected.filter(([field, value]) => ((data[field] as number | undefined) ?? -1) < value)
      const count = (data.count as number | undefined) ?? 0
      const counted = count < added || count > added + unsure ? [`count ${count}, acknowledged ${added}, unsure ${unsure}`] : []
      return [...fields.map(([field, value]) => `${field}: ${String(data[field])} instead of ${value}`), ...counted]
    }
  }

  /** Nobody has two requests under way. */
  async function whileBusy<T>(one: Regular, work: () => Promise<T>): Promise<T> {
    one.busy = true
    try {
      return await work()
    } finally {
      one.busy = false
    }
  }

  return {
    get acknowledged() {
      return acknowledged
    },
    get retried() {
      return retried
    },
    arrive: (servers) =>
      inLanes(regulars, atOnce, async (one, index) => void (await write(one, () => servers[index % servers.length] as Server))),
    async writeUntil(servers, until, { onAnswer } = {}) {
      let done = false
      const stop = (): void => {
        done = true
      }
      until.then(stop, stop)
      const lane = async (): Promise<void> => {
        while (!done) {
          const one = random.pick(regulars.filter(({ busy }) => !busy))
          const server = await whileBusy(one, () => write(one, () => random.pick(servers())))
          onAnswer?.(server)
        }
      }
      const lanes = await Promise.allSettled(Array.from({ length: atOnce }, lane))
      for (const one of lanes) if (one.status === 'rejected') throw one.reason
      await until
    },
    async lostAt(server) {
      const lost: Lost[] = []
      await inLanes(regulars, atOnce, async (one, visitor) => {
        const compare = comparison(one)
        const { answer } = await insist(one, () => server, { path: 'GET /session' })
        one.visitor.take(answer)
        for (const what of compare(answer.isNew ? undefined : answer.data)) lost.push({ visitor, what })
      })
      return lost
    },
  }
}

/** All items, so many at once. */
async function inLanes<T>(items: readonly T[], lanes: number, work: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++
      await work(items[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}
