/** How busy a server is, for visitors who have none yet. */
import type { Server } from './servers.ts'

/** Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): nobody above this part of the mean takes newcomers. */
const BOUND = 1.25
const COLDEST = 0.1

export interface Loads {
  of(server: Server): number
  /** It has more than its share of visitors. */
  isAbove(server: Server): boolean
}

/** Sessions where all that are up tell theirs, else requests under way. */
export function loadsOf(list: readonly Server[]): Loads {
  const up = list.filter(({ state }) => state === 'up')
  const all = up.length > 0 && up.every(({ sessions }) => sessions !== undefined)
  const of = (server: Server): number => (all ? (server.sessions ?? 0) + server.newcomers : server.underWay.size)
  let total = 0
  for (const server of up) total += of(server)
  const bound = Math.ceil((BOUND * (total + 1)) / Math.max(1, up.length))
  return { of, isAbove: (server) => of(server) >= bound }
}

/** From a tenth to one, while a new process warms up. */
export function warmthOf(server: Server, slowStartMs: number, now: number): number {
  if (server.warmAt <= now) return 1
  return Math.max(COLDEST, 1 - (server.warmAt - now) / slowStartMs)
}
