/**
 * Who answers from memory must be in touch with a majority, so that no revocation passes it by: each server asks all others
 * several times per lease, and trusts what it holds only while a majority has answered within the lease (Gray and
 * Cheriton, "Leases", 1989). An answer follows, on its ordered link, every ending that was told before it.
 */
import type { Runtime, Timer } from '../seam.ts'
import type { Member, Members } from './members.ts'
import type { Message, MessageOf } from './messages.ts'

export const LEASE_MS = 500
const PINGS_PER_LEASE = 4
/** A server that lost touch, because it was paused or cut off, tries this long to find a majority before it gives an answer. */
const REGAIN_MS = 300

export interface Contact {
  /** A majority has answered within the lease. */
  isFresh(): boolean
  /** Resolves to whether contact with a majority is there again; bounded. */
  regain(): Promise<boolean>
  up(member: Member): void
  down(incarnation: string): void
  /** Everything this server missed of the other has been taken over: from now on its answers count. */
  pulled(incarnation: string): void
  pong(incarnation: string, pong: Pick<MessageOf<'pong'>, 'number' | 'members'>): void
  /** When the ping of this number was sent (monotonic ms); undefined: long ago, or never. */
  askedAt(number: number): number | undefined
  /** All linked servers know the same servers as this one: whom this one has told, everybody has been told. */
  isWhole(): boolean
  stop(): void
}

export function createContact(members: Members, runtime: Runtime, post: (incarnation: string, message: Message) => void): Contact {
  /** When the question was asked that each server answered last. */
  const confirmedAt = new Map<string, number>()
  const pulled = new Set<string>()
  const fingerprints = new Map<string, number>()
  /** Numbers of pings that may still be answered, with the time of asking. */
  const asked = new Map<number, number>()
  const waiting = new Set<() => void>()
  let lastNumber = 0
  let lapsedAt: number | undefined
  let isCutOff = false
  let regaining: Promise<boolean> | undefined
  let timer: Timer | undefined

  function ask(to: readonly Member[]): void {
    const now = runtime.monotonic()
    const number = ++lastNumber
    asked.set(number, now)
    asked.delete(number - 4 * PINGS_PER_LEASE)
    for (const { incarnation } of to) post(incarnation, { kind: 'ping', number })
  }

  function tick(): void {
    isFresh()
    if (members.others().length > 0) ask(members.others())
    timer = runtime.setTimer(LEASE_MS / PINGS_PER_LEASE, tick)
  }

  /** Servers that answered a question asked since then. */
  function answeredSince(since: number): number {
    let count = 0
    for (const { incarnation } of members.others()) if ((confirmedAt.get(incarnation) ?? Number.NEGATIVE_INFINITY) >= since) count++
    return count
  }

  function isFresh(): boolean {
    const needed = members.majority() - 1
    if (needed === 0) return true
    const now = runtime.monotonic()
    if (lapsedAt === undefined) {
      if (answeredSince(now - LEASE_MS) >= needed) return true
      lapsedAt = now
      return false
    }
    // After a lapse all linked servers have to answer: one of them may have told of an ending while nobody was listening.
    const answered = answeredSince(lapsedAt)
    if (answered < needed || answered < members.others().length) return false
    lapsedAt = undefined
    isCutOff = false
    return true
  }

  function wake(): void {
    if (waiting.size > 0 && isFresh()) for (const look of [...waiting]) look()
  }

  function search(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (): void => {
        limit.cancel()
        waiting.delete(finish)
        regaining = undefined
        isCutOff = !isFresh()
        resolve(!isCutOff)
      }
      const limit = runtime.setTimer(REGAIN_MS, finish)
      waiting.add(finish)
      ask(members.others())
    })
  }

  tick()
  return {
    isFresh,
    regain() {
      if (isFresh()) return Promise.resolve(true)
      if (isCutOff) return Promise.resolve(false)
      regaining ??= search()
      return regaining
    },
    up(member) {
      ask([member])
    },
    down(incarnation) {
      confirmedAt.delete(incarnation)
      fingerprints.delete(incarnation)
      pulled.delete(incarnation)
    },
    pulled(incarnation) {
      if (members.get(incarnation) === undefined) return
      pulled.add(incarnation)
      ask([members.get(incarnation) as Member])
    },
    pong(incarnation, { members: theirs, number }) {
      fingerprints.set(incarnation, theirs)
      const at = asked.get(number)
      if (at === undefined || !pulled.has(incarnation)) return
      isFresh()
      confirmedAt.set(incarnation, Math.max(at, confirmedAt.get(incarnation) ?? at))
      wake()
    },
    askedAt: (number) => asked.get(number),
    isWhole() {
      const own = members.fingerprint()
      return members.others().every(({ incarnation }) => fingerprints.get(incarnation) === own)
    },
    stop() {
      timer?.cancel()
      for (const finish of [...waiting]) finish()
    },
  }
}
