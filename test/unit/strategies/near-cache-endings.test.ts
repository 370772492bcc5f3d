/** Endings over a channel that announces changes: quick while the servers answer, and safe from those that do not. */
import { describe, expect, test } from 'vitest'
import { createVirtualWorld } from '../../setup/virtual-runtime.ts'
import type { Fault } from './announcing-store.ts'
import { awake, crash, LEASE_MS, newRun, newVisitor, pause, read, revoke, type Run, serverOf, type Visitor } from './near-cache-world.ts'

const SERVERS = 4
const ROUNDS = 10
const SEEDS = 80
const SEEDS_TO_CATCH = 200

async function readAll(run: Run, visitors: readonly Visitor[]): Promise<void> {
  const reads = awake(run).flatMap((server) => visitors.map((visitor) => read(run, server, visitor).catch(() => {})))
  void Promise.all(reads)
  await run.world.advance(run.world.random.between(10, 25))
}

function disturb(run: Run, visitors: readonly Visitor[]): void {
  const { world, store, servers } = run
  const { random } = world
  const victim = random.pick(servers)
  if (random.chance(0.5)) store.delay(random.between(0, servers.length - 1), random.between(10, 100))
  if (random.chance(0.4)) {
    void pause(run, victim, visitors, random.pick([random.between(1, 30), random.between(1, 4 * LEASE_MS)]))
    // Its connection may end while it cannot notice.
    if (random.chance(0.3)) store.breakChannel(servers.indexOf(victim))
  } else if (random.chance(0.1)) store.breakChannel(servers.indexOf(victim))
  if (random.chance(0.2)) store.loseRoll()
  if (random.chance(0.05)) crash(run, victim)
  if (servers.length < SERVERS && random.chance(0.5)) servers.push(serverOf(world, store, LEASE_MS))
}

/** Each round: sessions that all servers know, some trouble, and endings that cross. */
async function simulate(seed: number, faults: readonly Fault[] = []): Promise<Run> {
  const world = createVirtualWorld({ seed })
  const { random } = world
  const run = newRun(
    world,
    faults,
    Array.from({ length: SERVERS }, () => LEASE_MS),
  )
  for (let round = 0; round < ROUNDS; round++) {
    const made = [0, 1].map((index) => newVisitor(run, random.pick(awake(run)), `${round}-${index}`))
    for (const { created } of made) created.catch(() => {})
    const visitors = made.map(({ visitor }) => visitor)
    await world.advance(30)
    await readAll(run, visitors)
    disturb(run, visitors)
    await readAll(run, visitors)
    await world.advance(random.between(0, 5))
    for (const visitor of visitors) {
      void revoke(run, random.pick(awake(run)), visitor)
      await world.advance(random.between(0, 12))
    }
    await world.advance(random.pick([5, LEASE_MS, 2 * LEASE_MS]))
  }
  await world.advance(1_000)
  return run
}

const ENDINGS: readonly (readonly [Fault, string])[] = [
  ['firstAnswer', 'an ending that takes the first answer for all'],
  ['earlyAnswer', 'a server that answers before it has processed the announcements'],
  ['connectedOnly', 'an ending that waits for connected servers only'],
  ['hasty', 'a roll that is trusted, or cleared of silent servers, too early'],
  ['unrenewed', 'servers that answer from copies without showing themselves'],
]

describe('dedicated - endings over a channel that announces changes', () => {
  test(`accepted by no server once they have resolved, and mostly quick: ${SEEDS} seeds`, async () => {
    let [revocations, quick] = [0, 0]
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = await simulate(seed)
      expect(run.violations, `seed ${seed}`).toEqual([])
      revocations += run.revocations
      quick += run.quick
    }
    expect(quick / revocations).toBeGreaterThan(0.2)
  }, 120_000)

  for (const [fault, what] of ENDINGS) {
    test(`the checker catches ${what}`, async () => {
      let [seed, caught] = [0, false]
      while (!caught && ++seed <= SEEDS_TO_CATCH) caught = (await simulate(seed, [fault])).violations.length > 0
      expect(caught).toBe(true)
    }, 60_000)
  }
})
