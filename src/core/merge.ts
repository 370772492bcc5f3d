/**
 * How concurrent writes to one session merge: each field is a cell, the later stamp wins, counters sum.
 * Cells form a join-semilattice (Shapiro et al., "Conflict-free replicated data types", 2011), so that merging is
 * commutative, associative and idempotent: copies that saw the same writes in any order are equal.
 */
import type { Change } from '../seam.ts'

/**
 * One committed write: the origin's n-th, n above every counter the origin had seen of this session (Lamport, 1978).
 * Origins are server incarnations in the cluster and note names in the browser; neither is ever used again.
 */
export interface Dot {
  readonly origin: string
  readonly counter: number
}

/** What one origin has added to a counter; the higher sequence replaces the lower. */
export interface Tally {
  readonly sequence: number
  readonly total: number
}

export interface Cell {
  /** The assignment that began this value. Adding to a counter keeps it. */
  readonly stamp: Dot
  /** Encoded; undefined: removed. */
  readonly value: string | undefined
  readonly adds?: ReadonlyMap<string, Tally>
}

export type Cells = ReadonlyMap<string, Cell>

/** The stamp of a counter that was never assigned: every server starts it from the same value. */
export const UNASSIGNED: Dot = { origin: '', counter: 0 }

/** Total order of writes: by counter, ties by origin. */
export function compareDots(a: Dot, b: Dot): number {
  if (a.counter !== b.counter) return a.counter - b.counter
  return a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0
}

export function mergeCells(a: Cell, b: Cell): Cell {
  const order = compareDots(a.stamp, b.stamp) || compareValues(a.value, b.value)
  if (order !== 0) return order > 0 ? a : b
  if (a === b || b.adds === undefined) return a
  const newer = [...b.adds].filter(([origin, tally]) => compareTallies(tally, a.adds?.get(origin)) > 0)
  return newer.length === 0 ? a : { stamp: a.stamp, value: a.value, adds: new Map([...(a.adds ?? []), ...newer]) }
}

/** Equal stamps mean equal values, but for a damaged or dishonest peer: even then all copies must agree. */
function compareValues(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0
  if (a === undefined) return -1
  return b === undefined || a > b ? 1 : -1
}

function compareTallies(a: Tally, b: Tally | undefined): number {
  return b === undefined ? 1 : a.sequence - b.sequence || a.total - b.total
}

/** A new map, or `into` itself when nothing of `from` is newer. */
export function mergeAll(into: Cells, from: Cells): Cells {
  let merged: Map<string, Cell> | undefined
  for (const [field, cell] of from) {
    const mine = into.get(field)
    const winner = mine === undefined ? cell : mergeCells(mine, cell)
    if (winner !== mine) (merged ??= new Map(into)).set(field, winner)
  }
  return merged ?? into
}

/** The cells that `change`, stamped, writes over `cells`: only those that differ. A delta. */
export function changedCells(cells: Cells, change: Pick<Change, 'set' | 'add'>, dot: Dot): Map<string, Cell> {
  const changed = new Map<string, Cell>()
  for (const [field, value] of change.set) changed.set(field, { stamp: dot, value })
  for (const [field, { by, from }] of change.add) {
    changed.set(field, addTo(changed.get(field) ?? cells.get(field), by, from, dot))
  }
  return changed
}

function addTo(cell: Cell | undefined, by: number, from: number, dot: Dot): Cell {
  if (cell === undefined)
    return { stamp: UNASSIGNED, value: String(from), adds: new Map([[dot.origin, { sequence: dot.counter, total: by }]]) }
  // Counting on from a removed field is an assignment: the removal must not be undone by older adds.
  if (cell.value === undefined) return { stamp: dot, value: String(from + by) }
  const total = (cell.adds?.get(dot.origin)?.total ?? 0) + by
  const adds = new Map(cell.adds)
  adds.set(dot.origin, { sequence: dot.counter, total })
  return { stamp: cell.stamp, value: cell.value, adds }
}

/** The encoded value a reader sees: a counter's start plus all that was added to it. */
export function shownValue(cell: Cell | undefined): string | undefined {
  if (cell?.value === undefined || cell.adds === undefined || cell.adds.size === 0) return cell?.value
  let sum = Number(cell.value)
  for (const origin of [...cell.adds.keys()].sort()) sum += (cell.adds.get(origin) as Tally).total
  return String(sum)
}

/** UTF-8 bytes of names and values: what `limits.sessionBytes` bounds. */
export function bytesOf(cells: Cells): number {
  let bytes = 0
  for (const [field, cell] of cells) bytes += Buffer.byteLength(field) + (cell.value === undefined ? 0 : Buffer.byteLength(cell.value))
  return bytes
}
