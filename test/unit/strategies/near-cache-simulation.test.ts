import { describe, expect, test } from 'vitest'
import { createVirtualWorld } from '../../setup/virtual-runtime.ts'
import { type Fault, storeWorld } from './announcing-store.ts'
import {
  awake,
  crash,
  LEASE_MS,
  newRun,
  newVisitor,
  pause,
  read,
  revoke,
  type Run,
  type Server,
  serverOf,
  type Visitor,
  write,
} from './near-cache-world.ts'

const SERVERS = 3
const VISITORS = 2
const MOST_SERVERS = 5
const STEPS = 160
const SEEDS = 100
const SEEDS_TO_CATCH = 300

async function simulate(seed: number, faults: readonly Fault[] = [], leases: readonly number[] = []): Promise<Run> {
  const world = createVirtualWorld({ seed })
  const run = newRun(
    world,
    faults,
    Array.from({ length: SERVERS }, (_, index) => leases[index] ?? LEASE_MS),
  )
  const { store, servers } = run
  const going = new Set<Promise<unknown>>()
  const go = (promise: Promise<unknown>): void => {
    // A broken connection fails a request; the visitor goes on.
    const done: Promise<unknown> = promise.catch(() => {}).finally(() => going.delete(done))
    going.add(done)
  }
  const visitors: Visitor[] = []
  let made = 0
  function visit(server: Server): void {
    const { visitor, created } = newVisitor(run, server, String(made++))
    go(created)
    visitors.push(visitor)
    // Long gone ones no longer tell anything.
    if (visitors.length > VISITORS + 2) visitors.shift()
  }
  for (let count = 0; count < VISITORS; count++) visit(servers[0] as Server)
  await world.advance(100)
  for (let step = 0; step < STEPS; step++) {
    const { random } = world
    const [server, visitor] = [random.pick(awake(run)), random.pick(visitors)]
    if (random.chance(0.01)) store.breakChannels()
    if (random.chance(0.005)) store.loseRoll()
    if (random.chance(0.02)) go(pause(run, random.pick(servers), visitors, random.between(1, 5 * LEASE_MS)))
    if (random.chance(0.005)) crash(run, server)
    if (random.chance(0.01) && servers.length < MOST_SERVERS) servers.push(serverOf(world, store, LEASE_MS))
    if (run.revoked.size > made - VISITORS) visit(server)
    if (random.chance(0.03)) go(revoke(run, server, visitor))
    else if (random.chance(0.15)) go(write(server, visitor, step))
    else go(read(run, server, visitor))
    await world.advance(random.between(0, 15))
  }
  await world.advance(2_000)
  // What a crashed server was asked is never answered.
  for (const { runtime } of servers) runtime.resume()
  await world.advance(2_000)
  return run
}

async function catches(faults: readonly Fault[], leases: readonly number[] = []): Promise<string | undefined> {
  for (let seed = 1; seed <= SEEDS_TO_CATCH; seed++) {
    const { violations } = await simulate(seed, faults, leases)
    if (violations.length > 0) return violations[0]
  }
  return undefined
}

describe('dedicated - the near cache over a channel that announces changes', () => {
  test(`never stale for its own visitor, never longer than the lease for others, never after a revocation: ${SEEDS} seeds`, async () => {
    let [cached, reads] = [0, 0]
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = await simulate(seed)
      expect(run.violations, `seed ${seed}`).toEqual([])
      cached += run.cached
      reads += run.reads
    }
    // The promises would be easy to keep without a cache.
    expect(cached / reads).toBeGreaterThan(0.3)
  }, 120_000)

  test('the checker catches announcements that come after the ping', async () => expect(await catches(['unordered'])).toBeDefined())
  test('the checker catches announcements that are dropped', async () => expect(await catches(['dropped'])).toBeDefined())
  test('the checker catches a channel that breaks unnoticed', async () => expect(await catches(['silentBreak'])).toBeDefined())
  test('the checker catches a channel that is confirmed without being asked', async () =>
    expect(await catches(['unconfirmed', 'unordered'])).toBeDefined())
  test('the checker catches a server that waits less after a revocation than others trust their copies', async () => {
    expect(await catches(['unordered'], [10, LEASE_MS, LEASE_MS])).toBeDefined()
  })

  test('the signal of a session that another server ends aborts, others do not', async () => {
    const world = createVirtualWorld()
    const store = storeWorld(world)
    const ended: string[] = []
    const watching = serverOf(world, store, LEASE_MS, { isWatched: () => true, ended: (key) => void ended.push(key) })
    const other = serverOf(world, store, LEASE_MS)
    const now = world.runtime().now()
    const meta = {
      userId: undefined,
      createdAt: now,
      lastActiveAt: now,
      idleMs: 60_000,
      touchEveryMs: 60_000,
      absoluteAt: now + 60_000,
      persistent: false,
    }
    for (const key of ['a', 'b'])
      void watching.strategy.create({ id: 'secret', key, absoluteAt: meta.absoluteAt }, { meta, fields: new Map() })
    await world.advance(100)
    void other.strategy.revoke('a', {})
    await world.advance(200)
    expect(ended).toEqual(['a'])
  })
})
