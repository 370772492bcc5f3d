import type { Usable } from './round-robin.ts'

/** The usable one with the fewest requests under way; of equals the first after `last`; -1 when there is none. */
export function leastConnections(count: number, usable: Usable, load: (index: number) => number, last: number): number {
  let best = -1
  for (let step = 1; step <= count; step++) {
    const index = (last + step) % count
    if (usable(index) && (best === -1 || load(index) < load(best))) best = index
  }
  return best
}
