import { covers, type Heads, sameHeads } from '../core/floor.ts'
import { SessionError } from '../errors.ts'
import type { Change, RecordView } from '../seam.ts'
import { catchUp } from './catch-up.ts'
import { type Core, DEADLINE_MS, goneError, unavailable } from './core.ts'
import type { Entry } from './entries.ts'
import type { CompareOutcome } from './message-codes.ts'
import type { MessageOf } from './messages.ts'
import type { Writes } from './writes.ts'

/**
 * Atomic updates: compare-and-set at one server per session, its owner or its first holder. That server makes the write
 * itself, so that an answer lost on the way leaves no half-known write at the asking one.
 */
export interface Comparing {
  update(key: string, change: (record: RecordView) => Change): Promise<Entry>
  serve(incarnation: string, message: MessageOf<'compare'>): void
}

const MOST_ATTEMPTS = 16
const BACKOFF_MS = 5

export function createComparing(core: Core, writes: Writes): Comparing {
  const { context, entries, members, options, placement, requests } = core

  /** Undefined: this server. */
  function arbiterOf(entry: Entry): string | undefined {
    if (options.policy.kind === 'owner') {
      return core.owns(entry) || members.get(entry.owner) === undefined ? undefined : entry.owner
    }
    const first = placement.preference(entry.record.key).find((member) => member.state === 'ready')
    return first === undefined || first === members.self ? undefined : first.incarnation
  }

  /** The copy may have moved away while the update ran. */
  async function current(key: string, floor: Heads): Promise<Entry> {
    const entry = entries.get(key)
    if (entry !== undefined) return entry
    const found = await catchUp(core, { key, floor, hint: [] })
    if (found.outcome === 'covered') return found.entry
    if (found.outcome === 'ended') throw goneError(found.tombstone.reason)
    if (found.entry === undefined) throw goneError('unknown')
    throw unavailable('The newest copy of the session cannot be found.')
  }

  /** The record came before the outcome; unless its frame was lost. */
  async function applied(key: string, arbiter: string, before: Heads): Promise<Entry> {
    const entry = entries.get(key)
    if (entry === undefined || sameHeads(entry.record.heads, before)) await requests.fetch(arbiter, key, DEADLINE_MS).outcome
    return await current(key, before)
  }

  async function update(key: string, change: (record: RecordView) => Change): Promise<Entry> {
    let floor: Heads = []
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const entry = await current(key, floor)
      const arbiter = arbiterOf(entry)
      if (arbiter === undefined) return await writes.write(entry, change(entry.record), true)
      const { heads } = entry.record
      floor = heads
      const wanted = change(entry.record)
      const outcome = await requests.compare(arbiter, 2 * DEADLINE_MS, (request) => ({
        kind: 'compare',
        request,
        key,
        heads,
        change: wanted,
      }))
      if (outcome === 'applied') return await applied(key, arbiter, heads)
      if (outcome === 'destroyed' || outcome === 'replaced') throw goneError(outcome)
      if (outcome === 'silent' || outcome === 'failed') throw unavailable('The update was not confirmed; its outcome is unknown.')
      await new Promise<void>((resolve) => void context.runtime.setTimer(attempt * BACKOFF_MS, resolve))
    }
    throw unavailable('Too many requests update this session at the same time.')
  }

  /** The asking server takes in the record before the outcome: both travel on one link. */
  function answer(incarnation: string, request: number, outcome: CompareOutcome, entry?: Entry): void {
    if (entry !== undefined) {
      const claim = core.owns(entry) ? 'sender' : 'none'
      core.post(incarnation, { kind: 'record', sequence: 0, request: 0, claim, record: entry.record })
    }
    core.post(incarnation, { kind: 'compared', request, outcome })
  }

  async function decide(incarnation: string, { change, heads, key }: MessageOf<'compare'>): Promise<[CompareOutcome, Entry?]> {
    const known = entries.get(key)
    if (known === undefined || !covers(known.record.coverage, heads)) await requests.fetch(incarnation, key, DEADLINE_MS).outcome
    const entry = entries.get(key)
    if (entry === undefined) {
      const reason = entries.tombstone(key)?.reason
      return [reason === 'replaced' ? 'replaced' : reason === undefined ? 'unknown' : 'destroyed']
    }
    if (!sameHeads(entry.record.heads, heads)) return ['conflict', entry]
    return ['applied', await writes.write(entry, change, true)]
  }

  /** Questions may arrive twice, and an update must not be applied twice. */
  const seen = new Set<string>()

  return {
    update,
    serve(incarnation, message) {
      const id = `${incarnation}${message.request}`
      if (seen.has(id)) return
      seen.add(id)
      context.runtime.setTimer(4 * DEADLINE_MS, () => seen.delete(id))
      decide(incarnation, message).then(
        ([outcome, entry]) => answer(incarnation, message.request, outcome, entry),
        (error: unknown) => {
          const replaced = SessionError.is(error) && error.code === 'SESSION_REPLACED'
          const gone = SessionError.is(error) && error.code === 'SESSION_GONE'
          answer(incarnation, message.request, replaced ? 'replaced' : gone ? 'destroyed' : 'failed')
        },
      )
    },
  }
}
