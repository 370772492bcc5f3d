/** One simulation from start to verdict. */
import { createHash } from 'node:crypto'
import { check, type Violation } from './checker.ts'
import type { History } from './history.ts'
import type { Mutation } from './mutation.ts'
import type { Plan } from './plan.ts'
import { ghostOf, sessionOf, startWorkload, type Workload } from './workload.ts'
import type { Data } from './server.ts'
import { World } from './world.ts'

export interface Run {
  readonly violations: readonly Violation[]
  readonly history: History
  /** Of everything that happened. */
  readonly digest: string
}

/** Whoever still waits for an answer after this time waits for ever. */
const PATIENCE_MS = 20_000

export async function simulate(plan: Plan, mutation?: Mutation): Promise<Run> {
  const world = new World(plan, mutation)
  for (const node of plan.nodes) world.start(node)
  await world.clock.advance(250)
  const workload = startWorkload(world)
  world.planFaults()
  await world.clock.advance(plan.activeMs)
  world.healAll()
  await answered(world)
  await world.clock.advance(plan.quietMs)
  await lastLooks(world, workload)
  const { history } = world
  const violations = check(plan, history)
  for (const server of world.servers.values()) server.runtime.crash()
  return { violations, history, digest: createHash('sha256').update(history.trace().join('\n')).digest('hex') }
}

async function answered(world: World): Promise<void> {
  const isAnswered = (): boolean => world.isSettled && world.history.requests.every(({ outcome }) => outcome !== 'pending')
  await world.clock.advance(100)
  await world.clock.advanceUntil(isAnswered, PATIENCE_MS, 'every request is answered').catch(() => undefined)
  await world.clock.advance(100)
}

/** Every visitor asks every server, and every server is asked for every session. */
async function lastLooks(world: World, { send, visitors }: Workload): Promise<void> {
  const { history } = world
  const up = [...world.servers.values()].filter(({ state }) => state === 'up')
  const looks = visitors.flatMap((visitor) => {
    if (sessionOf(visitor.jar, world) === undefined) return []
    return up.map(({ node }) => send(ghostOf(visitor, visitor.name), node, { reads: 'all', steps: [], slowMs: 0, isFinal: true }))
  })
  await world.run(Promise.all(looks))
  const sessions = [...history.sessions.values()]
  const gets = up.flatMap(({ node, sessions: engine, strategy }) =>
    sessions.map(async (session) => {
      const found = await engine.get(session.key).catch((error: unknown) => void history.problems.push(`get at ${node}: ${String(error)}`))
      const record = found === undefined ? undefined : await strategy.get(session.key)
      const heads = (record as { heads?: unknown } | undefined)?.heads
      history.finals.push({
        session,
        node,
        fields: found?.data as Data | undefined,
        detail: JSON.stringify([sorted(found?.data ?? {}), heads]),
      })
    }),
  )
  await world.run(Promise.all(gets))
}

function sorted(data: Data): [string, unknown][] {
  return Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1))
}
