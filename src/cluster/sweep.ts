import type { Timer } from '../seam.ts'
import type { Core } from './core.ts'
import type { Entry, Tombstone } from './entries.ts'
import { createSlices } from './slices.ts'

const EVERY_MS = 500
/** While a walk finds much that has ended, it goes on as soon as requests had their turn. */
const SOON_MS = 5
const SLICE = 16_384
/** A copy is kept a little beyond its end: the last touch may still be on its way. */
const GRACE_MS = 10_000

/** Drops copies and tombstones past their end, a slice at a time. Returns what stops it. */
export function startSweep(core: Core): () => void {
  const { context, entries, members, options, placement } = core
  const copies = createSlices<Entry>(context.runtime, () => entries.all(), SLICE)
  const graves = createSlices<[string, Tombstone]>(context.runtime, () => entries.tombstones(), SLICE)
  let timer: Timer = context.runtime.setTimer(EVERY_MS, sweep)

  function reports(entry: Entry): boolean {
    if (options.policy.kind === 'owner' && (core.owns(entry) || members.get(entry.owner) !== undefined)) return core.owns(entry)
    const order = placement.preference(entry.key)
    return (order.find((member) => member.state === 'ready') ?? members.self) === members.self
  }

  function expire(entry: Entry): void {
    const { key } = entry
    const { userId } = entry.peek().meta
    const reporting = reports(entry)
    entries.drop(key)
    context.ended(key, 'expired')
    if (reporting) context.emit('expired', userId === undefined ? { key } : { key, userId })
  }

  function sweep(): void {
    const now = context.runtime.now()
    let expired = 0
    const isWhole = copies.next((entry) => {
      if (now <= entry.endAt || now <= entry.endAt + Math.min(GRACE_MS, entry.peek().meta.idleMs)) return
      expire(entry)
      expired++
    })
    graves.next(([key, { until }]) => {
      if (now > until) entries.unbury(key)
    })
    timer = context.runtime.setTimer(expired > 0 && !isWhole ? SOON_MS : EVERY_MS, sweep)
  }

  return () => timer.cancel()
}
