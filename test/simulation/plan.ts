/** One run, drawn from its seed: servers, options of the strategy, lifetimes, the network, the faults and the visitors. */
import type { Lifetime } from '../../src/types.ts'
import { type Random, seededRandom } from '../setup/virtual-runtime.ts'
import { drawFaults, type Fault } from './faults.ts'

export const STRATEGIES = ['replication', 'affinity'] as const
export type StrategyName = (typeof STRATEGIES)[number]

/** What kind of trouble a run has. */
export const PROFILES = ['steady', 'crashes', 'massacre', 'partitions', 'pauses', 'lossy', 'expiry', 'clocks', 'leaving', 'mixed'] as const
export type Profile = (typeof PROFILES)[number]

export interface Plan {
  readonly seed: number
  readonly profile: Profile
  readonly strategy: StrategyName
  readonly nodes: readonly string[]
  readonly copies: 'all' | number
  readonly backups: number
  readonly acks: number
  readonly onDegraded: 'continue' | 'fail'
  readonly whenCutOff: 'continue' | 'fail'
  readonly onRegression: 'serve' | 'fail' | undefined
  readonly lifetime: Required<Lifetime>
  /** Of each server's wall clock, by its place in `nodes`. */
  readonly skewsMs: readonly number[]
  readonly latencyMs: readonly [number, number]
  readonly drop: number
  readonly duplicate: number
  /** How long a broken path is only silent before both sides call each other down. */
  readonly downAfterMs: number
  /** How long visitors send requests and faults happen. */
  readonly activeMs: number
  /** After all healed, before the last look. */
  readonly quietMs: number
  readonly visitors: number
  readonly gapMs: number
  /** Share of requests that go where the visitor's last one went. */
  readonly stickiness: number
  /** A visitor now and then sends nothing for longer than a session's idle time. */
  readonly rests: boolean
  /** How often visitors get new sessions, by login, logout and regenerate. */
  readonly turnover: 'none' | 'some' | 'much'
  /** Chance that one browser gets the jar of another, instead of a request. */
  readonly sharing: number
  readonly faults: readonly Fault[]
}

export interface PlanOptions {
  readonly strategy?: StrategyName
  readonly servers?: number
  readonly minutes?: number
  readonly profile?: Profile
}

const HOUR = 3_600_000
const DAY = 24 * HOUR
export const NEVER: Required<Lifetime> = { idleMs: 30 * DAY, absoluteMs: 60 * DAY, touchEveryMs: HOUR }
export const SHORT: Required<Lifetime> = { idleMs: 1_500, absoluteMs: 4_500, touchEveryMs: 75 }
/** Clocks that are as good as NTP keeps them. */
export const SMALL_SKEW_MS = 20

const WEIGHTS: readonly Profile[] = [
  'steady',
  'crashes',
  'crashes',
  'massacre',
  'partitions',
  'partitions',
  'pauses',
  'pauses',
  'expiry',
  'leaving',
  'clocks',
  'mixed',
  'mixed',
  'lossy',
]

export function drawPlan(seed: number, options: PlanOptions = {}): Plan {
  const random = seededRandom(seed)
  const strategy = options.strategy ?? STRATEGIES[seed % STRATEGIES.length] ?? 'replication'
  const profile = options.profile ?? random.pick(WEIGHTS)
  const count = options.servers ?? (profile === 'lossy' ? 3 : random.pick([3, 3, 3, 3, 4, 4, 5]))
  const nodes = Array.from({ length: count }, (_, at) => `n${at + 1}`)
  const activeMs = options.minutes === undefined ? random.between(1_800, 3_400) : options.minutes * 60_000
  const lossy = profile === 'lossy'
  const expiry = profile === 'expiry'
  const copies = random.pick<'all' | number>(count > 3 ? ['all', 'all', 2, 3] : ['all', 'all', 2])
  const backups = random.pick(count > 3 ? [1, 1, 2] : [1])
  const mostAcks = strategy === 'affinity' ? backups : copies === 'all' ? count - 1 : copies - 1
  return {
    seed,
    profile,
    strategy,
    nodes,
    copies,
    backups,
    acks: strategy === 'affinity' ? backups : Math.min(mostAcks, random.pick([1, 1, 1, 2])),
    onDegraded: random.pick(['continue', 'fail']),
    whenCutOff: random.pick(['continue', 'fail']),
    onRegression: random.pick([undefined, undefined, 'serve', 'fail']),
    lifetime: expiry ? SHORT : NEVER,
    skewsMs: skews(random, nodes),
    latencyMs: random.pick([
      [0, 0],
      [0, 2],
      [1, 4],
      [0, 20],
    ] as const),
    drop: lossy ? random.pick([0.005, 0.02]) : 0,
    duplicate: random.pick([0, 0.02, 0.1]),
    downAfterMs: random.pick([0, 0, 400]),
    activeMs,
    // Lost frames wait for the rounds of repair: one each 5 s, with one other server.
    quietMs: lossy ? 5_500 * (count - 1) : 2_000,
    visitors: random.between(2, 3),
    gapMs: random.pick([20, 40, 60]),
    stickiness: strategy === 'affinity' ? random.pick([0, 0.8, 0.95]) : random.pick([0, 0, 0.5]),
    rests: expiry,
    turnover: random.pick(['none', 'some', 'some', 'some', 'much']),
    sharing: random.pick([0.01, 0.02, 0.1]),
    faults: drawFaults(random, profile, nodes, activeMs),
  }
}

/** Clocks are as good as NTP keeps them, or one is hours off, or none agrees with another. */
function skews(random: Random, nodes: readonly string[]): number[] {
  const wrong = random.pick(['none', 'none', 'one', 'all'] as const)
  const one = random.pick(nodes)
  return nodes.map((node) =>
    wrong === 'all' || (wrong === 'one' && node === one)
      ? random.between(-5 * HOUR, 5 * HOUR)
      : random.between(-SMALL_SKEW_MS, SMALL_SKEW_MS),
  )
}

export function describePlan(plan: Plan): string {
  const { acks, backups, copies, nodes, onDegraded, onRegression, profile, seed, strategy, whenCutOff } = plan
  const holders = strategy === 'affinity' ? `backups ${backups}` : `copies ${copies}`
  return (
    `seed ${seed}: ${strategy}, ${profile}, ${nodes.length} servers, ${holders}, acks ${acks}, onDegraded ${onDegraded}, ` +
    `whenCutOff ${whenCutOff}, onRegression ${onRegression ?? 'by user'}, latency ${plan.latencyMs.join('–')} ms, drop ${plan.drop}, ` +
    `duplicate ${plan.duplicate}, skews ${plan.skewsMs.map((ms) => `${(ms / 1000).toFixed(0)} s`).join(' ')}`
  )
}
