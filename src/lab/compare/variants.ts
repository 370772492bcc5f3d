import type { StrategyName, StrategyOptions } from '../choice.ts'

/** A strategy with options, as one column of the comparison. */
export interface Variant {
  readonly label: string
  readonly strategy: StrategyName
  readonly options: StrategyOptions
}

/** The problem, the four answers, and the two forms of them that show what the options buy. */
export const VARIANTS: readonly Variant[] = [
  { label: 'isolated', strategy: 'isolated', options: {} },
  { label: 'replication all', strategy: 'replication', options: { copies: 'all', acks: 1 } },
  { label: 'replication 2', strategy: 'replication', options: { copies: 2, acks: 1, policy: 'sticky' } },
  { label: 'affinity 0', strategy: 'affinity', options: { backups: 0 } },
  { label: 'affinity 1', strategy: 'affinity', options: { backups: 1 } },
  { label: 'cookieBased', strategy: 'cookieBased', options: {} },
  { label: 'dedicated', strategy: 'dedicated', options: {} },
]

/** In one line, what a label stands for. */
export const LEGEND: Readonly<Record<string, string>> = {
  isolated: 'each server its own memory: the problem',
  'replication all': "copies: 'all', acks: 1",
  'replication 2': 'copies: 2, acks: 1, visitors kept in place',
  'affinity 0': 'backups: 0',
  'affinity 1': 'backups: 1',
  cookieBased: 'sealed in the browser',
  dedicated: 'a session server',
}
