/** Where one session is at this moment: asked of the servers, not concluded from the strategy. */
import type { StrategyName } from './choice.ts'
import type { Ledger } from './ledger.ts'
import type { Holding } from './messages.ts'
import type { ServerProcess } from './server-process.ts'

const ANSWER_MS = 800

export interface Whereabouts {
  readonly key: string
  /** `ended` on purpose, `lost` as a visitor noticed, `unknown`: never made here, or by an earlier cluster. */
  readonly fate: 'live' | 'ended' | 'lost' | 'unknown'
  readonly userId: string | null
  readonly holders: readonly { readonly node: string; readonly role: 'owner' | 'backup' | 'copy' }[]
  /** Servers that run but did not answer: paused ones. */
  readonly silent: readonly string[]
  /** Whether the store has it; null: there is no store. */
  readonly inStore: boolean | null
  /** Whether the browser itself carries the session, rather than only its id and notes. */
  readonly inJar: boolean
  /** Size of the visitor's cookies, where the visitor is one of the lab's own. */
  readonly jarBytes: number | null
}

const RANK: readonly Holding[] = ['none', 'ended', 'copy', 'owner']

export async function whereabouts(
  key: string,
  strategy: StrategyName,
  servers: readonly ServerProcess[],
  ledger: Ledger,
): Promise<Omit<Whereabouts, 'jarBytes'>> {
  const running = servers.filter((server) => ['up', 'joining', 'draining'].includes(server.view().state))
  const asked = strategy === 'isolated' ? running : running.slice(0, ASKED[strategy])
  const answers = await Promise.all(asked.map((server) => server.locate(key, ANSWER_MS)))
  const { fate, userId } = ledger.fateOf(key)
  const known = { key, fate, userId, inJar: strategy === 'cookieBased' && fate === 'live' }
  const held = merge(answers)
  const isHeld = [...held.values()].some(isCopy)
  if (strategy === 'cookieBased') return { ...known, holders: [], silent: [], inStore: null }
  if (strategy === 'dedicated') return { ...known, holders: [], silent: [], inStore: isHeld }
  const silent = strategy === 'isolated' ? [] : servers.filter(({ id, view }) => view().pid !== null && !held.has(id))
  const stalled = servers.filter((server) => server.view().state === 'paused')
  return {
    ...known,
    holders: [...held].filter(([, holding]) => isCopy(holding)).map(([node, holding]) => ({ node, role: roleOf(strategy, holding) })),
    silent: [...new Set([...silent, ...stalled].map(({ id }) => id))],
    inStore: null,
  }
}

/** A server tells of the others, so two are asked where servers share sessions. */
const ASKED: Readonly<Record<Exclude<StrategyName, 'isolated'>, number>> = { replication: 2, affinity: 2, cookieBased: 0, dedicated: 1 }

function isCopy(holding: Holding): boolean {
  return holding === 'owner' || holding === 'copy'
}

function merge(answers: readonly Readonly<Record<string, Holding>>[]): ReadonlyMap<string, Holding> {
  const held = new Map<string, Holding>()
  for (const [node, holding] of answers.flatMap((answer) => Object.entries(answer))) {
    if (RANK.indexOf(holding) >= RANK.indexOf(held.get(node) ?? 'none')) held.set(node, holding)
  }
  return new Map([...held].sort(([one], [other]) => one.localeCompare(other, 'en', { numeric: true })))
}

/** Under `isolated` there is no other: who has it owns it. */
function roleOf(strategy: StrategyName, holding: Holding): 'owner' | 'backup' | 'copy' {
  if (strategy === 'replication') return 'copy'
  return holding === 'owner' || strategy === 'isolated' ? 'owner' : 'backup'
}
