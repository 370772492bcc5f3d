import type { Coverage } from '../core/floor.ts'
import type { MaybePromise } from '../seam.ts'
import { LEASE_MS } from './contact.ts'
import { type Core, tombstoneMessage, unavailable } from './core.ts'
import type { Delivery } from './delivery.ts'
import type { Tombstone } from './entries.ts'
import type { Member } from './members.ts'
import type { TombstoneReason } from './message-codes.ts'
import { encodeMessage, type MessageOf } from './messages.ts'

/** A tombstone outlives every root of its session by this much: clocks differ, answers are late. */
const TOMBSTONE_GRACE_MS = 600_000

/** Servers that have not confirmed by then are told by the others, too. */
const RELAY_AFTER_MS = 50

/** A full queue is tried again after this time. */
const AGAIN_MS = 20

/** How sessions end on all servers, those out of reach included. */
export interface Endings {
  /**
   * Resolves once no server accepts the session: a majority has applied its end, and every other server has applied it or has
   * been out of contact with that majority for the lease, so that it does not trust its memory. With `whenCutOff: 'fail'`
   * rejects where there is no majority.
   */
  end(key: string, reason: TombstoneReason, absoluteAt: number, seen?: Coverage): MaybePromise<void>
  /** The queue to this server was full: what it has not confirmed is sent again as soon as there is room. */
  missed(incarnation: string): void
  /** Another server asks to tell those that it cannot reach. */
  relay(incarnation: string, message: MessageOf<'relay'>): void
}

export function createEndings(core: Core, delivery: Delivery): Endings {
  const { acks, contact, context, entries, members, options, outbox } = core
  const { runtime } = context
  /** Tombstones on their way, by sequence. */
  const unconfirmed = new Map<number, Buffer>()
  const refusing = new Set<string>()

  const sleep = (ms: number): Promise<void> => new Promise((done) => void runtime.setTimer(ms, done))

  /** Tells these servers; resolves once each has applied it. Servers that go away count as told. */
  function tell(key: string, tombstone: Tombstone, to: readonly Member[], seen?: Coverage): { all: Promise<unknown>; sequence: number } {
    const sequence = acks.sequence()
    const message = encodeMessage(tombstoneMessage(core, key, tombstone, { sequence, ...(seen !== undefined && { seen }) }))
    for (const { incarnation } of to) outbox.post(incarnation, message)
    const all = acks.wait({ key, sequence, needed: Infinity, servers: to.map(({ incarnation }) => incarnation) })
    unconfirmed.set(sequence, message)
    const forget = (): void => void unconfirmed.delete(sequence)
    all.then(forget, forget)
    return { all, sequence }
  }

  /** Where the queue is still full, this is called again. */
  function tellAgain(incarnation: string): void {
    refusing.delete(incarnation)
    for (const [sequence, message] of unconfirmed) if (acks.outstanding(sequence).includes(incarnation)) outbox.post(incarnation, message)
  }

  /** Until everybody who is silent, or has vanished, has been out of contact for the lease. */
  async function outwait(sequence: number, toldAt: number, told: ReadonlySet<string>): Promise<void> {
    for (;;) {
      let from = acks.outstanding(sequence).length > 0 ? toldAt : Number.NEGATIVE_INFINITY
      for (const [node, lostAt] of members.lost()) if (!told.has(node)) from = Math.max(from, lostAt)
      const left = from + LEASE_MS - runtime.monotonic()
      if (left <= 0) return
      await sleep(left)
    }
  }

  /** As `outwait`, and sooner when the silent ones confirm. */
  async function untilSettled(all: Promise<unknown>, sequence: number, toldAt: number, told: ReadonlySet<string>): Promise<void> {
    await Promise.race([all.then(() => outwait(sequence, toldAt, told)), outwait(sequence, toldAt, told)])
  }

  function isSilent(sequence: number): (member: Member) => boolean {
    const pending = new Set(acks.outstanding(sequence))
    return (member) => pending.has(member.incarnation)
  }

  async function confirm(key: string, tombstone: Tombstone, others: readonly Member[], seen?: Coverage): Promise<void> {
    const toldAt = runtime.monotonic()
    const { all, sequence } = tell(key, tombstone, others, seen)
    await Promise.race([all, sleep(RELAY_AFTER_MS)])
    const silent = others.filter(isSilent(sequence))
    const reachesAll = (): boolean => members.lost().size === 0 && contact.isWhole()
    if (silent.length === 0 && reachesAll()) return
    // A link that broke counts as no answer.
    const helpers = others.filter((member) => !silent.includes(member) && members.get(member.incarnation) === member)
    const told = new Set([members.self, ...helpers].map(({ peer }) => peer.node))
    const needed = members.majority() - 1
    const relaying = askToRelay(key, tombstone, helpers, [...told], Math.min(needed, helpers.length))
    const outwaited = Promise.all([relaying, outwait(sequence, toldAt, told)])
    // Whoever confirms late is as good as told.
    await Promise.race([all.then(() => (reachesAll() ? undefined : outwaited)), outwaited])
    if (helpers.length < needed && options.whenCutOff === 'fail') {
      throw unavailable('The session was ended here, but no majority of the servers has confirmed it.')
    }
  }

  function askToRelay(
    key: string,
    { endedAt, reason, until }: Tombstone,
    helpers: readonly Member[],
    told: readonly string[],
    needed: number,
  ): Promise<unknown> {
    if (needed === 0) return Promise.resolve()
    const sequence = acks.sequence()
    const message = encodeMessage({ kind: 'relay', sequence, key, reason, ageMs: runtime.now() - endedAt, until, told })
    for (const { incarnation } of helpers) outbox.post(incarnation, message)
    return acks.wait({ key, sequence, needed, servers: helpers.map(({ incarnation }) => incarnation) })
  }

  return {
    end(key, reason, absoluteAt, seen) {
      const tombstone = { reason, endedAt: runtime.now(), until: absoluteAt + TOMBSTONE_GRACE_MS }
      delivery.bury(key, tombstone)
      const others = members.others()
      if (others.length === 0 && members.lost().size === 0) return undefined
      return confirm(key, entries.tombstone(key) ?? tombstone, others, seen)
    },
    missed(incarnation) {
      if (refusing.has(incarnation) || unconfirmed.size === 0) return
      refusing.add(incarnation)
      runtime.setTimer(AGAIN_MS, () => tellAgain(incarnation))
    },
    relay(incarnation, { ageMs, key, reason, sequence, told, until }) {
      const tombstone = { reason, endedAt: runtime.now() - ageMs, until }
      delivery.bury(key, tombstone)
      const known = new Set(told)
      const toldAt = runtime.monotonic()
      const left = members.others().filter((member) => !known.has(member.peer.node) && member.incarnation !== incarnation)
      const { all, sequence: own } = tell(key, tombstone, left)
      void untilSettled(all, own, toldAt, known).then(
        () => delivery.acknowledge(incarnation, sequence),
        () => undefined,
      )
    },
  }
}
