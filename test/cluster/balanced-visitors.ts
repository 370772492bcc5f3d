/** Visitors behind a balancer: each counts upwards in its session, and knows what was acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises'
import { KeepAliveClient, type PlainAnswer } from '../setup/keep-alive-client.ts'
import type { Random } from '../setup/virtual-runtime.ts'

const RETRY_DEADLINE_MS = 20_000
const RETRY_PAUSE_MS = 20

class Visitor {
  readonly cookies: Map<string, string> = new Map()
  /** The highest number that a server has acknowledged or shown. */
  seen = 0
  sent = 0
  busy = false
  node: string | undefined

  header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  take(answer: PlainAnswer): void {
    for (const text of answer.setCookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(text) ?? []
      if (/;\s*max-age=0/i.test(text)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
  }
}

export interface Failure {
  /** `performance.now()` */
  readonly at: number
  readonly what: string
}

export class Visitors {
  readonly all: readonly Visitor[]
  readonly failures: Failure[] = []
  readonly lost: string[] = []
  readonly stale: string[] = []
  answered = 0
  #client: KeepAliveClient
  readonly #url: string
  readonly #atOnce: number
  readonly #random: Random

  constructor(url: string, count: number, { atOnce, random }: { atOnce: number; random: Random }) {
    this.all = Array.from({ length: count }, () => new Visitor())
    this.#url = url
    this.#client = new KeepAliveClient(url, atOnce)
    this.#atOnce = atOnce
    this.#random = random
  }

  /** Sends until it is answered 200; each attempt that is not is a failure. */
  async #visit(one: Visitor, write: boolean): Promise<void> {
    const before = one.seen
    const known = one.cookies.size > 0
    const n = write ? ++one.sent : undefined
    const until = performance.now() + RETRY_DEADLINE_MS
    for (;;) {
      const answer = await this.#client
        .send(write ? 'POST' : 'GET', write ? `/?n=${n}` : '/', one.header(), write ? '' : undefined)
        .catch((error: unknown) => error as Error)
      if (!(answer instanceof Error) && answer.status === 200) {
        this.answered++
        return this.#judge(one, answer, before, known)
      }
      const what = answer instanceof Error ? answer.message : `${answer.status} ${answer.body.slice(0, 80)}`
      this.failures.push({ at: performance.now(), what: `${write ? 'POST' : 'GET'} ${what}` })
      if (!(answer instanceof Error)) one.take(answer)
      if (performance.now() > until) throw new Error(`not answered within ${RETRY_DEADLINE_MS} ms: ${what}`)
      await sleep(RETRY_PAUSE_MS)
    }
  }

  #judge(one: Visitor, answer: PlainAnswer, before: number, known: boolean): void {
    one.take(answer)
    const { isNew, n, node } = JSON.parse(answer.body) as { isNew: boolean; n: number | null; node: string }
    const index = this.all.indexOf(one)
    if (known && isNew) this.lost.push(`${index} at ${node}`)
    else if (known && (n ?? 0) < before) this.stale.push(`${index}: ${n} after ${before} at ${node}`)
    one.seen = Math.max(before, n ?? 0)
    one.node = node
  }

  async #each(work: (one: Visitor) => Promise<void>): Promise<void> {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < this.all.length) await work(this.all[next++] as Visitor)
    }
    await Promise.all(Array.from({ length: this.#atOnce }, lane))
  }

  writeAll(): Promise<void> {
    return this.#each((one) => this.#visit(one, true))
  }

  /** Each reads once. How many were answered by another server than before. */
  async readAll(): Promise<number> {
    let moved = 0
    await this.#each(async (one) => {
      const { node } = one
      await this.#visit(one, false)
      if (one.node !== node) moved++
    })
    return moved
  }

  /** Random visitors, one write in three requests, until `until` settles. */
  async load(until: Promise<unknown>): Promise<void> {
    let done = false
    const stop = (): void => {
      done = true
    }
    until.then(stop, stop)
    const lane = async (): Promise<void> => {
      while (!done) {
        const one = this.#random.pick(this.all)
        if (one.busy) continue
        one.busy = true
        try {
          await this.#visit(one, this.#random.between(0, 2) === 0)
        } finally {
          one.busy = false
        }
      }
    }
    await Promise.all(Array.from({ length: this.#atOnce }, lane))
    await until
  }

  /** What failed since then, and how often. */
  failureSummary(since = 0): string[] {
    const counts = new Map<string, number>()
    for (const { at, what } of this.failures) if (at > since) counts.set(what, (counts.get(what) ?? 0) + 1)
    return [...counts].map(([what, count]) => `${count} × ${what}`)
  }

  perNode(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { node = '' } of this.all) counts.set(node, (counts.get(node) ?? 0) + 1)
    return counts
  }

  /** A balancer that takes a new configuration closes idle connections of its clients; browsers ask again where a test would count a failure. */
  reconnect(): void {
    this.#client.close()
    this.#client = new KeepAliveClient(this.#url, this.#atOnce)
  }

  close(): void {
    this.#client.close()
  }
}
