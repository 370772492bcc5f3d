import type { Timer } from '../seam.ts'
import { type Core, DEADLINE_MS, tombstoneMessage } from './core.ts'
import { encodeMessage, type MessageOf } from './messages.ts'
import { PARTS, partOf } from './partitions.ts'

/** Streams copies to a server that joins, with back-pressure: so many parts are under way at most. */
export interface Transfer {
  /** Someone asks for its share. */
  serve(incarnation: string, message: MessageOf<'snapshot'>): void
  next(incarnation: string, request: number): void
  /**
   * Pulls the buckets of slots (`partOf`) that are `part` modulo `of` (`of` 0: tombstones only). False: the server went silent on the way.
   * Copies arrive as ordinary records before the part that closes them.
   */
  pull(incarnation: string, part: number, of: number): Promise<boolean>
  part(incarnation: string, message: MessageOf<'snapshot-part'>): void
  down(incarnation: string): void
}

const PART_BYTES = 64 * 1024
const WINDOW = 16
/** Sessions looked at between two looks at the clock. */
const LOOK_EVERY = 64
const SLICE_MS = 5
/** A server that sends no part for this long is no source; one that dies is found sooner, by its link. */
const PATIENCE_MS = 2 * DEADLINE_MS
/** A timer this late tells that this server stood still, not the other. */
const STALLED_MS = 250

interface Stream {
  readonly incarnation: string
  readonly request: number
  /** Undefined: looked at many that are not for the other server. */
  readonly messages: Iterator<Buffer | undefined>
  /** Parts that the other server is ready for. */
  wanted: number
  /** Of the present part, so far. */
  bytes: number
  isPaused: boolean
}

interface Pull {
  readonly incarnation: string
  timer: Timer
  finish(done: boolean): void
}

export function createTransfer(core: Core): Transfer {
  const { context, entries, members, outbox, placement } = core
  const streams = new Map<string, Stream>()
  const pulls = new Map<number, Pull>()

  /** With few copies every holder has the key: only the first that is ready sends it. */
  function isShareOf(key: string, incarnation: string): boolean {
    const { policy } = core.options
    if (policy.kind !== 'first') return true
    const order = placement.preference(key)
    const wanted = order.slice(0, policy.copies).some((member) => member.incarnation === incarnation)
    return wanted && order.find((member) => member.state === 'ready') === members.self
  }

  function* share(incarnation: string, part: number, of: number): Generator<Buffer | undefined> {
    let looked = 0
    for (const [key, tombstone] of entries.tombstones()) {
      if (++looked % LOOK_EVERY === 0) yield undefined
      if (of === 0 || partOf(key) % of === part) yield encodeMessage(tombstoneMessage(core, key, tombstone))
    }
    if (of === 0) return
    for (let bucket = part; bucket < PARTS; bucket += of) {
      for (const entry of entries.allOf(bucket)) {
        if (++looked % LOOK_EVERY === 0) yield undefined
        if (isShareOf(entry.key, incarnation))
          yield encodeMessage({ kind: 'record', sequence: 0, request: 0, claim: 'none', record: entry.peek() })
      }
    }
  }

  /** Sends the parts that are wanted, and stops for requests in between. */
  function pump(stream: Stream): void {
    const id = `${stream.incarnation}${stream.request}`
    const endsAt = context.runtime.monotonic() + SLICE_MS
    while (stream.wanted > 0 && !stream.isPaused && streams.get(id) === stream) {
      const { done, value } = stream.messages.next()
      if (value instanceof Buffer) {
        stream.bytes += value.length
        outbox.post(stream.incarnation, value)
      }
      if (done === true || stream.bytes >= PART_BYTES) endPart(stream, id, done === true)
      else if (value === undefined && context.runtime.monotonic() > endsAt) pause(stream)
    }
  }

  function endPart(stream: Stream, id: string, last: boolean): void {
    stream.wanted--
    stream.bytes = 0
    core.post(stream.incarnation, { kind: 'snapshot-part', request: stream.request, last })
    if (last) streams.delete(id)
  }

  function pause(stream: Stream): void {
    stream.isPaused = true
    context.runtime.defer(() => {
      stream.isPaused = false
      pump(stream)
    })
  }

  function awaitPart(request: number): Timer {
    const dueAt = context.runtime.monotonic() + PATIENCE_MS
    return context.runtime.setTimer(PATIENCE_MS, () => {
      const pull = pulls.get(request)
      if (pull === undefined) return
      if (context.runtime.monotonic() - dueAt > STALLED_MS) pull.timer = awaitPart(request)
      else pull.finish(false)
    })
  }

  return {
    serve(incarnation, { of, part, request }) {
      const messages = share(incarnation, part, of)
      const stream: Stream = { incarnation, request, messages, wanted: WINDOW, bytes: 0, isPaused: false }
      streams.set(`${incarnation}${request}`, stream)
      pump(stream)
    },
    next(incarnation, request) {
      const stream = streams.get(`${incarnation}${request}`)
      if (stream === undefined) return
      stream.wanted++
      pump(stream)
    },
    pull(incarnation, part, of) {
      const request = core.requests.next()
      return new Promise((resolve) => {
        const pull: Pull = {
          incarnation,
          timer: awaitPart(request),
          finish(done) {
            pull.timer.cancel()
            pulls.delete(request)
            resolve(done)
          },
        }
        pulls.set(request, pull)
        core.post(incarnation, { kind: 'snapshot', request, part, of })
      })
    },
    part(incarnation, { last, request }) {
      const pull = pulls.get(request)
      if (pull?.incarnation !== incarnation) return
      if (last) return pull.finish(true)
      pull.timer.cancel()
      pull.timer = awaitPart(request)
      core.post(incarnation, { kind: 'snapshot-next', request })
    },
    down(incarnation) {
      for (const pull of [...pulls.values()]) if (pull.incarnation === incarnation) pull.finish(false)
      for (const [id, stream] of streams) if (stream.incarnation === incarnation) streams.delete(id)
    },
  }
}
