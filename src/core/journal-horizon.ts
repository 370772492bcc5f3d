/**
 * What a base may forget. Below its horizon a base keeps values only: names of folded notes, tallies of counters and
 * origins of stamps are given up, and a hash chain remembers exactly which deltas they came from. Bases that agree on
 * that chain have folded the same notes, so that nothing either has forgotten can come back through the other.
 */
import { createHash } from 'node:crypto'
import type { Base, Covered } from './journal.ts'
import type { Cell, Cells, Dot } from './merge.ts'

/** Removals below the horizon stay, so that a removed field does not read as its default again, up to this many bytes of names. */
const OLD_REMOVAL_BYTES = 512
const DIGEST_BYTES = 16

/** Raises the horizon. Exact: what could still be merged reads the same before and after. */
export function forgetUpTo(base: Base, horizon: number): Base {
  if (horizon <= base.horizon) return base
  const covered = new Map<string, Covered>()
  const forgotten: [name: string, counter: number][] = []
  for (const [name, entry] of base.covered) {
    if (entry.counter > horizon) covered.set(name, entry)
    // Bases hold nothing that their deltas do not: parallel folds may differ in them.
    else if (!entry.isBase) forgotten.push([name, entry.counter])
  }
  forgotten.sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
  return {
    ...base,
    cells: settledCells(base.cells, horizon),
    lifetimeStamp: settledStamp(base.lifetimeStamp, horizon),
    horizon,
    digest: forgotten.reduce(chained, base.digest),
    covered,
    marks: base.marks.filter((mark) => mark.counter > horizon),
  }
}

function chained(digest: string, [name, counter]: readonly [string, number]): string {
  const hash = createHash('sha256').update(`${digest}|${counter}|${name}`).digest()
  return hash.toString('base64url', 0, DIGEST_BYTES)
}

function settledCells(cells: Cells, horizon: number): Cells {
  const settled = new Map<string, Cell>()
  const removals: [field: string, cell: Cell][] = []
  for (const [field, cell] of cells) {
    if (cell.value === undefined && cell.stamp.counter <= horizon) removals.push([field, cell])
    else settled.set(field, settledCell(cell, horizon))
  }
  removals.sort((a, b) => b[1].stamp.counter - a[1].stamp.counter || (a[0] < b[0] ? -1 : 1))
  let bytes = 0
  for (const [field, cell] of removals) {
    bytes += Buffer.byteLength(field)
    if (bytes > OLD_REMOVAL_BYTES) break
    settled.set(field, settledCell(cell, horizon))
  }
  return settled
}

/** Adds below the horizon go into the value: every base that may still be joined has the same ones. */
export function settledCell(cell: Cell, horizon: number): Cell {
  const stamp = settledStamp(cell.stamp, horizon)
  if (cell.adds === undefined || cell.value === undefined) return stamp === cell.stamp ? cell : { stamp, value: cell.value }
  let sum = Number(cell.value)
  const adds = new Map(cell.adds)
  const old = [...cell.adds].filter(([, tally]) => tally.sequence <= horizon)
  old.sort((a, b) => a[1].sequence - b[1].sequence || (a[0] < b[0] ? -1 : 1))
  for (const [origin, tally] of old) {
    sum += tally.total
    adds.delete(origin)
  }
  const value = old.length === 0 ? cell.value : String(sum)
  return adds.size === 0 ? { stamp, value } : { stamp, value, adds }
}

function settledStamp(stamp: Dot, horizon: number): Dot {
  return stamp.counter <= horizon && stamp.origin !== '' ? { origin: '', counter: stamp.counter } : stamp
}
