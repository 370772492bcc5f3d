import type { SessionSummary } from '../types.ts'
import { type Core, DEADLINE_MS } from './core.ts'
import type { MessageOf } from './messages.ts'
import { type ClusterRecord, endOf } from './record.ts'

/** Sessions of the whole cluster. */
export interface Listing {
  own(userId: string | undefined): Generator<SessionSummary>
  /** Asks every linked server; one that keeps silent is left out after the deadline. */
  everywhere(userId: string | undefined): Promise<ReadonlyMap<string, SessionSummary>>
  serve(incarnation: string, message: MessageOf<'list'>): void
  part(incarnation: string, message: MessageOf<'list-part'>): void
  down(incarnation: string): void
}

const PART = 256

interface Asking {
  readonly incarnation: string
  take(summaries: readonly SessionSummary[]): void
  finish(): void
}

export function summaryOf(record: ClusterRecord): SessionSummary {
  const { createdAt, lastActiveAt, persistent, userId } = record.meta
  return { key: record.key, userId, createdAt, lastActiveAt, expiresAt: endOf(record), persistent }
}

export function createListing(core: Core): Listing {
  const { context, entries } = core
  const asking = new Map<number, Asking>()

  function* own(userId: string | undefined): Generator<SessionSummary> {
    const now = context.runtime.now()
    if (userId === undefined) {
      for (const entry of entries.all()) if (entry.endAt > now) yield summaryOf(entry.peek())
      return
    }
    for (const key of [...entries.keysOfUser(userId)]) {
      const entry = entries.get(key)
      if (entry !== undefined && entry.endAt > now) yield summaryOf(entry.peek())
    }
  }

  function ask(incarnation: string, userId: string | undefined, take: Asking['take']): Promise<void> {
    const request = core.requests.next()
    return new Promise((resolve) => {
      const finish = (): void => {
        timer.cancel()
        asking.delete(request)
        resolve()
      }
      const timer = context.runtime.setTimer(DEADLINE_MS, finish)
      asking.set(request, { incarnation, take, finish })
      core.post(incarnation, { kind: 'list', request, userId })
    })
  }

  return {
    own,
    async everywhere(userId) {
      const found = new Map<string, SessionSummary>()
      const take = (summaries: Iterable<SessionSummary>): void => {
        for (const summary of summaries) {
          const known = found.get(summary.key)
          if (entries.tombstone(summary.key) === undefined && (known === undefined || known.lastActiveAt < summary.lastActiveAt)) {
            found.set(summary.key, summary)
          }
        }
      }
      take(own(userId))
      await Promise.all(core.members.others().map((member) => ask(member.incarnation, userId, take)))
      return found
    },
    serve(incarnation, { request, userId }) {
      let summaries: SessionSummary[] = []
      for (const summary of own(userId)) {
        summaries.push(summary)
        if (summaries.length < PART) continue
        core.post(incarnation, { kind: 'list-part', request, last: false, summaries })
        summaries = []
      }
      core.post(incarnation, { kind: 'list-part', request, last: true, summaries })
    },
    part(incarnation, { last, request, summaries }) {
      const open = asking.get(request)
      if (open?.incarnation !== incarnation) return
      open.take(summaries)
      if (last) open.finish()
    },
    down(incarnation) {
      for (const open of [...asking.values()]) if (open.incarnation === incarnation) open.finish()
    },
  }
}
