/**
 * What a visitor has seen (the floor) and what a copy holds (its coverage), as dots with causal history: dotted version
 * vectors (Preguiça et al., 2010) and session guarantees (Terry et al., 1994).
 */
import { compareDots, type Dot } from './merge.ts'

/**
 * Per origin the highest counter held. An origin applies its own writes in order, each on top of all it had seen, so
 * covering its n-th write of a session means covering all of its earlier ones too.
 */
export type Coverage = ReadonlyMap<string, number>

/** A set of dots none of which is an ancestor of another, sorted. */
export type Heads = readonly Dot[]

export const NO_HEADS: Heads = []

export function coversDot(coverage: Coverage, dot: Dot): boolean {
  const counter = coverage.get(dot.origin)
  return counter !== undefined && counter >= dot.counter
}

export function covers(coverage: Coverage, floor: Heads): boolean {
  for (const dot of floor) if (!coversDot(coverage, dot)) return false
  return true
}

export function sameHeads(a: Heads, b: Heads): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  return a.every((dot, index) => compareDots(dot, b[index] as Dot) === 0)
}

/** Heads after a covered write with these parents was applied: the parents are no longer maximal. */
export function advanceHeads(heads: Heads, dot: Dot, parents: Heads): Heads {
  const kept = heads.filter((head) => compareDots(head, dot) !== 0 && !parents.some((parent) => compareDots(parent, head) === 0))
  return [...kept, dot].sort(compareDots)
}

/** Heads of the union of two copies: a head that the other copy covers, but no longer has as a head, has a descendant there. */
export function mergeHeads(a: Heads, aCoverage: Coverage, b: Heads, bCoverage: Coverage): Heads {
  const has = (heads: Heads, dot: Dot) => heads.some((head) => compareDots(head, dot) === 0)
  const kept = a.filter((dot) => !coversDot(bCoverage, dot) || has(b, dot))
  for (const dot of b) if (!has(kept, dot) && (!coversDot(aCoverage, dot) || has(a, dot))) kept.push(dot)
  return kept.sort(compareDots)
}

/** Pointwise maximum: what a copy covers that took over all cells of both. */
export function mergeCoverage(a: Coverage, b: Coverage): Coverage {
  let merged: Map<string, number> | undefined
  for (const [origin, counter] of b) {
    if ((a.get(origin) ?? -1) < counter) (merged ??= new Map(a)).set(origin, counter)
  }
  return merged ?? a
}
