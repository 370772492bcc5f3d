/** Ways to store a write: as a note of its own, with a fold of what was presented, or as part of a fold. */
import { type BaseNote, compareDeltas, type DeltaNote, type Journal, type JournalNote } from '../core/journal.ts'
import { FOLD_RULES, type FoldRules, foldName, foldNotes } from '../core/journal-fold.ts'
import { bytesOf } from '../core/merge.ts'
import { cookieNamesOf } from './cookie-notes.ts'
import type { CookieOpened } from './cookie-opened.ts'

/** Deltas in a jar before a write folds them, and the step of folds, so that parallel folds take the same ones. */
const FOLD_STEP = 6
/** Of a small base: every request carries the deltas, and only a fold carries the base. */
const SMALL_FOLD_STEP = 3
/** Deltas are folded before that once they are longer than this and than the base. */
const LONG_DELTAS_BYTES = 600
/** Three of these, made in parallel, still fit into a header. */
export const LARGE_BASE_BYTES = 2_000
const HUGE_BASE_BYTES = 6_000
const HUGE_FOLDS = 1 / 3
/** Of requests at once that are told from each other. */
const MOST_OVERLAP = 3

/** Larger bases remember less: the header is better spent on fields. */
const LONG_MEMORY_BYTES = 2_800
const SHORT_RULES: FoldRules = { ...FOLD_RULES, keepNotes: 24 }

/** What tests replace, to see that they notice. */
export interface CookieParts {
  readonly foldName: typeof foldName
  readonly foldNotes: typeof foldNotes
}
export const PARTS: CookieParts = { foldName, foldNotes }

/** One way to store a write. */
export interface Plan {
  readonly notes: readonly JournalNote[]
  readonly folded: readonly string[]
  /** Bases that parallel folds may add before they see each other: there must be room for so many. */
  readonly bases: number
  /** May take the header above its budget for a while: what is folded later fits. */
  readonly overdraft?: true
}

export interface RequestState {
  /** Recent enough to fold. */
  readonly young: boolean
  /** This server has sent a large fold that this request does not present yet. */
  readonly foldsUnderWay: boolean
  /** Random, below 1. */
  readonly lot: () => number
}

/**
 * Ways to store this write, the best first. A large base is folded by those requests only that see a multiple of
 * `FOLD_STEP` deltas: requests that see the same jar make the same fold, and others must not add a large base each.
 */
export function* plansFor(from: CookieOpened, delta: DeltaNote, request: RequestState, parts: CookieParts): Iterable<Plan> {
  const plain: Plan = { notes: [delta], folded: [], bases: 0 }
  const { journal } = from
  if (journal === undefined || !request.young) {
    yield plain
    yield { ...plain, overdraft: true }
    return
  }
  const count = journal.deltas.length
  const baseBytes = bytesIn(from, journal.bases)
  if (baseBytes > LARGE_BASE_BYTES) {
    if (!request.foldsUnderWay && isTurnToFold(journal, baseBytes, request.lot))
      yield { ...foldPlan(parts, from, journal, delta, count, 1), overdraft: true }
    yield plain
    yield { ...plain, overdraft: true }
  } else {
    const step = count - (count % SMALL_FOLD_STEP)
    if (step > 0) yield foldPlan(parts, from, journal, delta, step, 2)
    else if (areLong(from, journal, baseBytes) || journal.bases.length > FOLD_STEP) yield foldPlan(parts, from, journal, delta, count, 2)
    yield plain
  }
  if (count + journal.bases.length > 1) yield foldPlan(parts, from, journal, delta, count, 1)
  yield wholePlan(parts, from, journal, delta)
}

/**
 * Whether a jar of this many deltas is one that folds. The more requests overlap, the rarer, so that the answer with one fold
 * arrives before the next is made; now and then no request sees such a jar, and then sooner and sooner ones fold.
 */
function isTurnToFold(journal: Journal, baseBytes: number, lot: () => number): boolean {
  // What is folded is remembered by name: the largest bases have no room for many names.
  const isHuge = baseBytes > HUGE_BASE_BYTES
  const count = journal.deltas.length
  const overlap = overlapOf(journal)
  const step = FOLD_STEP * Math.min(isHuge ? MOST_OVERLAP - 1 : MOST_OVERLAP, overlap)
  if (isHuge && overlap > 1 && lot() > HUGE_FOLDS) return false
  if (count < step) return false
  return count >= 2 * step || (count - step) % (FOLD_STEP / 2) === 0
}

/** How many requests saw the same: notes that share a counter knew nothing of each other. */
function overlapOf({ joined, deltas }: Journal): number {
  const sharing = new Map<number, number>()
  let most = 1
  const add = (counter: number): void => {
    const count = (sharing.get(counter) ?? 0) + 1
    sharing.set(counter, count)
    most = Math.max(most, count)
  }
  for (const { counter, isBase } of joined.covered.values()) if (!isBase) add(counter)
  for (const { counter } of deltas) add(counter)
  return most
}

function areLong(from: CookieOpened, journal: Journal, baseBytes: number): boolean {
  return bytesIn(from, journal.deltas) > Math.max(LONG_DELTAS_BYTES, baseBytes)
}

/** What these notes take of the header. */
function bytesIn(from: CookieOpened, notes: readonly JournalNote[]): number {
  let bytes = 0
  for (const note of notes) for (const name of cookieNamesOf(note.name, from.sizes)) bytes += from.sizes.get(name) ?? 0
  return bytes
}

/** Folds bases and the first `count` deltas, which hold all of their ancestors. */
function foldPlan(parts: CookieParts, from: CookieOpened, journal: Journal, delta: DeltaNote, count: number, parallel: number): Plan {
  const deltas = journal.deltas.slice(0, count)
  const folded = [...journal.bases, ...deltas].map((note) => note.name)
  const base = foldToFit(parts, parts.foldName(from.id.id, folded), journal, deltas)
  const gone = new Set(folded)
  const heads = [base.name, ...from.heads.filter((head) => !gone.has(head))]
  return { notes: [base, { ...delta, parents: heads }], folded, bases: parallel }
}

/** The write goes into the base too: where the old and the new value of a field do not fit side by side. */
export function wholePlan(parts: CookieParts, from: CookieOpened, journal: Journal, delta: DeltaNote): Plan {
  const deltas = [...journal.deltas, delta].sort(compareDeltas)
  const folded = [...journal.bases, ...journal.deltas].map((note) => note.name)
  const name = parts.foldName(from.id.id, [...folded, delta.name])
  return { notes: [foldToFit(parts, name, journal, deltas)], folded, bases: 1 }
}

/** A full session gives up its long memory before it gives up writes. */
function foldToFit(parts: CookieParts, name: string, journal: Journal, deltas: readonly DeltaNote[]): BaseNote {
  const base = parts.foldNotes(name, journal.bases, journal.joined, deltas, FOLD_RULES)
  if (bytesOfBase(base) <= LONG_MEMORY_BYTES) return base
  return parts.foldNotes(name, journal.bases, journal.joined, deltas, SHORT_RULES)
}

/** An upper bound, nearly: encoding only to measure costs as much as folding. */
function bytesOfBase(base: BaseNote): number {
  let adds = 0
  for (const cell of base.cells.values()) adds += cell.adds?.size ?? 0
  return bytesOf(base.cells) + base.cells.size * 8 + base.covered.size * 8 + adds * 16 + 200
}
