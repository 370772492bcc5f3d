import type { Core } from './core.ts'
import type { Entry } from './entries.ts'
import { createSlices } from './slices.ts'
import type { Writes } from './writes.ts'

/** Sends copies where they belong after servers came or went. */
export interface Handover {
  /** Soon, in slices: new holders get what this server answers for. */
  review(): void
  /** This server leaves: everything it answers for is handed to the next holder. */
  leave(): Promise<void>
}

const SETTLE_MS = 20
const SLICE = 4_096
const PAUSE_MS = 5
const BATCH = 256
/** Copies on their way that nobody has confirmed: more would fill the queues of the links, and be dropped. */
const MOST_UNDER_WAY = 1_024

export function createHandover(core: Core, writes: Writes): Handover {
  const { context, entries, members, options, placement, self } = core
  const { policy } = options
  const walk = createSlices<Entry>(context.runtime, () => entries.all(), SLICE)
  let isWalking = false
  let reviewed = -1
  let underWay = 0

  function review(): void {
    if (policy.kind === 'all' || isWalking) return
    isWalking = true
    reviewed = members.version()
    context.runtime.setTimer(SETTLE_MS, slice)
  }

  function slice(): void {
    if (underWay < MOST_UNDER_WAY && walk.next(place, () => underWay >= MOST_UNDER_WAY)) {
      isWalking = false
      if (reviewed !== members.version()) review()
      return
    }
    context.runtime.setTimer(PAUSE_MS, slice)
  }

  /** True: this server sees to it that the copies are where they belong. */
  function answersFor(entry: Entry): boolean {
    if (policy.kind === 'owner') return core.owns(entry)
    return placement.preference(entry.key).find((member) => member.state === 'ready') === members.self
  }

  function place(entry: Entry): void {
    const orphaned = entry.owner !== '' && !core.owns(entry) && members.get(entry.owner) === undefined
    if (policy.kind === 'owner' && orphaned) inherit(entry)
    if (!answersFor(entry)) return
    const home = placement.home(entry.key)
    if (entry.placed === home) return
    const fresh = home.others.filter((member) => entry.placed?.others.includes(member) !== true)
    entry.placed = home
    send(writes.push(entry, fresh, policy.kind === 'owner' ? 'sender' : 'none'))
  }

  /** The owner is gone: the first in preference takes its place, and who holds a copy sees that it has one. */
  function inherit(entry: Entry): void {
    const first = placement.preference(entry.key)[0]
    if (first === undefined) return
    entry.owner = first.incarnation
    entry.placed = undefined
    if (first !== members.self) send(writes.push(entry, [first], 'receiver'))
  }

  function send(sent: Promise<void> | undefined): void {
    if (sent === undefined) return
    underWay++
    void sent.then(() => underWay--)
  }

  async function give(entry: Entry): Promise<void> {
    const target = placement.preference(entry.key)[0]
    if (target === undefined) return
    if (policy.kind === 'owner') {
      if (!core.owns(entry)) return
      await writes.push(entry, [target], 'receiver')
      // Still ours only if nobody has claimed it meanwhile.
      if (entry.owner === self) entry.owner = target.incarnation
      entry.placed = undefined
      return
    }
    const home = placement.home(entry.key)
    await writes.push(
      entry,
      home.others.filter((member) => entry.placed?.others.includes(member) !== true),
      'none',
    )
  }

  return {
    review,
    async leave() {
      if (policy.kind === 'all') return
      let batch: Promise<void>[] = []
      for (const entry of entries.all()) {
        batch.push(give(entry))
        if (batch.length < BATCH) continue
        await Promise.all(batch)
        batch = []
        // Where nothing had to be sent, nothing was waited for: requests must have their turn.
        await new Promise<void>((resolve) => context.runtime.defer(resolve))
      }
      await Promise.all(batch)
    },
  }
}
