/** Which strategy to begin with, and why: rules that a reader can check against the estimates. */
import type { Demand, Estimate } from './capacity.ts'

export interface Recommendation {
  readonly choice: Estimate
  readonly reasons: readonly string[]
  /** Why the others were not chosen, where a limit speaks against them. */
  readonly against: readonly string[]
}

/** The default budget of the cookie header: more is refused, or spilled to a store. */
const COOKIE_HEADER_BYTES = 7_000
/** Sessions in a server's memory beside the application. */
const MOST_MEMORY_BYTES = 1e9
/** Of one server: a tenth of a gigabit. */
const MOST_MESH_BYTES_PER_SECOND = 12e6
/** Up to here everybody may hold everything. */
const FEW_SERVERS = 4

export function recommend(demand: Demand, estimates: readonly Estimate[]): Recommendation {
  const against = estimates.flatMap((estimate) => objections(demand, estimate).map((why) => `${nameOf(estimate)}: ${why}`))
  const fits = estimates.filter((estimate) => objections(demand, estimate).length === 0)
  const pick = (strategy: Estimate['strategy'], options?: string): Estimate | undefined =>
    fits.find((estimate) => estimate.strategy === strategy && (options === undefined || estimate.options === options))
  const dedicated = estimates.find(({ strategy }) => strategy === 'dedicated') as Estimate

  if (demand.servers === 1)
    return { choice: dedicated, against, reasons: ['one server: a SQLite file survives its restarts, and nothing else has to run'] }
  const everywhere = pick('replication', "copies: 'all'")
  if (demand.servers <= FEW_SERVERS && everywhere !== undefined) {
    return {
      choice: everywhere,
      against,
      reasons: ['few servers: each can hold everything, any balancer will do, and no session server has to be kept alive'],
    }
  }
  const affinity = pick('affinity')
  if (affinity !== undefined) {
    return {
      choice: affinity,
      against,
      reasons: [
        'its cost does not grow with the number of servers, and no session server has to be kept alive; it wants a balancer that keeps visitors in place',
      ],
    }
  }
  const sealed = pick('cookieBased')
  if (sealed !== undefined)
    return { choice: sealed, against, reasons: ['the sessions are small enough to travel, and no server has to hold them'] }
  return { choice: dedicated, against, reasons: ['the sessions are too large, or too many, to be held by the servers or to travel'] }
}

function objections({ deaths, servers }: Demand, estimate: Estimate): string[] {
  const why: string[] = []
  const isHeldByServers = estimate.strategy === 'replication' || estimate.strategy === 'affinity'
  if (isHeldByServers && deaths >= servers) why.push('all servers may die at once, and nobody else has a copy')
  if (estimate.memoryBytesPerServer > MOST_MEMORY_BYTES) why.push('more than 1 GB of sessions in each server')
  if (estimate.meshBytesPerSecond / servers > MOST_MESH_BYTES_PER_SECOND)
    why.push('more than 12 MB a second between servers for each of them')
  if (estimate.strategy === 'cookieBased' && estimate.cookieBytesPerRequest > COOKIE_HEADER_BYTES)
    why.push('more than 7,000 bytes of cookies')
  return why
}

/** In words: what to begin with, then what speaks against others. */
export function advice({ against, choice, reasons }: Recommendation): [begin: string, ...against: string[]] {
  const why = reasons.join('; ')
  return [`Begin with ${nameOf(choice)}. ${why.charAt(0).toUpperCase()}${why.slice(1)}.`, ...against.map((line) => `Against ${line}.`)]
}

export function nameOf({ options, strategy }: Estimate): string {
  return options === '' ? strategy : `${strategy}, ${options}`
}
