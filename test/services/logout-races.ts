/** Logouts and logins raced by writes in flight, many sessions at once, over two stores on the same data as two servers have them. */
import { systemRuntime } from '../../src/core/runtime.ts'
import type { Draft, PatchResult, SessionStore, StorePatch } from '../../src/seam.ts'
import type { Random } from '../setup/virtual-runtime.ts'

export interface RaceCounts {
  /** Sessions that were ended while writes were in flight: by logout, by login, by "end all of this user". */
  ended: number
  /** Writes sent before or while the end was under way: stored, or refused. Both have to happen, else nothing raced. */
  stored: number
  refused: number
  /** What must not happen: sessions read as alive after their end, and writes stored that were sent after it. */
  cameBack: number
  storedLate: number
  /** Ends that did not end anything, though nobody else ended this session. */
  notEnded: number
}

const AT_ONCE = 100
const LATE = 2

export async function raceLogouts(stores: readonly [SessionStore, SessionStore], count: number, random: Random): Promise<RaceCounts> {
  const counts: RaceCounts = { ended: 0, stored: 0, refused: 0, cameBack: 0, storedLate: 0, notEnded: 0 }
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await raceOne(stores, random, counts)
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker))
  return counts
}

async function raceOne(stores: readonly [SessionStore, SessionStore], random: Random, counts: RaceCounts): Promise<void> {
  const [key, newer, userId] = [newKey(random), newKey(random), newKey(random)]
  const pick = (): SessionStore => random.pick(stores)
  const write = (): Promise<PatchResult> => pick().patch(key, anyPatch(random))
  await pick().create(key, draft({ a: '1', b: '2' }, userId), writeId(random))

  const inFlight = Array.from({ length: random.between(1, 3) }, write)
  const ending = end(pick(), random, { key, newer, userId })
  for (let more = random.between(0, 2); more > 0; more--) inFlight.push(write())
  if (await ending) counts.ended += 1
  else counts.notEnded += 1

  const late = await Promise.all(Array.from({ length: LATE }, write))
  counts.storedLate += late.filter(({ outcome }) => outcome !== 'gone').length
  for (const { outcome } of await Promise.all(inFlight)) {
    if (outcome === 'applied') counts.stored += 1
    else if (outcome === 'gone') counts.refused += 1
  }
  const found = await pick().read(key)
  if (found !== undefined && 'fields' in found) counts.cameBack += 1
}

interface Names {
  readonly key: string
  readonly newer: string
  readonly userId: string
}

async function end(store: SessionStore, random: Random, { key, newer, userId }: Names): Promise<boolean> {
  const way = random.float()
  if (way < 0.15 && store.endUser !== undefined) return (await store.endUser(userId, inAMinute(), {})).includes(key)
  if (way < 0.4) return (await store.replace(key, newer, draft({ a: '1' }, userId), writeId(random))).outcome === 'applied'
  return store.destroy(key, 'destroyed', inAMinute())
}

function anyPatch(random: Random): StorePatch {
  const kind = random.float()
  const patch = { set: new Map<string, string>(), add: new Map(), touchAt: Date.now(), writeId: writeId(random) }
  if (kind < 0.5) patch.set.set('a', String(random.uint32()))
  else if (kind < 0.8) patch.add.set('n', { by: 1, from: 0 })
  return patch
}

const runtime = systemRuntime()
const inAMinute = (): number => runtime.now() + 60_000
const newKey = (random: Random): string => random.bytes(32).toString('base64url')
const writeId = (random: Random): string => random.bytes(8).toString('base64url')

function draft(fields: Record<string, string>, userId: string): Draft {
  const now = runtime.now()
  const times = { createdAt: now, lastActiveAt: now, idleMs: 600_000, touchEveryMs: 30_000, absoluteAt: now + 600_000 }
  return { meta: { userId, ...times, persistent: false }, fields: new Map(Object.entries(fields)) }
}
