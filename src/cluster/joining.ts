import { type Core, DEADLINE_MS } from './core.ts'
import type { Member } from './members.ts'
import type { Transfer } from './transfer.ts'

/** Servers just linked tell their state at once; one that does not within this time is no source. */
const STATE_MS = 1_000
/** A server that is linked and does not send may have been busy: it is asked again. */
const MOST_ASKED = 3

/**
 * What a server does before it is ready: it gets deltas already, now it pulls what was there before. Without a ready
 * server to pull from (a cold start) it is ready at once. Returns the servers that sent what they had to send.
 */
export async function join(core: Core, transfer: Transfer): Promise<ReadonlySet<string>> {
  const pulled = new Set<string>()
  const pull = async (incarnation: string, part: number, of: number): Promise<boolean> => {
    console.error('pull', part, of, incarnation, performance.now() | 0)
    const isDone = await transfer.pull(incarnation, part, of)
    console.error('pulled', part, of, isDone, core.entries.size, core.entries.tombstoneCount, performance.now() | 0)
    if (isDone) pulled.add(incarnation)
    return isDone
  }
  await statesKnown(core)
  const sources = (): Member[] => core.members.others().filter((member) => member.state === 'ready' || member.state === 'draining')
  const first = sources()
  if (first.length === 0) return pulled
  if (core.options.policy.kind === 'owner') {
    // Sessions stay where they are and are fetched on a miss; only what must be refused everywhere is needed.
    await Promise.all(first.map((source) => pull(source.incarnation, 0, 0)))
    return pulled
  }
  if (core.options.policy.kind === 'first') {
    await Promise.all(first.map((source) => pull(source.incarnation, 0, 1)))
    return pulled
  }
  await Promise.all(first.map((_, part) => pullPart(core, pull, part, first.length, sources)))
  return pulled
}

/** One share of the slots, from one server after another until one has sent it whole. */
async function pullPart(core: Core, pull: Transfer['pull'], part: number, of: number, sources: () => Member[]): Promise<void> {
  const asked = new Map<string, number>()
  const times = ({ incarnation }: Member): number => asked.get(incarnation) ?? 0
  for (;;) {
    const fewest = Math.min(MOST_ASKED - 1, ...sources().map(times))
    const left = sources().filter((source) => times(source) === fewest)
    const source = left[part % Math.max(1, left.length)]
    if (source === undefined) {
      if (asked.size > 0) core.context.logger.warn('holdfast: no server sent its share of the sessions; they are fetched when asked for.')
      return
    }
    asked.set(source.incarnation, times(source) + 1)
    if (await pull(source.incarnation, part, of)) return
  }
}

async function statesKnown(core: Core): Promise<void> {
  const { members, context } = core
  const endsAt = context.runtime.monotonic() + Math.min(STATE_MS, DEADLINE_MS)
  while (members.others().some((member) => member.state === undefined) && context.runtime.monotonic() < endsAt) {
    await new Promise<void>((resolve) => void context.runtime.setTimer(5, resolve))
  }
}
