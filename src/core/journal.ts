/**
 * The journal of a session that lives in the browser: bases (folded states) and deltas (one request's changes), each
 * naming its ancestors. Pure: no clock, no randomness, no keys. `docs/protocol.md` has the rules and why they hold.
 *
 * Order is a Lamport counter per session (Lamport, 1978); a set of notes is used only if it is causally closed.
 */
import type { Change, Draft, RecordMeta } from '../seam.ts'
import type { Epoch } from './epoch.ts'
import { forgetUpTo } from './journal-horizon.ts'
import { type Cell, type Cells, compareDots, type Dot, shownValue, type Tally, UNASSIGNED } from './merge.ts'
import { countOn } from './stored-record.ts'

/** What is left of a note that was folded: enough to recognise it, and those that name it as their parent. */
export interface Covered {
  readonly counter: number
  readonly isBase: boolean
}

/** At `at` (Unix ms) every covered note up to `counter` had left the jar. */
export interface Mark {
  readonly at: number
  readonly counter: number
}

export interface JournalState {
  readonly meta: RecordMeta
  /** The write that last changed the lifetime. */
  readonly lifetimeStamp: Dot
  readonly cells: Cells
  /** The highest counter of any write in here. */
  readonly highest: number
  /** Which log-outs everywhere of its user the session came after: the same in all bases of one id. */
  readonly epoch?: Epoch | undefined
}

/** A folded, causally closed state and what it remembers of its history. */
export interface Base extends JournalState {
  /** The newest write time in here: Unix ms. */
  readonly at: number
  /** Notes with counters up to this one are forgotten; only `digest` still tells which they were. */
  readonly horizon: number
  /** Hash chain over the forgotten deltas in order; empty: none. */
  readonly digest: string
  /** Every covered note above the horizon. */
  readonly covered: ReadonlyMap<string, Covered>
  readonly marks: readonly Mark[]
}

export interface BaseNote extends Base {
  readonly kind: 'base'
  readonly name: string
}

/** An add names the assignment it counts on: it means nothing to a later one. */
export interface DeltaAdd {
  readonly generation: Dot
  /** Encoded start of a counter that was absent. */
  readonly from: string
  readonly total: number
}

export interface DeltaNote {
  readonly kind: 'delta'
  readonly name: string
  /** One above everything its request had seen. */
  readonly counter: number
  /** Unix ms of the commit. */
  readonly at: number
  /** The maximal notes its request had seen. */
  readonly parents: readonly string[]
  readonly touchAt: number
  readonly lifetime?: { readonly idleMs: number; readonly touchEveryMs: number; readonly absoluteAt: number }
  readonly sets: ReadonlyMap<string, string | undefined>
  readonly adds: ReadonlyMap<string, DeltaAdd>
}

export type JournalNote = BaseNote | DeltaNote

export interface Journal {
  readonly state: JournalState
  readonly bases: readonly BaseNote[]
  readonly joined: Base
  /** Those no base covers, in order. */
  readonly deltas: readonly DeltaNote[]
  /** Names of maximal notes: the parents of the next write. */
  readonly heads: readonly string[]
  /** Names that change nothing any more: covered or stale. */
  readonly leftovers: readonly string[]
  /** Notes too late to be merged: writes that are lost. */
  readonly stale: readonly string[]
}

/** The first base of an id. Its one ancestor is the id itself, so that its cells need no origin. */
export function firstBase(name: string, draft: Draft & { readonly epoch?: Epoch | undefined }, at: number): BaseNote {
  const stamp: Dot = { origin: '', counter: 1 }
  const cells = new Map<string, Cell>()
  for (const [field, value] of draft.fields) cells.set(field, { stamp, value })
  return {
    kind: 'base',
    name,
    meta: draft.meta,
    lifetimeStamp: stamp,
    cells,
    highest: 1,
    at,
    horizon: 1,
    digest: '',
    covered: new Map(),
    marks: [],
    epoch: draft.epoch,
  }
}

/** One request's changes on the state it had opened. Throws FIELD_INVALID when a counter does not count. */
export function newDelta(state: JournalState, name: string, parents: readonly string[], change: Change, at: number): DeltaNote {
  const sets = new Map(change.set)
  const adds = new Map<string, DeltaAdd>()
  for (const [field, { by, from }] of change.add) {
    const cell = state.cells.get(field)
    const isSet = sets.has(field)
    const current = isSet ? sets.get(field) : shownValue(cell)
    const counted = countOn(field, current, by, from)
    // Counting on from an assignment of this request, or from a removal, is an assignment.
    if (isSet || (cell !== undefined && cell.value === undefined)) sets.set(field, counted)
    else adds.set(field, { generation: cell?.stamp ?? UNASSIGNED, from: String(from), total: by })
  }
  const { touchAt, lifetime } = change
  return { kind: 'delta', name, counter: state.highest + 1, at, parents, touchAt, ...(lifetime && { lifetime }), sets, adds }
}

/** Total order of deltas: every note comes after its ancestors. */
export function compareDeltas(a: DeltaNote, b: DeltaNote): number {
  return a.counter - b.counter || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}

/** `deltas` in order. */
export function applyDeltas(state: JournalState, deltas: readonly DeltaNote[]): JournalState {
  if (deltas.length === 0) return state
  const cells = new Map(state.cells)
  let { meta, lifetimeStamp, highest } = state
  for (const delta of deltas) {
    const dot: Dot = { origin: delta.name, counter: delta.counter }
    for (const [field, value] of delta.sets) {
      const cell = cells.get(field)
      if (cell === undefined || compareDots(dot, cell.stamp) > 0) cells.set(field, { stamp: dot, value })
    }
    for (const [field, add] of delta.adds) {
      const counted = countedCell(cells.get(field), add, dot)
      if (counted !== undefined) cells.set(field, counted)
    }
    const lastActiveAt = Math.max(meta.lastActiveAt, delta.touchAt)
    if (delta.lifetime !== undefined) {
      const later = compareDots(dot, lifetimeStamp) > 0
      const { idleMs, touchEveryMs } = later ? delta.lifetime : meta
      meta = { ...meta, lastActiveAt, idleMs, touchEveryMs, absoluteAt: Math.min(meta.absoluteAt, delta.lifetime.absoluteAt) }
      if (later) lifetimeStamp = dot
    } else if (lastActiveAt !== meta.lastActiveAt) meta = { ...meta, lastActiveAt }
    highest = Math.max(highest, delta.counter)
  }
  return { meta, lifetimeStamp, cells, highest, epoch: state.epoch }
}

/** Undefined: the counter was assigned or removed since, and the add went with it. */
function countedCell(cell: Cell | undefined, add: DeltaAdd, dot: Dot): Cell | undefined {
  const tally: Tally = { sequence: dot.counter, total: add.total }
  if (cell === undefined) {
    // An assignment this add had seen can only be missing because it was removed, so long ago that the removal is forgotten.
    if (add.generation.counter !== UNASSIGNED.counter) return undefined
    return { stamp: UNASSIGNED, value: add.from, adds: new Map([[dot.origin, tally]]) }
  }
  if (cell.value === undefined || !sameGeneration(cell.stamp, add.generation)) return undefined
  return { stamp: cell.stamp, value: cell.value, adds: new Map(cell.adds).set(dot.origin, tally) }
}

/** Stamps below the horizon have lost their origin. */
function sameGeneration(a: Dot, b: Dot): boolean {
  return a.counter === b.counter && (a.origin === b.origin || a.origin === '' || b.origin === '')
}

/**
 * Opens the presented notes. Undefined: there is no base, a named note is missing, or the bases do not share their
 * history: nothing may be merged around that.
 */
export function openJournal(notes: readonly JournalNote[]): Journal | undefined {
  const covered = coveredNames(notes)
  const bases: BaseNote[] = []
  const deltas: DeltaNote[] = []
  const leftovers: string[] = []
  for (const note of notes) {
    if (covered.has(note.name)) leftovers.push(note.name)
    else if (note.kind === 'base') bases.push(note)
    else deltas.push(note)
  }
  const joined = joinBases(bases)
  if (joined === undefined) return undefined
  const stale = deltas.filter((delta) => delta.counter <= joined.horizon).map((delta) => delta.name)
  const live = deltas.filter((delta) => delta.counter > joined.horizon).sort(compareDeltas)
  const present = new Set([...bases, ...live].map((note) => note.name))
  for (const delta of live) {
    if (!delta.parents.every((parent) => present.has(parent) || covered.has(parent))) return undefined
  }
  for (const delta of live) for (const parent of delta.parents) present.delete(parent)
  const state = applyDeltas(joined, live)
  return { state, bases, joined, deltas: live, heads: [...present].sort(), leftovers: [...leftovers, ...stale], stale }
}

function coveredNames(notes: readonly JournalNote[]): { has(name: string): boolean } {
  const bases = notes.filter((note) => note.kind === 'base')
  return { has: (name) => bases.some((base) => base.covered.has(name)) }
}

/**
 * The union of bases. They may be joined only if they folded exactly the same notes up to the higher horizon: then
 * everything that either has forgotten, the other has accounted for, and the join is exact.
 */
export function joinBases(bases: readonly Base[]): Base | undefined {
  const [first, ...others] = bases
  if (first === undefined || others.length === 0) return first
  const horizon = Math.max(...bases.map((base) => base.horizon))
  const [start, ...rest] = bases.map((base) => forgetUpTo(base, horizon)) as [Base, ...Base[]]
  if (rest.some((base) => base.digest !== start.digest)) return undefined
  return rest.reduce(joinTwo, start)
}

function joinTwo(a: Base, b: Base): Base {
  const cells = new Map(a.cells)
  for (const [field, cell] of b.cells) {
    const mine = cells.get(field)
    cells.set(field, mine === undefined ? cell : joinCells(mine, cell))
  }
  const later = compareDots(b.lifetimeStamp, a.lifetimeStamp) > 0 ? b : a
  return {
    meta: {
      ...later.meta,
      lastActiveAt: Math.max(a.meta.lastActiveAt, b.meta.lastActiveAt),
      absoluteAt: Math.min(a.meta.absoluteAt, b.meta.absoluteAt),
    },
    lifetimeStamp: later.lifetimeStamp,
    cells,
    highest: Math.max(a.highest, b.highest),
    at: Math.max(a.at, b.at),
    horizon: a.horizon,
    digest: a.digest,
    covered: new Map([...a.covered, ...b.covered]),
    marks: joinMarks(a, b),
    epoch: a.epoch,
  }
}

function joinCells(a: Cell, b: Cell): Cell {
  const order = compareDots(a.stamp, b.stamp)
  if (order !== 0) return order > 0 ? a : b
  // Equal stamps differ in value only where two servers start a counter from different defaults: agree on one.
  const value = a.value === undefined || (b.value !== undefined && b.value > a.value) ? b.value : a.value
  if (a.adds === undefined && b.adds === undefined) return { stamp: a.stamp, value }
  return { stamp: a.stamp, value, adds: new Map([...(a.adds ?? []), ...(b.adds ?? [])]) }
}

/** A join has passed only the marks that both have passed. */
function joinMarks(a: Base, b: Base): Mark[] {
  const reached = (base: Base, at: number): number =>
    base.marks.reduce((top, mark) => (mark.at <= at ? Math.max(top, mark.counter) : top), 0)
  const times = [...new Set([...a.marks, ...b.marks].map((mark) => mark.at))].sort((x, y) => x - y)
  const marks = times.map((at) => ({ at, counter: Math.min(reached(a, at), reached(b, at)) }))
  return marks.filter((mark, index) => mark.counter > Math.max(a.horizon, b.horizon, marks[index - 1]?.counter ?? 0))
}
