import type { Coverage } from '../core/floor.ts'
import type { Change, Draft, MaybePromise } from '../seam.ts'
import { asUpdate } from './conflicts.ts'
import { type Core, goneError, unavailable } from './core.ts'
import type { Entry } from './entries.ts'
import type { Claim } from './message-codes.ts'
import { encodeMessage } from './messages.ts'
import type { Member } from './members.ts'
import type { Home } from './placement.ts'
import { applyDelta, type Delta, deltaOf, mergeRecords, recordOf, touched } from './record.ts'

/** What this server changes, and how the others come to know it. */
export interface Writes {
  create(key: string, draft: Draft): MaybePromise<Entry>
  /** Applied before it returns; a promise waits for the holders' acknowledgement. */
  write(entry: Entry, change: Change, isUpdate?: boolean): MaybePromise<Entry>
  /** Sends the whole copy to servers that may not have it. Undefined: nobody to send to. */
  push(entry: Entry, to: readonly Member[], claim: Claim): Promise<void> | undefined
  /** Membership or acknowledgements changed: tell when enough holders are there again. */
  reviewHealth(): void
}

/** Former holders keep their copies, and learn whose the session is. */
const NOTHING: Coverage = new Map()

export function createWrites(core: Core): Writes {
  const { acks, context, entries, members, options, outbox, placement, self } = core
  const owned = options.policy.kind === 'owner'
  let degraded = false

  const nextDot = (origin: string, highest: number): { origin: string; counter: number } => ({
    origin,
    counter: 1 + Math.max(highest, entries.highestDropped),
  })
  const neededOf = (home: Home): number => options.acks + 1 - (home.self ? 1 : 0)

  function degrade(why: string): void {
    if (options.onDegraded === 'fail')
      throw unavailable(`The write could not be confirmed by enough servers (${why}); its outcome is unknown.`)
    if (degraded) return
    degraded = true
    context.emit('degraded', { detail: `Writes are confirmed by fewer servers than asked for: ${why}.` })
  }

  function recover(): void {
    if (!degraded) return
    degraded = false
    context.emit('recovered', { detail: 'Writes are confirmed by as many servers as asked for again.' })
  }

  /** Refuses before anything is applied where the outcome would be known to be too weak. */
  function admit(key: string): void {
    const home = placement.home(key)
    if (options.onDegraded === 'fail' && home.counting.length < neededOf(home)) {
      throw unavailable('Too few servers of the cluster can be reached to keep the write; nothing was stored.')
    }
  }

  /** A delta where the copy it builds on is known to be, the whole record elsewhere; each encoded once. */
  function spread(entry: Entry, delta: Delta | undefined, claim: Claim, sequence: number, to: readonly Member[]): void {
    let small: Buffer | undefined
    let whole: Buffer | undefined
    for (const member of to) {
      const known = delta !== undefined && (options.policy.kind === 'all' || entry.placed?.others.includes(member) === true)
      if (known) small ??= encodeMessage({ kind: 'delta', sequence, claim, delta: delta })
      else whole ??= encodeMessage({ kind: 'record', sequence, request: 0, claim, record: entry.peek() })
      outbox.post(member.incarnation, (known ? small : whole) as Buffer)
    }
  }

  /** Waits until enough holders have it, and says whether as many as asked for do. Undefined: nobody to wait for. */
  function confirm(entry: Entry, sequence: number, home: Home): Promise<boolean> | undefined {
    const wanted = neededOf(home)
    if (wanted <= 0) return undefined
    if (home.counting.length < wanted) degrade('too few are running')
    const needed = Math.min(wanted, home.counting.length)
    if (needed === 0) return undefined
    const { key } = entry.record
    const more = (tried: ReadonlySet<string>): readonly string[] => {
      const current = entries.get(key)
      const fresh = placement.home(key).counting.filter((member) => !tried.has(member.incarnation))
      if (current !== undefined) spread(current, undefined, 'none', sequence, fresh)
      return current === undefined ? [] : fresh.map((member) => member.incarnation)
    }
    const servers = home.counting.map((member) => member.incarnation)
    return acks.wait({ key, sequence, needed, servers, more }).then((outcome) => {
      if (outcome !== 'acked') degrade(outcome === 'late' ? 'a server did not answer in time' : 'too few are running')
      else if (needed === wanted) recover()
      return outcome === 'acked' && needed === wanted
    })
  }

  /** Servers that held the session for its former owner and are none of its holders now. */
  function formerHolders(key: string, formerOwner: string): readonly Member[] {
    if (options.policy.kind !== 'owner') return []
    const backups = placement
      .preference(key)
      .filter((member) => member.incarnation !== formerOwner)
      .slice(0, options.policy.backups)
    const owner = members.get(formerOwner)
    const now = placement.home(key).others
    return [...(owner === undefined ? [] : [owner]), ...backups].filter((member) => member !== members.self && !now.includes(member))
  }

  /** `coverage`: what the new holders have confirmed. */
  function tellMoved(entry: Entry, to: readonly Member[], coverage: Coverage): void {
    // Somebody else may have claimed it while the write was confirmed: then that server tells.
    if (entry.claim === undefined || entry.owner !== self) return
    const message = encodeMessage({ kind: 'moved', key: entry.record.key, claim: entry.claim, owner: self, coverage })
    for (const member of to) outbox.post(member.incarnation, message)
  }

  /** Nobody waits for these acknowledgements but those who may drop their copies then. */
  function moveLater(entry: Entry, sequence: number, home: Home, moved: readonly Member[]): void {
    const { coverage, key } = entry.record
    const servers = home.counting.map((member) => member.incarnation)
    acks.wait({ key, sequence, needed: Math.max(1, servers.length), servers }).then(
      (outcome) => tellMoved(entry, moved, outcome === 'acked' ? coverage : NOTHING),
      () => undefined,
    )
  }

  function commit(entry: Entry, delta: Delta | undefined): MaybePromise<Entry> {
    const { record } = entry
    const home = placement.home(record.key)
    const former = entry.owner
    const claims = owned && home.self
    if (claims) {
      if (former !== self) entry.placed = undefined
      entry.owner = self
      entry.claim = record.heads.at(-1)
    }
    const moved = claims && former !== '' && former !== self ? formerHolders(record.key, former) : []
    const sequence = neededOf(home) > 0 || moved.length > 0 ? acks.sequence() : 0
    spread(entry, delta, claims ? 'sender' : 'none', sequence, home.others)
    entry.placed = home
    const confirmed = confirm(entry, sequence, home)
    if (confirmed === undefined) {
      if (moved.length > 0) moveLater(entry, sequence, home, moved)
      return entry
    }
    return confirmed.then((isEnough) => {
      tellMoved(entry, moved, isEnough ? record.coverage : NOTHING)
      return entry
    })
  }

  function touch(entry: Entry, touchAt: number): Entry {
    const record = touched(entry.record, touchAt)
    if (record === entry.record) return entry
    const current = entries.put(record)
    const message = encodeMessage({ kind: 'touch', key: record.key, touchAt })
    for (const member of placement.home(record.key).others) outbox.post(member.incarnation, message)
    return current
  }

  /** The entry in the table: the caller's copy may have been dropped, and fetched anew, since it was found. */
  function attached(entry: Entry): Entry {
    const { key } = entry.record
    const current = entries.get(key)
    if (current === entry) return entry
    const ended = entries.tombstone(key)
    if (ended !== undefined) throw goneError(ended.reason)
    return entries.put(current === undefined ? entry.record : mergeRecords(current.record, entry.record))
  }

  /** Changes nothing but the times, and the session is where it should be. */
  function isTouch(entry: Entry, change: Change): boolean {
    if (change.set.size > 0 || change.add.size > 0 || change.lifetime !== undefined) return false
    // The first touch at another server binds the session to it, as a write does: by a dot of its own.
    return !owned || entry.owner === self || !placement.home(entry.record.key).self
  }

  return {
    create(key, draft) {
      const ended = entries.tombstone(key)
      if (ended !== undefined) throw goneError(ended.reason)
      admit(key)
      return commit(entries.put(recordOf(key, draft, nextDot(self, 0))), undefined)
    },
    write(entry, change, isUpdate = false) {
      const current = attached(entry)
      if (isTouch(current, change)) return touch(current, change.touchAt)
      admit(current.record.key)
      const plain = deltaOf(current.record, change, nextDot(current.origin, current.record.highest))
      const delta = isUpdate ? asUpdate(plain) : plain
      return commit(entries.put(applyDelta(current.record, delta)), delta)
    },
    push(entry, to, claim) {
      if (to.length === 0) return undefined
      const { key } = entry
      const sequence = acks.sequence()
      spread(entry, undefined, claim, sequence, to)
      const servers = to.map((member) => member.incarnation)
      return acks.wait({ key, sequence, needed: Infinity, servers }).then(
        () => undefined,
        () => undefined,
      )
    },
    reviewHealth() {
      if (degraded && members.holders().length >= options.acks + 1) recover()
    },
  }
}
