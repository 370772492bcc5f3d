export interface StrategyText {
  id: string
  name: string
  where: string
  strength: string
  weakness: string
}

export const STRATEGIES: StrategyText[] = [
  {
    id: 'replication',
    name: 'Replication',
    where: 'Every server holds a copy.',
    strength: 'Any server can answer and any server may die.',
    weakness: 'Every write travels to the others.',
  },
  {
    id: 'affinity',
    name: 'Affinity',
    where: 'The server you landed on holds it, one other keeps a backup.',
    strength: 'Hardly any traffic between servers.',
    weakness: 'Needs a balancer that brings you back.',
  },
  {
    id: 'cookieBased',
    name: 'Cookie',
    where: 'Your browser holds it, sealed.',
    strength: 'Nothing to run, nothing to lose with a server.',
    weakness: 'A few kilobytes at most, sent with every request.',
  },
  {
    id: 'dedicated',
    name: 'Dedicated',
    where: 'A store beside the servers holds it.',
    strength: 'Servers may come and go as they like.',
    weakness: 'The store is one more thing that can fail.',
  },
  {
    id: 'isolated',
    name: 'Isolated',
    where: 'Each server keeps its own and shares nothing.',
    strength: 'Shows the problem.',
    weakness: 'Another server takes you for a stranger.',
  },
]
