/** Turns a request's changes into cookies: the first plan that fits is sealed. */
import { applyDeltas, type DeltaNote, type JournalNote, newDelta } from '../core/journal.ts'
import type { Cells } from '../core/merge.ts'
import { newNoteName } from '../core/note.ts'
import { SessionError } from '../errors.ts'
import type { Change, StrategyContext, Written } from '../seam.ts'
import * as budget from './cookie-budget.ts'
import type { CookieCache } from './cookie-cache.ts'
import { type CookieNotes, cookieNamesOf, type PreparedNote } from './cookie-notes.ts'
import type { CookieOpened } from './cookie-opened.ts'
import { type CookieParts, LARGE_BASE_BYTES, type Plan, plansFor, wholePlan } from './cookie-plans.ts'
import { CookieRecord } from './cookie-record.ts'
import { LargeAnswers } from './large-answers.ts'

const FOLD_AGE_MS = 60_000
/** Later, what the request had seen could be forgotten before its note arrives (names are kept 10 minutes). */
const WRITE_AGE_MS = 8 * 60_000

export interface CommitLimits {
  readonly maxHeaderBytes: number
  /** There is a store for large fields. */
  readonly overflow: boolean
}

export class CookieCommits {
  readonly #context: StrategyContext
  readonly #notes: CookieNotes
  readonly #cache: CookieCache
  readonly #limits: CommitLimits
  readonly #ceiling: number
  readonly #parts: CookieParts
  readonly #large = new LargeAnswers()

  constructor(context: StrategyContext, notes: CookieNotes, cache: CookieCache, limits: CommitLimits, parts: CookieParts) {
    this.#context = context
    this.#notes = notes
    this.#cache = cache
    this.#limits = limits
    this.#ceiling = Math.max(budget.HEADER_CEILING, 2 * limits.maxHeaderBytes + 2 * budget.MEMORY_BYTES)
    this.#parts = parts
  }

  /** Throws FIELD_INVALID, and SESSION_UNAVAILABLE when the request is too old. */
  delta(from: CookieOpened, change: Change): DeltaNote {
    if (this.#age(from) > WRITE_AGE_MS) {
      throw new SessionError(
        'SESSION_UNAVAILABLE',
        'The request is older than 8 minutes: its changes can no longer be merged and were not stored. Call save() before long work.',
      )
    }
    const now = Math.max(0, Math.round(this.#context.runtime.now()))
    return newDelta(from.state, this.#freshName(from), from.heads, { ...change, touchAt: Math.round(change.touchAt) }, now)
  }

  /** Undefined: it does not fit. */
  commit(from: CookieOpened, delta: DeltaNote): Written | undefined {
    let fits: boolean | undefined
    const wholeFits = (): boolean => (fits ??= this.#wholeFits(from, delta))
    const lot = (): number => (this.#context.runtime.randomBytes(1)[0] as number) / 256
    const foldsUnderWay = this.#underWay(from, new Set()) > 0
    for (const plan of plansFor(from, delta, { young: this.isYoung(from), foldsUnderWay, lot }, this.#parts)) {
      if (plan.bases > 0 && plan.overdraft !== true && this.#isCrowded(from) && lot() > budget.CROWDED_FOLDS) throw budget.tooManyAtOnce()
      const written = this.#tryPlan(from, delta, plan, wholeFits)
      if (written !== undefined) return written
    }
    return undefined
  }

  /** The write as part of one base, in which `replaced` stands for values that lie in the store now. Undefined: it does not fit. */
  commitWhole(from: CookieOpened, delta: DeltaNote, replaced: ReadonlyMap<string, string>): Written | undefined {
    if (from.journal === undefined) return undefined
    const plan = wholePlan(this.#parts, from, from.journal, delta)
    const notes = plan.notes.map((note) => (note.kind === 'base' ? { ...note, cells: withValues(note.cells, replaced) } : note))
    const after = applyDeltas(from.state, [delta])
    const state = { ...after, cells: withValues(after.cells, replaced) }
    return this.#tryPlan({ ...from, state }, undefined, { ...plan, notes }, () => true)
  }

  /** Throws COOKIE_TOO_LARGE for a write that did not fit. */
  refuse(from: CookieOpened, delta: DeltaNote): never {
    const record = new CookieRecord(from.id.key, applyDeltas(from.state, [delta]), from.spilled)
    let ours = 0
    for (const bytes of from.sizes.values()) ours += bytes
    const limits = { ...this.#limits, otherBytes: Math.max(0, from.headerBytes - ours) }
    throw budget.tooLarge(record, [...delta.sets.keys(), ...delta.adds.keys()], limits)
  }

  isYoung(from: CookieOpened): boolean {
    return this.#age(from) <= FOLD_AGE_MS
  }

  #age(from: CookieOpened): number {
    return this.#context.runtime.monotonic() - from.openedAt
  }

  #isCrowded({ headerBytes }: CookieOpened): boolean {
    return headerBytes > this.#limits.maxHeaderBytes + budget.CROWDED_BYTES
  }

  #freshName(from: CookieOpened): string {
    const joined = from.journal?.joined.covered
    for (;;) {
      const name = newNoteName(this.#context.runtime)
      if (!from.sizes.has(name) && joined?.has(name) !== true) return name
    }
  }

  /** `delta` is not part of `from.state` yet; undefined: it is. */
  #tryPlan(from: CookieOpened, delta: DeltaNote | undefined, plan: Plan, wholeFits: () => boolean): Written | undefined {
    const prepared: PreparedNote[] = []
    for (const note of plan.notes) {
      const one = this.#notes.prepare(note)
      if (one === undefined) return undefined
      prepared.push(one)
    }
    const removed = [...plan.folded.flatMap((name) => cookieNamesOf(name, from.sizes)), ...from.waste]
    const sizes = new Map(from.sizes)
    let headerBytes = from.headerBytes
    for (const name of removed) {
      headerBytes -= sizes.get(name) ?? 0
      sizes.delete(name)
    }
    for (const { bytes } of prepared) headerBytes += bytes
    const first = (prepared[0] as PreparedNote).bytes
    const added = (prepared.at(-1) as PreparedNote).bytes
    if (headerBytes > this.#limitOf(plan, added, wholeFits) || headerBytes + plan.bases * first > this.#ceiling) return undefined
    if (sizes.size + prepared.length > budget.COOKIES_MAX && headerBytes > from.headerBytes) return undefined
    this.#leaveRoom(from, prepared, headerBytes)
    return this.#sealed(from, delta, prepared, { removed, sizes, headerBytes })
  }

  #limitOf(plan: Plan, added: number, wholeFits: () => boolean): number {
    const { maxHeaderBytes } = this.#limits
    if (plan.overdraft === true) {
      const isSmall = added <= budget.SMALL_NOTE_BYTES && wholeFits()
      return isSmall ? this.#ceiling - budget.OVERDRAFT_MARGIN : maxHeaderBytes
    }
    return plan.bases > 0 && added > LARGE_BASE_BYTES ? maxHeaderBytes + budget.MEMORY_BYTES : maxHeaderBytes
  }

  /** Folded, all this stays within the budget. */
  #wholeFits(from: CookieOpened, delta: DeltaNote): boolean {
    if (from.journal === undefined) return true
    const [base] = wholePlan(this.#parts, from, from.journal, delta).notes
    const prepared = this.#notes.prepare(base as JournalNote)
    let ours = 0
    for (const bytes of from.sizes.values()) ours += bytes
    return prepared !== undefined && from.headerBytes - ours + prepared.bytes <= this.#limits.maxHeaderBytes + budget.MEMORY_BYTES
  }

  /** Large answers of this server that are still under way arrive in the same jar: together they must not lock the visitor out. */
  #leaveRoom(from: CookieOpened, prepared: readonly PreparedNote[], headerBytes: number): void {
    const large = prepared.filter(({ bytes }) => bytes > budget.LARGE_NOTE_BYTES)
    if (large.length === 0) return
    const others = this.#underWay(from, new Set(large.map(({ note }) => note.name)))
    if (others > 0 && headerBytes + others > this.#ceiling) throw budget.tooManyAtOnce()
    for (const { note, bytes } of large) this.#large.add(from.id.id, { name: note.name, bytes, at: this.#context.runtime.monotonic() })
  }

  #underWay(from: CookieOpened, again: ReadonlySet<string>): number {
    const covered = from.journal?.joined.covered
    const isHere = (name: string): boolean => again.has(name) || from.sizes.has(name) || covered?.has(name) === true
    return this.#large.underWay(from.id.id, this.#context.runtime.monotonic(), isHere)
  }

  #sealed(
    from: CookieOpened,
    delta: DeltaNote | undefined,
    prepared: readonly PreparedNote[],
    jar: { removed: string[]; sizes: Map<string, number>; headerBytes: number },
  ): Written {
    const sealed = prepared.map((one) => this.#notes.seal(from.id.id, one))
    this.#cache.add(
      from.id.id,
      sealed.map((one) => one.opened),
    )
    const set = sealed.flatMap((one) => one.cookies)
    for (const { name, value } of set) jar.sizes.set(name, this.#notes.cookieBytes(name.length, value.length))
    const state = delta === undefined ? from.state : applyDeltas(from.state, [delta])
    const opened: CookieOpened = {
      ...from,
      record: new CookieRecord(from.id.key, state, from.spilled),
      journal: undefined,
      state,
      heads: [(prepared.at(-1) as PreparedNote).note.name],
      sizes: jar.sizes,
      headerBytes: jar.headerBytes,
      waste: [],
      stale: [],
    }
    return { opened, jar: { set, delete: jar.removed } }
  }
}

function withValues(cells: Cells, replaced: ReadonlyMap<string, string>): Cells {
  if (replaced.size === 0) return cells
  const after = new Map(cells)
  for (const [field, value] of replaced) {
    const cell = cells.get(field)
    if (cell?.value !== undefined) after.set(field, { ...cell, value })
  }
  return after
}
