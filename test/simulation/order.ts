/**
 * Of two writes of one field the same one wins wherever both are known. So every read, and every write, says which writes
 * lost: those its copy must have covered. These sayings have to fit into one order; a circle in them is a stale read, a lost
 * write or a copy that came before what it was made from (Terry et al., "Session guarantees", 1994).
 */
import { bitsOf, digitOf, seenIn, type SessionFacts, type WriteFacts } from './history.ts'

export interface Reader {
  readonly name: string
  /** Writes that the copy it read has to cover. */
  readonly covers: bigint
  readonly reads: ReadonlyMap<string, unknown>
}

type Report = (what: string) => void

const ASSIGNS = ['set', 'remove', 'append']

class FieldOrder {
  readonly session: SessionFacts
  readonly field: string
  /** All writes that assign the field. */
  readonly assigns: bigint
  readonly #losers = new Map<number, Map<number, string>>()
  readonly #report: Report

  constructor(session: SessionFacts, field: string, report: Report) {
    this.session = session
    this.field = field
    this.#report = report
    let assigns = 0n
    session.writes.forEach((write, bit) => {
      const change = write.changes.get(field)
      if (change !== undefined && ASSIGNS.includes(change.kind)) assigns |= 1n << BigInt(bit)
    })
    this.assigns = assigns
    for (const winner of bitsOf(assigns)) {
      const write = session.writes[winner] as WriteFacts
      for (const loser of bitsOf(write.knows & assigns)) this.#beats(winner, loser, `r${write.request.id} wrote over what it knew`)
    }
  }

  #beats(winner: number, loser: number, why: string): void {
    if (winner === loser) return
    const losers = this.#losers.get(winner) ?? new Map<number, string>()
    this.#losers.set(winner, losers)
    if (losers.has(loser)) return
    const circle = this.#path(loser, winner)
    losers.set(loser, why)
    if (circle === undefined) return
    const steps = [...circle, why].join('; ')
    this.#report(`${this.field}: ${this.#name(winner)} must be later than ${this.#name(loser)}, and cannot be: ${steps}`)
  }

  /** Why one beats the other, by way of others. */
  #path(winner: number, loser: number, seen: Set<number> = new Set()): string[] | undefined {
    if (winner === loser) return []
    seen.add(winner)
    for (const [next, why] of this.#losers.get(winner) ?? []) {
      if (seen.has(next)) continue
      const rest = this.#path(next, loser, seen)
      if (rest !== undefined) return [why, ...rest]
    }
    return undefined
  }

  #name(bit: number): string {
    return `r${this.session.writes[bit]?.request.id}`
  }

  read(reader: Reader, value: unknown): void {
    const { session } = this
    const covered = reader.covers & this.assigns
    if (value === undefined) return this.#absent(reader, covered)
    const last: unknown = Array.isArray(value) ? (value as unknown[]).at(-1) : value
    const bit = session.writes.findIndex((write) => write.changes.has(this.field) && last === `r${write.request.id}`)
    if (bit >= 0) {
      for (const loser of bitsOf(covered)) this.#beats(bit, loser, `${reader.name} read ${this.#name(bit)}`)
      return
    }
    if (String(session.genesis.get(this.field)) !== String(value)) {
      this.#report(`${this.field}: ${reader.name} read ${String(value)}, which nobody wrote to ${session.name}`)
    } else if (covered !== 0n) {
      const lost = bitsOf(covered).map((one) => this.#name(one))
      this.#report(`${this.field}: ${reader.name} read what the session began with, and knew of ${lost.join(' ')}`)
    }
  }

  /** A removal leaves no name: one of them has to fit. */
  #absent(reader: Reader, covered: bigint): void {
    if (covered === 0n && !this.session.genesis.has(this.field)) return
    const removals = bitsOf(this.assigns).filter((bit) => this.session.writes[bit]?.changes.get(this.field)?.kind === 'remove')
    const fits = (removal: number): boolean => bitsOf(covered).every((bit) => bit === removal || this.#path(bit, removal) === undefined)
    if (this.session.genesis.get(this.field) === undefined && covered === 0n) return
    if (removals.some(fits)) return
    const lost = bitsOf(covered).map((bit) => this.#name(bit))
    this.#report(`${this.field}: ${reader.name} read nothing, and knew of ${lost.join(' ') || 'what the session began with'}`)
  }
}

/** Everything `readers` saw of one session, in order. */
export function checkOrder(session: SessionFacts, readers: readonly Reader[], report: Report): void {
  const orders = new Map<string, FieldOrder>()
  for (const reader of readers) {
    let { covers } = reader
    for (const [field, value] of reader.reads) covers |= seenIn(session, field, value)
    for (const [field, value] of reader.reads) {
      if (isCounter(session, field, value)) checkSum(session, field, Number(value ?? 0), covers, reader, report)
      else {
        const order = orders.get(field) ?? new FieldOrder(session, field, report)
        orders.set(field, order)
        order.read({ ...reader, covers }, value)
      }
    }
  }
}

function isCounter(session: SessionFacts, field: string, value: unknown): boolean {
  return typeof value === 'number' || session.writes.some((write) => write.changes.get(field)?.kind === 'add')
}

function checkSum(session: SessionFacts, field: string, sum: number, covers: bigint, reader: Reader, report: Report): void {
  const genesis = Number(session.genesis.get(field) ?? 0)
  let left = sum - genesis
  session.writes.forEach((write, bit) => {
    const change = write.changes.get(field)
    if (change?.kind !== 'add') return
    const times = digitOf(sum, change.digit)
    left -= times * 4 ** change.digit
    if (times > 1) report(`${field}: ${reader.name} read a sum in which r${write.request.id} counts ${times} times`)
    if (times === 0 && ((covers >> BigInt(bit)) & 1n) === 1n)
      report(`${field}: ${reader.name} read a sum without r${write.request.id}, and knew of it`)
  })
  if (left !== 0) report(`${field}: ${reader.name} read ${sum}, of which nobody added ${left}`)
}
