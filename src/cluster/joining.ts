import { type Core, DEADLINE_MS } from './core.ts'
import type { Member } from './members.ts'
import type { Transfer } from './transfer.ts'

/** Servers just linked tell their state at once; one that does not within this time is no source. */
const STATE_MS = 1_000
/** Parts asked of each server, one after the other: one that fails on the way has to be sent again. */
const PARTS_EACH = 8
/** Servers that did not send may have been busy. */
const MOST_ROUNDS = 4

/**
 * What a server does before it is ready: it gets deltas already, now it pulls what was there before. Without a ready
 * server to pull from (a cold start) it is ready at once. Returns the servers that sent what they had to send.
 */
export async function join(core: Core, transfer: Transfer): Promise<ReadonlySet<string>> {
  const pulled = new Set<string>()
  const pull = async (incarnation: string, part: number, of: number): Promise<boolean> => {
    const isDone = await transfer.pull(incarnation, part, of)
    if (isDone) pulled.add(incarnation)
    return isDone
  }
  await statesKnown(core)
  const sources = (): Member[] => core.members.others().filter((member) => member.state === 'ready' || member.state === 'draining')
  const first = sources()
  if (first.length === 0) return pulled
  if (core.options.policy.kind === 'first') {
    await Promise.all(first.map((source) => pull(source.incarnation, 0, 1)))
    return pulled
  }
  // What must be refused everywhere, of each server: one may know of an ending that has not reached the next.
  await Promise.all(first.map((source) => pull(source.incarnation, 0, 0)))
  // With owners, sessions stay where they are and are fetched on a miss.
  if (core.options.policy.kind === 'owner') return pulled
  return (await pullParts(core, transfer, sources)) ? pulled : new Set()
}

/** All slots, in parts from all servers at once: what one did not send, another is asked for. False: some are missing. */
async function pullParts(core: Core, transfer: Transfer, sources: () => readonly Member[]): Promise<boolean> {
  const of = PARTS_EACH * sources().length
  const missing = Array.from({ length: of }, (_, part) => part)
  const pullFrom = async ({ incarnation }: Member): Promise<void> => {
    for (let part = missing.shift(); part !== undefined; part = missing.shift()) {
      if (await transfer.pull(incarnation, part, of)) continue
      missing.push(part)
      return
    }
  }
  for (let round = 0; round < MOST_ROUNDS && missing.length > 0; round++) await Promise.all(sources().map(pullFrom))
  if (missing.length === 0) return true
  core.context.logger.warn('holdfast: the other servers have not sent all sessions; what is missing is fetched when asked for.')
  return false
}

async function statesKnown(core: Core): Promise<void> {
  const { members, context } = core
  const endsAt = context.runtime.monotonic() + Math.min(STATE_MS, DEADLINE_MS)
  while (members.others().some((member) => member.state === undefined) && context.runtime.monotonic() < endsAt) {
    await new Promise<void>((resolve) => void context.runtime.setTimer(5, resolve))
  }
}
