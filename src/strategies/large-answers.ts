import { LRUCache } from 'lru-cache'

interface LargeAnswer {
  readonly name: string
  readonly bytes: number
  /** Monotonic ms. */
  readonly at: number
}

/** Longer than nearly every answer is under way. */
const UNDER_WAY_MS = 3_000
const SESSIONS_MAX = 10_000

/** Large notes that this server has sent lately: parallel requests of one visitor do not see each other's answers. */
export class LargeAnswers {
  readonly #sent = new LRUCache<string, readonly LargeAnswer[]>({ max: SESSIONS_MAX })

  add(sessionId: string, answer: LargeAnswer): void {
    const others = (this.#sent.get(sessionId) ?? []).filter(({ name }) => name !== answer.name)
    this.#sent.set(sessionId, [...others, answer])
  }

  /** Bytes of those that may still arrive. */
  underWay(sessionId: string, now: number, isHere: (name: string) => boolean): number {
    const sent = this.#sent.get(sessionId)
    if (sent === undefined) return 0
    const left = sent.filter(({ name, at }) => now - at < UNDER_WAY_MS && !isHere(name))
    if (left.length === 0) this.#sent.delete(sessionId)
    else this.#sent.set(sessionId, left)
    return left.reduce((sum, { bytes }) => sum + bytes, 0)
  }
}
