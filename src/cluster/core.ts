import type { Coverage } from '../core/floor.ts'
import { SessionError } from '../errors.ts'
import type { StrategyContext, Transport } from '../seam.ts'
import { type Acks, createAcks } from './acks.ts'
import { type Clock, createClock } from './clock.ts'
import { type Contact, createContact } from './contact.ts'
import { createEntries, type Entries, type Entry, type Tombstone } from './entries.ts'
import { createMembers, type Members } from './members.ts'
import type { ServerState, TombstoneReason } from './message-codes.ts'
import { encodeMessage, type Message } from './messages.ts'
import { createOutbox, type Outbox } from './outbox.ts'
import type { Partitions } from './partitions.ts'
import { createPlacement, type Placement, type Policy } from './placement.ts'
import { createRequests, type Requests } from './requests.ts'

/** Every wait of the cluster ends by then. */
export const DEADLINE_MS = 2_000

export interface TableOptions {
  readonly transport: Transport
  readonly policy: Policy
  /** Holders beside the first that must have a write before it is acknowledged. */
  readonly acks: number
  readonly onDegraded: 'continue' | 'fail'
  /** Out of touch with the majority: serve what is here, or refuse. */
  readonly whenCutOff: 'continue' | 'fail'
  /** Where ended sessions are remembered, if not in a map of their own. */
  readonly tombstones?: Partitions<Tombstone>
}

/** What the parts of one server's table share. */
export interface Core {
  readonly options: TableOptions
  /** Its runtime tells the time that the servers agree on. */
  readonly context: StrategyContext
  readonly clock: Clock
  readonly members: Members
  readonly placement: Placement
  readonly entries: Entries
  readonly outbox: Outbox
  readonly acks: Acks
  readonly contact: Contact
  readonly requests: Requests
  /** Encodes and queues for one server. */
  post(incarnation: string, message: Message): void
  /** Own incarnation. */
  readonly self: string
  /** Affinity: does this server own the session? */
  owns(entry: Entry): boolean
}

export function createCore(options: TableOptions, given: StrategyContext): Core {
  const { keys } = given
  // 6 random bytes: origins of dots are short, and a run never meets another's.
  const self = Buffer.from(given.runtime.randomBytes(6)).toString('base64url')
  const entries = createEntries(self, options.tombstones, options.policy.kind === 'all')
  const clock = createClock(given.runtime, () => entries.size > 0 || entries.tombstoneCount > 0)
  given.steer?.(clock.now)
  const runtime = { ...given.runtime, now: clock.now }
  const context = { ...given, runtime }
  const members = createMembers({ node: context.node, incarnation: self }, keys, runtime)
  const outbox = createOutbox(options.transport, runtime, () => {
    context.logger.warn('holdfast: a session is too large to be sent to another server (1 MiB, bookkeeping included): store less in it.')
  })
  const post = (incarnation: string, message: Message): void => outbox.post(incarnation, encodeMessage(message))
  return {
    options,
    context,
    clock,
    members,
    placement: createPlacement(members, options.policy),
    entries,
    outbox,
    acks: createAcks(runtime, DEADLINE_MS),
    contact: createContact(members, runtime, post),
    requests: createRequests(runtime, post),
    post,
    self,
    owns: (entry) => entry.owner === self,
  }
}

export function tombstoneMessage(
  core: Core,
  key: string,
  tombstone: Tombstone,
  asked: { sequence?: number; request?: number; seen?: Coverage } = {},
): Message {
  const { endedAt, reason, until } = tombstone
  const { request = 0, sequence = 0, seen } = asked
  return {
    kind: 'tombstone',
    sequence,
    request,
    key,
    reason,
    ageMs: core.context.runtime.now() - endedAt,
    until,
    ...(seen !== undefined && { seen }),
  }
}

export function stateMessage({ context, entries, members }: Core): Message {
  const now = context.runtime.monotonic()
  const lost = [...members.lost()].map(([node, at]) => ({ node, ageMs: now - at }))
  return { kind: 'state', state: members.self.state as ServerState, sessions: entries.size, lost }
}

export function goneError(reason: TombstoneReason | 'unknown'): SessionError {
  if (reason === 'replaced') {
    return new SessionError(
      'SESSION_REPLACED',
      'The session got a new id while this request ran (a login or regenerate): nothing was stored. Send the request again.',
    )
  }
  return new SessionError('SESSION_GONE', 'The session ended while this request ran: nothing was stored. Start a new session.')
}

export function unavailable(what: string): SessionError {
  return new SessionError('SESSION_UNAVAILABLE', `${what} Try again in a moment.`, { headers: { 'Retry-After': '1' } })
}
