/** What the lab's cluster is to the rest of the lab. */
import type { SessionEvent } from '../types.ts'
import type { Policy, StrategyChoice, StrategyName, StrategyOptions } from './choice.ts'
import { labError } from './lab-error.ts'
import type { NodeState, NodeView } from './server-process.ts'
import type { Whereabouts } from './whereabouts.ts'

export type NodeAction = 'kill' | 'start' | 'pause' | 'resume' | 'drain'

export interface ClusterView {
  readonly strategy: StrategyName
  readonly options: StrategyOptions
  readonly gateway: { readonly url: string; readonly policy: Policy }
  readonly nodes: readonly NodeView[]
  readonly totals: { sessions: number; lost: number; lostUpdates: number; stale: number; failed: number }
  /** What this configuration does not protect, as the strategy says. */
  readonly notProtected: readonly string[]
  /** True while the cluster restarts with another strategy. */
  readonly switching: boolean
}

export interface ClusterOptions {
  readonly nodes: number
  readonly port: number
  readonly controlUrl: string
  readonly choice: StrategyChoice
  log(line: string): void
  event(event: SessionEvent): void
  changed(): void
}

export interface Cluster {
  start(): Promise<void>
  view(): ClusterView
  /** Asks every running server for fresh figures. */
  refresh(): Promise<void>
  setStrategy(choice: StrategyChoice): Promise<void>
  add(): Promise<NodeView>
  remove(id: string): Promise<void>
  act(id: string, action: NodeAction): Promise<NodeView>
  /** Where a session is, by its key. */
  locate(key: string): Promise<Omit<Whereabouts, 'jarBytes'>>
  /** Live sessions, the newest first. */
  newest(count: number): readonly { readonly key: string; readonly userId: string | null }[]
  close(): Promise<void>
}

const ALLOWED: Readonly<Record<NodeAction, readonly NodeState[]>> = {
  kill: ['up', 'joining', 'paused', 'draining'],
  start: ['down'],
  pause: ['up', 'joining', 'draining'],
  resume: ['paused'],
  drain: ['up'],
}

/** Throws STATE_WRONG. */
export function checkAction(id: string, action: NodeAction, state: NodeState): void {
  if (!ALLOWED[action].includes(state))
    throw labError(409, 'STATE_WRONG', `${id} is ${state}: ${action} needs ${ALLOWED[action].join(' or ')}.`)
}
