import { advanceHeads, type Coverage, coversDot, type Heads, mergeCoverage, mergeHeads } from '../core/floor.ts'
import { bytesOf, type Cell, type Cells, changedCells, compareDots, type Dot, mergeAll, shownValue } from '../core/merge.ts'
import type { Change, Draft, RecordMeta, RecordView } from '../seam.ts'

/** What `setLifetime` changes, as one unit: the later dot wins. */
export interface LifetimeChange {
  readonly idleMs: number
  readonly touchEveryMs: number
  readonly absoluteAt: number
}

/** One committed write on its way: applied only on a copy that covers its parents. */
export interface Delta {
  readonly key: string
  readonly dot: Dot
  readonly parents: Heads
  readonly cells: Cells
  readonly touchAt: number
  readonly lifetime?: LifetimeChange
}

/** One copy of a session. Never changed: a write makes a new one, so that a request keeps what it opened. */
export class ClusterRecord implements RecordView {
  readonly key: string
  readonly meta: RecordMeta
  readonly cells: Cells
  /** The dots nothing held here was written on top of. */
  readonly heads: Heads
  readonly coverage: Coverage
  /** The dot that set the lifetime. */
  readonly lifetimeStamp: Dot
  /** The largest counter covered. */
  readonly highest: number
  /** -1: not counted yet. */
  #bytes: number

  constructor(
    key: string,
    meta: RecordMeta,
    cells: Cells,
    heads: Heads,
    coverage: Coverage,
    lifetimeStamp: Dot,
    highest: number,
    bytes = -1,
  ) {
    this.key = key
    this.meta = meta
    this.cells = cells
    this.heads = heads
    this.coverage = coverage
    this.lifetimeStamp = lifetimeStamp
    this.highest = highest
    this.#bytes = bytes
  }

  get(field: string): string | undefined {
    return shownValue(this.cells.get(field))
  }

  isRemoved(field: string): boolean {
    const cell = this.cells.get(field)
    return cell !== undefined && cell.value === undefined
  }

  *fields(): Iterable<string> {
    for (const [field, cell] of this.cells) if (cell.value !== undefined) yield field
  }

  get bytes(): number {
    if (this.#bytes < 0) this.#bytes = bytesOf(this.cells)
    return this.#bytes
  }
}

/** Unix ms: when this copy ends, by idling or absolutely. */
export function endOf(record: ClusterRecord): number {
  return Math.min(record.meta.lastActiveAt + record.meta.idleMs, record.meta.absoluteAt)
}

export function recordOf(key: string, draft: Draft, dot: Dot): ClusterRecord {
  const cells = changedCells(new Map(), { set: draft.fields, add: new Map() }, dot)
  return new ClusterRecord(key, draft.meta, cells, [dot], new Map([[dot.origin, dot.counter]]), dot, dot.counter)
}

export function deltaOf(record: ClusterRecord, change: Change, dot: Dot): Delta {
  const delta = { key: record.key, dot, parents: record.heads, cells: changedCells(record.cells, change, dot), touchAt: change.touchAt }
  return change.lifetime === undefined ? delta : { ...delta, lifetime: change.lifetime }
}

/** The caller has checked that `record` covers the delta's parents. A dot that is covered already changes nothing. */
export function applyDelta(record: ClusterRecord, delta: Delta): ClusterRecord {
  const { dot } = delta
  if (coversDot(record.coverage, dot)) return record
  const later = delta.lifetime !== undefined && compareDots(dot, record.lifetimeStamp) > 0
  const cells = mergeAll(record.cells, delta.cells)
  return new ClusterRecord(
    record.key,
    mergeMeta(record.meta, delta.touchAt, later ? delta.lifetime : undefined),
    cells,
    advanceHeads(record.heads, dot, delta.parents),
    new Map(record.coverage).set(dot.origin, dot.counter),
    later ? dot : record.lifetimeStamp,
    Math.max(record.highest, dot.counter),
    bytesAfter(record, cells, delta.cells),
  )
}

/** Counts only what the delta touches. */
function bytesAfter(record: ClusterRecord, cells: Cells, changed: Cells): number {
  let bytes = record.bytes
  for (const field of changed.keys()) {
    const before = record.cells.get(field)
    if (before === undefined) bytes += Buffer.byteLength(field)
    bytes += valueBytes(cells.get(field)) - valueBytes(before)
  }
  return bytes
}

function valueBytes(cell: Cell | undefined): number {
  return cell?.value === undefined ? 0 : Buffer.byteLength(cell.value)
}

export function touched(record: ClusterRecord, touchAt: number): ClusterRecord {
  const meta = mergeMeta(record.meta, touchAt, undefined)
  if (meta === record.meta) return record
  const { cells, coverage, heads, highest, key, lifetimeStamp } = record
  return new ClusterRecord(key, meta, cells, heads, coverage, lifetimeStamp, highest, record.bytes)
}

/** The union of two copies of one session. */
export function mergeRecords(a: ClusterRecord, b: ClusterRecord): ClusterRecord {
  const later = compareDots(b.lifetimeStamp, a.lifetimeStamp) > 0
  const meta = mergeMeta(a.meta, b.meta.lastActiveAt, later ? b.meta : undefined)
  const coverage = mergeCoverage(a.coverage, b.coverage)
  const cells = mergeAll(a.cells, b.cells)
  if (meta === a.meta && coverage === a.coverage && cells === a.cells) return a
  const heads = mergeHeads(a.heads, a.coverage, b.heads, b.coverage)
  return new ClusterRecord(a.key, meta, cells, heads, coverage, later ? b.lifetimeStamp : a.lifetimeStamp, Math.max(a.highest, b.highest))
}

function mergeMeta(meta: RecordMeta, touchAt: number, lifetime: LifetimeChange | undefined): RecordMeta {
  if (lifetime === undefined) return touchAt > meta.lastActiveAt ? { ...meta, lastActiveAt: touchAt } : meta
  const { idleMs, touchEveryMs, absoluteAt } = lifetime
  return { ...meta, lastActiveAt: Math.max(meta.lastActiveAt, touchAt), idleMs, touchEveryMs, absoluteAt }
}
