/** "`acks: a` means that a + 1 holders cover the write before the answer": counted on the wire. */
import { deriveKeys } from '../../src/core/keys.ts'
import { createMembers } from '../../src/cluster/members.ts'
import { createPlacement } from '../../src/cluster/placement.ts'
import { createVirtualRuntime } from '../setup/virtual-runtime.ts'
import type { Check } from './checker.ts'
import type { RequestFacts, SessionFacts, WriteFacts } from './history.ts'

/** Servers agree on who holds what once membership has been stable for so long. */
const STABLE_MS = 1_500
const CHANGES = ['start', 'ready', 'crash', 'pause', 'resume', 'partition', 'heal', 'leave', 'left']

type Preference = (key: string) => readonly string[]
const preferences = new Map<string, Preference>()

export function checkHolders(check: Check): void {
  for (const session of check.history.sessions.values()) for (const write of session.writes) checkWrite(check, session, write)
}

function checkWrite({ history, losses, plan, report }: Check, session: SessionFacts, { changes, request }: WriteFacts): void {
  const isWitnessed = [...changes.values()].some(({ kind }) => kind === 'set')
  if (!isWitnessed || request.outcome !== 'ok' || losses.wasDegraded(request)) return
  if (losses.wasTroubled(request.arrivedAt - STABLE_MS, request.endedAt, CHANGES) || losses.isAnyoneDown(request.arrivedAt)) return
  const acked = history.acks.get(request.id)?.by
  const holders = holdersOf(plan, session.key, request)
  const covered = holders.filter((node) => node === request.node || (acked?.get(node) ?? Number.POSITIVE_INFINITY) <= request.endedAt)
  if (covered.length > plan.acks) return
  report(
    1,
    `r${request.id} at ${request.node} was answered when ${covered.join(' and ') || 'no holder'} of ${holders.join(', ')} had its write`,
  )
}

function holdersOf(plan: Check['plan'], key: string, { node }: RequestFacts): readonly string[] {
  const order = preferenceOf(plan.nodes)(key)
  if (plan.strategy === 'affinity') return [node, ...order.filter((other) => other !== node).slice(0, plan.backups)]
  return plan.copies === 'all' ? order : order.slice(0, plan.copies)
}

function preferenceOf(nodes: readonly string[]): Preference {
  const name = nodes.join()
  const known = preferences.get(name)
  if (known !== undefined) return known
  const [self = '', ...others] = nodes
  const keys = deriveKeys(['a secret that decides nothing, of 32 bytes and more'], 'session')
  const members = createMembers({ node: self, incarnation: self }, keys, createVirtualRuntime())
  for (const node of others) members.up({ node, incarnation: node })
  const placement = createPlacement(members, { kind: 'all' })
  const preference: Preference = (key) => placement.preference(key).map((member) => member.peer.node)
  preferences.set(name, preference)
  return preference
}
