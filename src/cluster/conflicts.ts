/**
 * Two calls of `update` that did not know of each other: servers that did not agree on who lives let both commit. Their fields
 * merge; that it happened is told. The last update of a record is kept as a removed cell under a name of its own, so that it
 * travels and merges as every other cell.
 */
import { coversDot } from '../core/floor.ts'
import { compareDots, type Dot } from '../core/merge.ts'
import type { ClusterRecord, Delta } from './record.ts'

const UPDATED = '\u0000u'

/** The delta of a write that `update` commits. */
export function asUpdate(delta: Delta): Delta {
  return { ...delta, cells: new Map(delta.cells).set(UPDATED, { stamp: delta.dot, value: undefined }) }
}

function lastUpdate({ cells }: Pick<ClusterRecord, 'cells'>): Dot | undefined {
  return cells.get(UPDATED)?.stamp
}

/** Each copy holds an update that the other does not know. */
export function areConflicting(a: ClusterRecord, b: ClusterRecord): boolean {
  const mine = lastUpdate(a)
  const theirs = lastUpdate(b)
  if (mine === undefined || theirs === undefined) return false
  return !coversDot(b.coverage, mine) && !coversDot(a.coverage, theirs)
}

/** The copy, which covers the delta's parents, holds an update that the delta's maker did not know. */
export function isConflicting(record: ClusterRecord, delta: Delta): boolean {
  const mine = lastUpdate(delta) === undefined ? undefined : lastUpdate(record)
  if (mine === undefined) return false
  const isIn = (dots: readonly Dot[]): boolean => dots.some((dot) => compareDots(dot, mine) === 0)
  return (isIn(record.heads) && !isIn(delta.parents)) || delta.parents.every((parent) => parent.counter < mine.counter)
}
