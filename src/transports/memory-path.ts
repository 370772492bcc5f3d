import type { Runtime, Timer } from '../seam.ts'

/** What happens to frames on their way from one server to another. Chances are between 0 and 1. */
export interface PathFaults {
  /** Fixed, or at random between two bounds. */
  latencyMs?: number | readonly [number, number]
  drop?: number
  duplicate?: number
  /** The frame overtakes the one before it. */
  reorder?: number
}

/** Frames a path keeps before `send` answers false: as a real link's full queue. */
const MAX_QUEUED_BYTES = 16 * 1_048_576

interface Queued {
  readonly frame: Buffer
  dueAt: number
}

/** One direction of one link. Frames arrive in order unless `reorder` says otherwise. */
export interface MemoryPath<M> {
  readonly to: M
  configure(faults: PathFaults): void
  hold(on: boolean): void
  /** False when the queue is full. */
  send(frame: Uint8Array): boolean
  /** Everything still under way is lost. */
  close(): void
}

/** Repeatable numbers in [0, 1): mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function memoryPath<M>(to: M, runtime: Runtime, random: () => number, arrive: (frame: Buffer) => void): MemoryPath<M> {
  const queue: Queued[] = []
  let queuedBytes = 0
  let faults: PathFaults = {}
  let held = false
  let closed = false
  /** Set while a delivery is planned. */
  let planned = false
  let timer: Timer | undefined

  const chance = (share: number | undefined): boolean => share !== undefined && share > 0 && random() < share

  function latency(): number {
    const ms = faults.latencyMs ?? 0
    return typeof ms === 'number' ? ms : ms[0] + random() * (ms[1] - ms[0])
  }

  function plan(): void {
    const head = queue[0]
    if (planned || held || closed || head === undefined) return
    planned = true
    const wait = head.dueAt - runtime.monotonic()
    if (wait <= 0) runtime.defer(deliverDue)
    else timer = runtime.setTimer(wait, deliverDue)
  }

  function deliverDue(): void {
    planned = false
    const now = runtime.monotonic()
    // Frames sent while this runs wait for the next turn.
    for (let left = queue.length; left > 0 && !held && !closed; left--) {
      const head = queue[0]
      if (head === undefined || head.dueAt > now) break
      queue.shift()
      queuedBytes -= head.frame.length
      arrive(head.frame)
    }
    plan()
  }

  function enqueue(frame: Buffer): void {
    const last = queue.at(-1)
    const dueAt = Math.max(runtime.monotonic() + latency(), last?.dueAt ?? 0)
    queuedBytes += frame.length
    if (last !== undefined && chance(faults.reorder)) queue.splice(-1, 0, { frame, dueAt: last.dueAt })
    else queue.push({ frame, dueAt })
  }

  return {
    to,
    configure: (next) => {
      faults = next
    },
    hold(on) {
      held = on
      if (!on) plan()
    },
    send(frame) {
      if (closed || queuedBytes + frame.length > MAX_QUEUED_BYTES) return false
      if (chance(faults.drop)) return true
      // The sender may use its buffer again, as it may after a socket has written it.
      const copy = Buffer.from(frame)
      enqueue(copy)
      if (chance(faults.duplicate)) enqueue(Buffer.from(copy))
      plan()
      return true
    },
    close() {
      closed = true
      timer?.cancel()
      queue.length = 0
      queuedBytes = 0
    },
  }
}
