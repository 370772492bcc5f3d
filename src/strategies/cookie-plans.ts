/** Ways to store a write: as a note of its own, with a fold of what was presented, or as part of a fold. */
import { type BaseNote, compareDeltas, type DeltaNote, type Journal, type JournalNote } from '../core/journal.ts'
import { encodeNote } from '../core/journal-codec.ts'
import { FOLD_RULES, type FoldRules, foldName, foldNotes } from '../core/journal-fold.ts'
import { bytesOf } from '../core/merge.ts'
import type { CookieOpened } from './cookie-opened.ts'

/** Deltas in a jar before a write folds them, and the step of folds, so that parallel folds take the same ones. */
const FOLD_STEP = 6
/** Deltas are folded before that once they are longer than this and than the base. */
const LONG_DELTAS_BYTES = 600

/** A base up to this size fits into one cookie of any name. */
const BASE_BYTES = 2_800
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
}

/** Ways to store this write, the best first. */
export function* plansFor(from: CookieOpened, delta: DeltaNote, young: boolean, parts: CookieParts): Iterable<Plan> {
  const plain: Plan = { notes: [delta], folded: [], bases: 0 }
  const { journal } = from
  if (journal === undefined || !young) {
    yield plain
    return
  }
  const count = journal.deltas.length
  const step = count - (count % FOLD_STEP)
  if (step > 0) yield foldPlan(parts, from, journal, delta, step, 2)
  else if (areLong(from, journal) || journal.bases.length > FOLD_STEP) yield foldPlan(parts, from, journal, delta, count, 2)
  yield plain
  if (count + journal.bases.length > 1) yield foldPlan(parts, from, journal, delta, count, 1)
  yield wholePlan(parts, from, journal, delta)
}

function areLong(from: CookieOpened, journal: Journal): boolean {
  const bytes = (notes: readonly JournalNote[]): number => notes.reduce((sum, note) => sum + (from.sizes.get(note.name) ?? 0), 0)
  return bytes(journal.deltas) > Math.max(LONG_DELTAS_BYTES, bytes(journal.bases))
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
function wholePlan(parts: CookieParts, from: CookieOpened, journal: Journal, delta: DeltaNote): Plan {
  const deltas = [...journal.deltas, delta].sort(compareDeltas)
  const folded = [...journal.bases, ...journal.deltas].map((note) => note.name)
  const name = parts.foldName(from.id.id, [...folded, delta.name])
  return { notes: [foldToFit(parts, name, journal, deltas)], folded, bases: 1 }
}

/** A full session gives up its long memory before it gives up writes. */
function foldToFit(parts: CookieParts, name: string, journal: Journal, deltas: readonly DeltaNote[]): BaseNote {
  const base = parts.foldNotes(name, journal.bases, journal.joined, deltas, FOLD_RULES)
  if (isSurelySmall(base) || encodeNote(base).length <= BASE_BYTES) return base
  return parts.foldNotes(name, journal.bases, journal.joined, deltas, SHORT_RULES)
}

/** Encoding only to measure costs as much as folding. */
function isSurelySmall(base: BaseNote): boolean {
  let adds = 0
  for (const cell of base.cells.values()) adds += cell.adds?.size ?? 0
  return bytesOf(base.cells) + base.cells.size * 16 + base.covered.size * 9 + adds * 24 + 512 <= BASE_BYTES
}
