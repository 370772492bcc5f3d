/** Runs in which a mutation shows: what each needs to be seen, often. */
import type { Fault } from './faults.ts'
import { type Plan, SHORT } from './plan.ts'

export const TABS = { stickiness: 0, gapMs: 25, visitors: 2, onDegraded: 'continue', latencyMs: [1, 40], duplicate: 0, drop: 0 } as const
export const BRIEF = { turnover: 'much', visitors: 4, gapMs: 12, latencyMs: [0, 2] } as const
export const EXPIRING = {
  lifetime: { ...SHORT, absoluteMs: 60_000 },
  strategy: 'replication',
  copies: 'all',
  stickiness: 1,
  sharing: 0,
  gapMs: 40,
  turnover: 'none',
  rests: false,
  activeMs: 5_000,
} as const

export const SHARED = {
  onRegression: 'serve',
  turnover: 'none',
  sharing: 0.04,
  visitors: 6,
  gapMs: 15,
  activeMs: 7_500,
  whenCutOff: 'continue',
  downAfterMs: 0,
  latencyMs: [0, 2],
} as const
export const isolateAndCrash = (nodes: readonly string[], round: number): Plan['faults'] => {
  const node = nodes[round % nodes.length] ?? 'n1'
  const at = 500 + round * 1_400
  return [
    { kind: 'partition', at, groups: [[node], nodes.filter((other) => other !== node)], forMs: 700 },
    { kind: 'crash', at: at + 680, node, backAfterMs: 60 },
  ]
}
export const crashEarly = (node: string): Plan['faults'] => [{ kind: 'crash', at: 1_200, node, backAfterMs: undefined }]
export const slowLink = (round: number): Fault => ({ kind: 'hold', at: 300 + round * 600, from: 'n1', to: 'n3', forMs: 500 })
export const isolate = ({ nodes }: Plan): Plan['faults'] => [
  { kind: 'partition', at: 300, groups: [nodes.slice(0, 1), nodes.slice(1)], forMs: 4_000 },
]
