/**
 * Folding: bases and deltas become one base. What comes out depends on the folded set only (no clock), and so does its
 * name, so that parallel folds of one set are the same note, sealed twice.
 */
import { createHash } from 'node:crypto'
import { applyDeltas, type Base, type BaseNote, compareDeltas, type Covered, type DeltaNote, type Mark } from './journal.ts'
import { forgetUpTo } from './journal-horizon.ts'

export interface FoldRules {
  /** Folded notes are remembered at least this long: Unix ms apart, by the notes' own times. */
  readonly keepMs: number
  /** And never more than about this many of them. */
  readonly keepNotes: number
}

export const FOLD_RULES: FoldRules = { keepMs: 10 * 60_000, keepNotes: 128 }

const NAME_BYTES = 6
const MARKS_PER_KEEP = 8

/** The name of the fold of these notes. */
export function foldName(sessionId: string, names: readonly string[]): string {
  const hash = createHash('sha256')
    .update(`fold|${sessionId}|${[...names].sort().join('|')}`)
    .digest()
  return hash.toString('base64url', 0, NAME_BYTES)
}

/** `joined` is the join of `bases`; `deltas` are downward closed above it. */
export function foldNotes(
  name: string,
  bases: readonly BaseNote[],
  joined: Base,
  deltas: readonly DeltaNote[],
  rules: FoldRules = FOLD_RULES,
): BaseNote {
  const ordered = [...deltas].sort(compareDeltas)
  const state = applyDeltas(joined, ordered)
  const covered = new Map<string, Covered>(joined.covered)
  for (const base of bases) covered.set(base.name, { counter: base.highest, isBase: true })
  for (const delta of ordered) covered.set(delta.name, { counter: delta.counter, isBase: false })
  const at = ordered.reduce((latest, delta) => Math.max(latest, delta.at), joined.at)
  const passed = Math.min(...bases.map((base) => base.highest))
  const folded: Base = { ...joined, ...state, at, covered, marks: markedAt(joined.marks, at, passed, rules) }
  const lowest = ordered[0]?.counter ?? Number.POSITIVE_INFINITY
  return { ...forgetUpTo(folded, Math.min(horizonOf(folded, rules), lowest - 1)), kind: 'base', name }
}

/** The bases folded here were in the jar, so all that they cover had left it by now: that much may be forgotten `keepMs` from here. */
function markedAt(marks: readonly Mark[], at: number, counter: number, rules: FoldRules): Mark[] {
  const last = marks.at(-1)
  if (last !== undefined && (at < last.at + rules.keepMs / MARKS_PER_KEEP || counter <= last.counter)) return [...marks]
  return [...marks, { at, counter }]
}

function horizonOf(base: Base, rules: FoldRules): number {
  let horizon = base.horizon
  for (const mark of base.marks) if (mark.at <= base.at - rules.keepMs) horizon = Math.max(horizon, mark.counter)
  const excess = base.covered.size - rules.keepNotes
  if (excess <= 0) return horizon
  const counters = [...base.covered.values()].map((entry) => entry.counter).sort((a, b) => a - b)
  return Math.max(horizon, counters[excess - 1] as number)
}
