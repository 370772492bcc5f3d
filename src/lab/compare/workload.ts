/** What the visitors of a comparison do, and when: drawn from a seed, so that every strategy meets the same. */
import { createHash } from 'node:crypto'

export interface WorkloadOptions {
  readonly seed: number
  readonly visitors: number
  readonly seconds: number
  /** Of all visitors together. */
  readonly actionsPerSecond: number
  /** 0 to 1: the part of the actions that write. */
  readonly writeShare: number
  /** A session holds this many fields of this size. */
  readonly fields: number
  readonly fieldBytes: number
}

/** `pair`: two requests at once that write different fields, as two tabs do. */
export interface Action {
  /** Milliseconds after the start. */
  readonly atMs: number
  readonly kind: 'read' | 'write' | 'pair'
  /** The field a write sets, the second one of a pair. */
  readonly fields: readonly [number, number]
}

export interface Workload extends WorkloadOptions {
  /** Of each visitor, in order. */
  readonly actions: readonly (readonly Action[])[]
  /** Equal for equal workloads: 16 hex digits. */
  readonly fingerprint: string
}

/** Of the writes, those that come in pairs. */
const PAIR_SHARE = 0.2

export function createWorkload(options: WorkloadOptions): Workload {
  const random = generator(options.seed)
  const each = options.visitors / options.actionsPerSecond
  const actions = Array.from({ length: options.visitors }, () => {
    const own: Action[] = []
    for (let at = random() * each; at < options.seconds; at += each * (0.5 + random())) own.push(draw(random, at, options))
    return own
  })
  const fingerprint = createHash('sha256')
    .update(JSON.stringify([options, actions]))
    .digest('hex')
    .slice(0, 16)
  return { ...options, actions, fingerprint }
}

function draw(random: () => number, at: number, { writeShare, fields }: WorkloadOptions): Action {
  const first = Math.floor(random() * fields)
  const second = (first + 1 + Math.floor(random() * (fields - 1))) % fields
  const isWrite = random() < writeShare
  const kind = !isWrite ? 'read' : random() < PAIR_SHARE ? 'pair' : 'write'
  return { atMs: Math.round(at * 1_000), kind, fields: [first, second] }
}

/** Mulberry32: small, and the same on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
