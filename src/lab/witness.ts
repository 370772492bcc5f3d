/**
 * Finds what a visitor would complain about. The shop page and the lab's visitors send what they have seen and what was
 * acknowledged to them, one request at a time; the server compares it with the session it opened.
 */
import type { IncomingMessage } from 'node:http'
import type { Session } from '../types.ts'
import type { Counters } from './messages.ts'

/** The counter every visitor adds to. */
export const WITNESS_FIELD = 'visits'
/** The highest value of the counter that an answer showed this visitor. */
export const SEEN_HEADER = 'x-lab-seen'
/** How much was added and acknowledged to this visitor. */
export const ACKNOWLEDGED_HEADER = 'x-lab-acknowledged'

export interface Witness {
  readonly counters: Counters
  check(request: IncomingMessage, session: Session<Record<string, unknown>>): void
}

export function createWitness(): Witness {
  const counters: Counters = { lostUpdates: 0, stale: 0 }
  return {
    counters,
    check(request, session) {
      const seen = headerNumber(request, SEEN_HEADER)
      // A forgotten session is counted as lost, not as stale besides.
      if (seen === undefined || session.isNew) return
      const stored = session.data[WITNESS_FIELD]
      const value = typeof stored === 'number' ? stored : 0
      if (value < seen) counters.stale += 1
      else counters.lostUpdates += Math.max(0, (headerNumber(request, ACKNOWLEDGED_HEADER) ?? 0) - value)
    },
  }
}

function headerNumber(request: IncomingMessage, name: string): number | undefined {
  const raw = request.headers[name]
  return typeof raw === 'string' && /^\d{1,9}$/.test(raw) ? Number(raw) : undefined
}
