/**
 * Who owns a session (affinity): the server with the latest claim, the write by which it took the session over. Servers that claim at once need
 * not know of each other; whoever hears of two claims tells the loser, so that one owner is left.
 */
import { type Coverage, covers } from '../core/floor.ts'
import { compareDots, type Dot } from '../core/merge.ts'
import type { Core } from './core.ts'
import type { Entry } from './entries.ts'
import type { MessageOf } from './messages.ts'

export interface Ownership {
  /** A server claims the session by a write that came here. */
  claimed(entry: Entry, owner: string, claim: Dot): void
  /** A server owns the session now: who held it before may drop its copy. */
  moved(from: string, message: MessageOf<'moved'>): void
}

const NOTHING: Coverage = new Map()

/** Sessions dropped here of whose new owner this server can still tell. */
const REMEMBERED_MOST = 4_096

export function createOwnership({ entries, members, post, self }: Pick<Core, 'entries' | 'members' | 'post' | 'self'>): Ownership {
  const dropped = new Map<string, Pick<Entry, 'owner' | 'claim'>>()

  function remember(key: string, owner: string, claim: Dot): void {
    dropped.delete(key)
    dropped.set(key, { owner, claim })
    if (dropped.size <= REMEMBERED_MOST) return
    for (const oldest of dropped.keys()) {
      dropped.delete(oldest)
      break
    }
  }

  /** Tells a server that believes to own the session who does. */
  function tell(loser: string, key: string, owner: string, claim: Dot): void {
    if (loser === owner || loser === self || loser === '' || members.get(loser) === undefined) return
    if (owner !== self && members.get(owner) === undefined) return
    // What this server holds as the owner need not be confirmed by its backups: nobody may drop a copy for it.
    const coverage = owner === self ? NOTHING : (entries.get(key)?.record.coverage ?? NOTHING)
    post(loser, { kind: 'moved', key, claim, owner, coverage })
  }

  /** True when `owner` has the later claim. */
  function settle(known: Pick<Entry, 'owner' | 'claim'> | undefined, key: string, owner: string, claim: Dot): boolean {
    if (known?.claim === undefined || known.owner === owner) return true
    if (compareDots(claim, known.claim) < 0) {
      tell(owner, key, known.owner, known.claim)
      return false
    }
    tell(known.owner, key, owner, claim)
    return true
  }

  return {
    claimed(entry, owner, claim) {
      if (!settle(entry, entry.key, owner, claim)) return
      // A session taken over has to reach this server's own backups.
      if (entry.owner !== owner) entry.placed = undefined
      entry.owner = owner
      if (entry.claim === undefined || compareDots(claim, entry.claim) > 0) entry.claim = claim
    },
    moved(from, { claim, coverage, key, owner }) {
      if (owner === self || members.get(owner) === undefined) return
      const entry = entries.get(key)
      if (!settle(entry ?? dropped.get(key), key, owner, claim)) return
      if (entry === undefined) return remember(key, owner, claim)
      entry.owner = owner
      entry.claim = claim
      // Dropped only where the new holders have all that is here; else they are told what they lack.
      if (!covers(coverage, entry.heads)) post(owner, { kind: 'record', sequence: 0, request: 0, claim: 'none', record: entry.record })
      else if (from === owner) {
        remember(key, owner, claim)
        entries.drop(key)
      }
    },
  }
}
