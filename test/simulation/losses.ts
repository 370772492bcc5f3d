/** What may be lost: more than `acks` servers died together, or the write had not been confirmed by enough of them. */
import type { History, RequestFacts } from './history.ts'
import type { Plan } from './plan.ts'

interface Span {
  readonly from: number
  readonly to: number
}

interface Death {
  readonly at: number
  readonly node: string
  /** Deaths with the same number fell into one time without repair. */
  readonly wave: number
  /** Servers that were there when the wave began. */
  readonly living: number
  /** It left in peace, and had somebody to leave its sessions to. */
  readonly isPeaceful: boolean
}

/** Those that are left send each other what has too few copies within this time. */
const REPAIR_MS = 1_000
/** Draining takes no longer. */
const LEAVE_MS = 6_000
/** Where frames are lost, the rounds of repair find what is missing. */
const LOSSY_REPAIR_MS = 20_000

const OPENS: Record<string, string> = { partition: 'heal', pause: 'resume', hold: 'release', leave: 'left' }

export class Losses {
  readonly #plan: Plan
  readonly #history: History
  readonly #troubles: readonly Span[]
  readonly deaths: readonly Death[]

  constructor(plan: Plan, history: History) {
    this.#plan = plan
    this.#history = history
    this.#troubles = troublesOf(history)
    this.deaths = this.#waves()
  }

  #waves(): Death[] {
    const deaths: Death[] = []
    const living = new Set<string>()
    let wave = 0
    let atStart = 0
    let repairedAt = Number.NEGATIVE_INFINITY
    for (const { at, kind, node = '' } of this.#history.faults) {
      if (kind === 'ready') living.add(node)
      if (kind !== 'crash' && kind !== 'left') continue
      if (at > repairedAt) {
        wave++
        atStart = living.size
      }
      living.delete(node)
      repairedAt = Math.max(repairedAt, this.#repairedAfter(at))
      const isPeaceful = kind === 'left' && !this.wasTroubled(at - LEAVE_MS, at, ['partition', 'pause', 'hold'])
      deaths.push({ at, node, wave, living: atStart, isPeaceful })
    }
    return deaths
  }

  #repairedAfter(at: number): number {
    const wait = this.#plan.drop > 0 ? LOSSY_REPAIR_MS : REPAIR_MS
    let end = at + wait
    for (let before = -1; before !== end; ) {
      before = end
      for (const { from, to } of this.#troubles) if (from <= end && to >= at) end = Math.max(end, to + wait)
    }
    return end
  }

  /** True when the write may be gone by `at`. */
  mayLose({ request }: { readonly request: RequestFacts }, at: number): boolean {
    const from = request.arrivedAt
    const deaths = this.deaths.filter((death) => death.at >= from && death.at <= at)
    const wasConfirmed = (death: number): boolean => request.outcome === 'ok' && request.endedAt <= death
    if (deaths.some((death) => !wasConfirmed(death.at))) return true
    if (deaths.length > 0 && this.wasDegraded(request)) return true
    return deaths.some(({ living, wave }) => {
      const together = deaths.filter((death) => death.wave === wave)
      return together.filter(({ isPeaceful }) => !isPeaceful).length > this.#plan.acks || together.length >= living
    })
  }

  /** Its server told that writes are confirmed by fewer servers than asked for. */
  wasDegraded({ arrivedAt, endedAt, node }: RequestFacts): boolean {
    return this.#history.degraded.some((span) => span.node === node && span.from <= endedAt && span.to >= arrivedAt)
  }

  /** So many servers died in one go that no majority of those which knew is left. */
  majorityDied(since: number, at: number): boolean {
    const most = Math.floor(this.#plan.nodes.length / 2)
    const waves = new Map<number, number>()
    for (const death of this.deaths) if (death.at >= since && death.at <= at) waves.set(death.wave, (waves.get(death.wave) ?? 0) + 1)
    return [...waves.values()].some((count) => count > most)
  }

  /** A server had died, or left, and was not back then. */
  isAnyoneDown(at: number): boolean {
    const down = new Set<string>()
    for (const fault of this.#history.faults) {
      if (fault.at > at) break
      if (fault.kind === 'crash' || fault.kind === 'left') down.add(fault.node ?? '')
      if (fault.kind === 'start') down.delete(fault.node ?? '')
    }
    return down.size > 0
  }

  /** Some fault of these kinds was at work then. */
  wasTroubled(from: number, to: number, kinds: readonly string[]): boolean {
    const opened = new Map<string, number>()
    for (const { at, detail, kind, node } of this.#history.faults) {
      if (kinds.includes(kind) && at >= from && at <= to) return true
      if (at < from && kinds.includes(kind) && OPENS[kind] !== undefined) opened.set(`${OPENS[kind]}${idOf(kind, node, detail)}`, at)
      if (at < from) opened.delete(`${kind}${idOf(kind, node, detail)}`)
    }
    return opened.size > 0
  }
}

function idOf(kind: string, node: string | undefined, detail: string): string {
  return kind === 'partition' || kind === 'heal' ? '' : `${node ?? ''}${kind === 'hold' || kind === 'release' ? detail : ''}`
}

function troublesOf(history: History): Span[] {
  const spans: Span[] = []
  const opened = new Map<string, number>()
  for (const { at, detail, kind, node } of history.faults) {
    const closes = `${kind}${idOf(kind, node, detail)}`
    const from = opened.get(closes)
    if (from !== undefined) {
      spans.push({ from, to: at })
      opened.delete(closes)
    }
    const closing = OPENS[kind]
    if (closing !== undefined && !opened.has(`${closing}${idOf(kind, node, detail)}`))
      opened.set(`${closing}${idOf(kind, node, detail)}`, at)
  }
  for (const from of opened.values()) spans.push({ from, to: history.now })
  return spans
}
