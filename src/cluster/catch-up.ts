import { covers, type Heads } from '../core/floor.ts'
import { type Core, DEADLINE_MS, unavailable } from './core.ts'
import type { Entry, Tombstone } from './entries.ts'
import type { Member } from './members.ts'

/** What looking for a copy that covers a floor can find. */
export type Found =
  | { readonly outcome: 'covered'; readonly entry: Entry }
  | { readonly outcome: 'ended'; readonly tombstone: Tombstone }
  /** Every server answered, none covers the floor. `entry`: the best that is known. */
  | { readonly outcome: 'missing'; readonly entry: Entry | undefined }

export interface Search {
  readonly key: string
  readonly floor: Heads
  /** Labels, the owner's first. */
  readonly hint: readonly string[]
  /** Ask the others even if the copy here covers the floor: it looks expired. */
  readonly askAll?: boolean
}

/** A delta on its way usually arrives within this time: cheaper than asking. */
const PATIENCE_MS = 15
/** The hinted server has this long before all are asked. */
const HINT_MS = 300

/** Looks for the session beyond this server. Rejects with SESSION_UNAVAILABLE while it cannot be decided. */
export async function catchUp(core: Core, search: Search): Promise<Found> {
  const { context, entries, members } = core
  const { floor, key } = search
  const endsAt = context.runtime.monotonic() + DEADLINE_MS
  // Kept when found: the copy may move on while this request still waits for its turn.
  let hit: Entry | undefined
  const isCovered = (): boolean => {
    const entry = entries.get(key)
    if (entry !== undefined && covers(entry.record.coverage, floor)) hit = entry
    return hit !== undefined
  }
  const isSettled = (): boolean => entries.tombstone(key) !== undefined || (isCovered() && search.askAll !== true)

  if (!isSettled() && members.others().length > 0 && hearsOfWrites(core, search)) await until(core, key, isSettled, PATIENCE_MS)
  const owner = search.hint.length === 0 ? undefined : members.byLabel(search.hint[0] as string)
  if (!isSettled() && owner !== undefined && owner !== members.self) {
    await Promise.race([askOne(core, owner, search, endsAt), sleep(core, HINT_MS)])
  }
  let silent = false
  if (!isSettled()) silent = await askEveryone(core, search, isSettled, endsAt)

  const tombstone = entries.tombstone(key)
  if (tombstone !== undefined) return { outcome: 'ended', tombstone }
  if (isCovered() && !(silent && search.askAll === true)) return { outcome: 'covered', entry: hit as Entry }
  if (silent || members.recentlyLost()) throw unavailable('A server that may hold the newest copy of the session does not answer.')
  return { outcome: 'missing', entry: entries.get(key) }
}

/**
 * A copy that came from a server which does not own the session may be old, and says nothing of the owner. Who writes to it, and so becomes the
 * owner, asks everybody first, for a bounded time: two owners would each decide on updates. Undefined: there is nothing to ask.
 */
export function learnOwner(core: Core, { key, owner }: Entry): Promise<void> | undefined {
  if (core.options.policy.kind !== 'owner' || owner !== '' || core.members.others().length === 0) return undefined
  const asked = catchUp(core, { key, floor: [], hint: [], askAll: true }).then(
    () => undefined,
    () => undefined,
  )
  return Promise.race([asked, sleep(core, HINT_MS)])
}

/** A copy here is kept up to date by its writers: what it lacks is probably on its way. */
function hearsOfWrites({ entries, members, options, placement }: Core, { askAll, hint, key }: Search): boolean {
  if (entries.get(key) === undefined || askAll === true) return false
  return options.policy.kind === 'owner' ? hint.includes(members.self.label) : placement.home(key).self
}

/** True: somebody kept silent. Ends early once the copy covers the floor. */
async function askEveryone(core: Core, search: Search, isSettled: () => boolean, endsAt: number): Promise<boolean> {
  const answers = Promise.all(core.members.others().map((member) => askOne(core, member, search, endsAt)))
  const early = until(core, search.key, isSettled, DEADLINE_MS)
  const outcome = await Promise.race([answers, early.then(() => 'early' as const)])
  early.cancel()
  return outcome === 'early' ? !isSettled() : outcome.includes(false)
}

/** False: silence. */
async function askOne(core: Core, member: Member, { askAll, floor, key }: Search, endsAt: number): Promise<boolean> {
  const left = (): number => Math.max(1, endsAt - core.context.runtime.monotonic())
  const first = core.requests.fetch(member.incarnation, key, left())
  let outcome = await first.outcome
  // An answer to an older question may not know yet what this floor names.
  const entry = core.entries.get(key)
  const enough = entry !== undefined && askAll !== true && covers(entry.record.coverage, floor)
  if (first.joined && outcome !== 'silent' && !enough) outcome = await core.requests.fetch(member.incarnation, key, left()).outcome
  return outcome !== 'silent'
}

interface Until extends Promise<void> {
  cancel(): void
}

/** Resolves when the condition holds, at the latest after `ms`. */
function until(core: Core, key: string, condition: () => boolean, ms: number): Until {
  let cancel = (): void => undefined
  const promise = new Promise<void>((resolve) => {
    const finish = (): void => {
      timer.cancel()
      unwatch()
      resolve()
    }
    const timer = core.context.runtime.setTimer(ms, finish)
    const unwatch = core.entries.watch(key, () => {
      if (condition()) finish()
    })
    cancel = finish
  })
  return Object.assign(promise, { cancel: () => cancel() })
}

function sleep(core: Core, ms: number): Promise<void> {
  return new Promise((resolve) => void core.context.runtime.setTimer(ms, resolve))
}
