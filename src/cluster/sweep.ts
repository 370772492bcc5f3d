import type { Timer } from '../seam.ts'
import type { Core } from './core.ts'
import type { Entry, Tombstone } from './entries.ts'
import { endOf } from './record.ts'

const EVERY_MS = 500
const SLICE = 4_096
/** A copy is kept a little beyond its end: the last touch may still be on its way. */
const GRACE_MS = 10_000

/** Drops copies and tombstones past their end, a slice at a time. Returns what stops it. */
export function startSweep(core: Core): () => void {
  const { context, entries, members, options, placement } = core
  let walk: IterableIterator<Entry> = entries.all()
  let graves: IterableIterator<[string, Tombstone]> = entries.tombstones()
  let timer: Timer = context.runtime.setTimer(EVERY_MS, sweep)

  function reports(entry: Entry): boolean {
    if (options.policy.kind === 'owner' && (core.owns(entry) || members.get(entry.owner) !== undefined)) return core.owns(entry)
    const order = placement.preference(entry.record.key)
    return (order.find((member) => member.state === 'ready') ?? members.self) === members.self
  }

  function expire(entry: Entry): void {
    const { key, meta } = entry.record
    const reporting = reports(entry)
    entries.drop(key)
    context.ended(key, 'expired')
    if (reporting) context.emit('expired', meta.userId === undefined ? { key } : { key, userId: meta.userId })
  }

  function sweep(): void {
    const now = context.runtime.now()
    for (let left = SLICE; left > 0; left--) {
      const next = walk.next()
      if (next.done === true) {
        walk = entries.all()
        break
      }
      const { record } = next.value
      if (now > endOf(record) + Math.min(GRACE_MS, record.meta.idleMs)) expire(next.value)
    }
    for (let left = SLICE; left > 0; left--) {
      const next = graves.next()
      if (next.done === true) {
        graves = entries.tombstones()
        break
      }
      if (now > next.value[1].until) entries.unbury(next.value[0])
    }
    timer = context.runtime.setTimer(EVERY_MS, sweep)
  }

  return () => timer.cancel()
}
