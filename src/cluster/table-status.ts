import type { SessionsStatus } from '../types.ts'
import type { Core } from './core.ts'
import type { Entry } from './entries.ts'
import type { ServerState } from './message-codes.ts'

/** What one server tells of its table. */
export type TableStatus = Pick<SessionsStatus, 'sessions' | 'bytes' | 'peers' | 'details'>

/** Labels of who should be asked for the session: its owner, then those who hold backups. */
export function hintOf(core: Core, entry: Entry): readonly string[] {
  const { members, options, placement } = core
  if (options.policy.kind !== 'owner') return [members.self.label]
  const owner = members.get(entry.owner) ?? members.self
  const backups = placement.preference(entry.key).filter((member) => member !== owner)
  return [owner, ...backups.slice(0, options.policy.backups)].map((member) => member.label)
}

export function statusOf(core: Core): TableStatus {
  const { entries, members, options } = core
  const peers = members.others().map(({ peer, state }) => ({
    node: peer.node,
    state: state === 'joining' || state === undefined ? ('joining' as const) : state === 'leaving' ? ('down' as const) : ('up' as const),
  }))
  const { receivedBytes, sentBytes } = options.transport.traffic()
  return {
    sessions: entries.size,
    bytes: entries.bytes,
    peers,
    details: {
      // What its visitors' route cookies say; copies that are everywhere need none.
      ...(options.policy.kind === 'owner' && { route: members.self.label }),
      state: members.self.state as ServerState,
      sentBytes,
      receivedBytes,
      tombstones: entries.tombstoneCount,
      inContact: core.contact.isFresh(),
    },
  }
}
