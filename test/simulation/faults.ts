/** What goes wrong, and when: drawn with the plan, carried out against the world, undone at the end. */
import type { Random } from '../setup/virtual-runtime.ts'
import type { Profile } from './plan.ts'
import type { World } from './world.ts'

export type Fault =
  /** SIGKILL: its memory is gone; it comes back after a while as a new incarnation, or never. */
  | { readonly kind: 'crash'; readonly at: number; readonly node: string; readonly backAfterMs: number | undefined }
  /** SIGSTOP and SIGCONT. */
  | { readonly kind: 'pause'; readonly at: number; readonly node: string; readonly forMs: number }
  | { readonly kind: 'partition'; readonly at: number; readonly groups: readonly (readonly string[])[]; readonly forMs: number }
  /** One direction of one link is slow: its frames arrive late, in order. */
  | { readonly kind: 'hold'; readonly at: number; readonly from: string; readonly to: string; readonly forMs: number }
  /** SIGTERM: drain, close, and a new process some time later. */
  | { readonly kind: 'leave'; readonly at: number; readonly node: string; readonly backAfterMs: number }
  /** A wall clock jumps. */
  | { readonly kind: 'clock'; readonly at: number; readonly node: string; readonly skewMs: number }

type Draw = (random: Random, nodes: readonly string[], at: number) => Fault[]

const HOUR = 3_600_000

const crash: Draw = (random, nodes, at) => {
  const backAfterMs = random.chance(0.85) ? random.between(50, 900) : undefined
  return [{ kind: 'crash', at, node: random.pick(nodes), backAfterMs }]
}
const massacre: Draw = (random, nodes, at) => {
  const count = random.between(2, nodes.length)
  const order = shuffled(random, nodes).slice(0, count)
  return order.map((node) => ({ kind: 'crash', at: at + random.between(0, 400), node, backAfterMs: random.between(100, 900) }))
}
const pause: Draw = (random, nodes, at) => [{ kind: 'pause', at, node: random.pick(nodes), forMs: random.between(100, 1_800) }]
const partition: Draw = (random, nodes, at) => {
  const order = shuffled(random, nodes)
  const size = random.between(1, nodes.length - 1)
  return [{ kind: 'partition', at, groups: [order.slice(0, size), order.slice(size)], forMs: random.pick([200, 800, 1_500, 2_600]) }]
}
const hold: Draw = (random, nodes, at) => {
  const [from = '', to = ''] = shuffled(random, nodes)
  return [{ kind: 'hold', at, from, to, forMs: random.between(20, 900) }]
}
const leave: Draw = (random, nodes, at) => [{ kind: 'leave', at, node: random.pick(nodes), backAfterMs: random.between(50, 500) }]
const clock: Draw = (random, nodes, at) => [
  { kind: 'clock', at, node: random.pick(nodes), skewMs: random.pick([0, random.between(-5 * HOUR, 5 * HOUR)]) },
]

const KINDS: Record<Profile, { readonly draws: readonly Draw[]; readonly gapMs: readonly [number, number] }> = {
  steady: { draws: [hold], gapMs: [800, 2_000] },
  crashes: { draws: [crash], gapMs: [1_100, 2_200] },
  massacre: { draws: [massacre, crash], gapMs: [900, 2_500] },
  partitions: { draws: [partition], gapMs: [600, 2_000] },
  pauses: { draws: [pause, hold, hold], gapMs: [200, 900] },
  lossy: { draws: [hold, crash], gapMs: [800, 2_500] },
  expiry: { draws: [partition, pause, hold, crash], gapMs: [900, 2_500] },
  clocks: { draws: [clock, clock, crash, leave, partition], gapMs: [300, 1_200] },
  leaving: { draws: [leave, leave, hold, crash], gapMs: [500, 1_500] },
  mixed: { draws: [crash, pause, partition, hold, hold, leave, clock], gapMs: [150, 900] },
}

export function drawFaults(random: Random, profile: Profile, nodes: readonly string[], activeMs: number): Fault[] {
  const { draws, gapMs } = KINDS[profile]
  const faults: Fault[] = []
  for (let at = random.between(200, 900); at < activeMs; at += random.between(gapMs[0], gapMs[1])) {
    faults.push(...random.pick(draws)(random, nodes, at))
  }
  return faults
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(random.between(0, rest.length - 1), 1)[0] as T)
}

/** Starts a fault now; the world undoes it after its time. Faults that make no sense any more are left out. */
export function carryOut(world: World, fault: Fault): void {
  switch (fault.kind) {
    case 'crash':
      if (!world.crash(fault.node) || fault.backAfterMs === undefined) return
      return world.startLater(fault.node, fault.backAfterMs)
    case 'pause':
      if (!world.pause(fault.node)) return
      return world.later(fault.forMs, () => world.resume(fault.node))
    case 'partition':
      world.partition(fault.groups)
      return world.later(fault.forMs, () => world.heal())
    case 'hold':
      world.hold(fault.from, fault.to)
      return world.later(fault.forMs, () => world.release(fault.from, fault.to))
    case 'leave':
      return world.leave(fault.node, () => world.startLater(fault.node, fault.backAfterMs))
    case 'clock':
      return world.setClock(fault.node, fault.skewMs)
  }
}
