import type { Timer } from '../seam.ts'
import { type Core, DEADLINE_MS, tombstoneMessage } from './core.ts'
import { encodeMessage, type MessageOf } from './messages.ts'
import { slotOf } from './placement.ts'

/** Streams copies to a server that joins, with back-pressure: so many parts are under way at most. */
export interface Transfer {
  /** Someone asks for its share. */
  serve(incarnation: string, message: MessageOf<'snapshot'>): void
  next(incarnation: string, request: number): void
  /**
   * Pulls the slots that are `part` modulo `of` (`of` 0: tombstones only). False: the server went silent on the way.
   * Copies arrive as ordinary records before the part that closes them.
   */
  pull(incarnation: string, part: number, of: number): Promise<boolean>
  part(incarnation: string, message: MessageOf<'snapshot-part'>): void
  down(incarnation: string): void
}

const PART_BYTES = 64 * 1024
const WINDOW = 4

interface Stream {
  readonly incarnation: string
  readonly request: number
  readonly messages: Iterator<Buffer>
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

  function* share(incarnation: string, part: number, of: number): Generator<Buffer> {
    for (const [key, tombstone] of entries.tombstones()) yield encodeMessage(tombstoneMessage(core, key, tombstone))
    if (of === 0) return
    for (const { record } of entries.all()) {
      if (slotOf(record.key) % of !== part || !isShareOf(record.key, incarnation)) continue
      yield encodeMessage({ kind: 'record', sequence: 0, request: 0, claim: 'none', record })
    }
  }

  function sendPart(stream: Stream): void {
    let bytes = 0
    let last = false
    while (bytes < PART_BYTES && !last) {
      const { done, value } = stream.messages.next()
      last = done === true
      if (value === undefined) continue
      bytes += (value as Buffer).length
      outbox.post(stream.incarnation, value as Buffer)
    }
    core.post(stream.incarnation, { kind: 'snapshot-part', request: stream.request, last })
    if (last) streams.delete(`${stream.incarnation}${stream.request}`)
  }

  function restart(request: number, pull: Pull): void {
    pull.timer.cancel()
    pull.timer = context.runtime.setTimer(DEADLINE_MS, () => pulls.get(request)?.finish(false))
  }

  return {
    serve(incarnation, { of, part, request }) {
      const stream: Stream = { incarnation, request, messages: share(incarnation, part, of) }
      const id = `${incarnation}${request}`
      streams.set(id, stream)
      for (let sent = 0; sent < WINDOW && streams.has(id); sent++) sendPart(stream)
    },
    next(incarnation, request) {
      const stream = streams.get(`${incarnation}${request}`)
      if (stream !== undefined) sendPart(stream)
    },
    pull(incarnation, part, of) {
      const request = core.requests.next()
      return new Promise((resolve) => {
        const pull: Pull = {
          incarnation,
          timer: context.runtime.setTimer(DEADLINE_MS, () => pulls.get(request)?.finish(false)),
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
      restart(request, pull)
      core.post(incarnation, { kind: 'snapshot-next', request })
    },
    down(incarnation) {
      for (const pull of [...pulls.values()]) if (pull.incarnation === incarnation) pull.finish(false)
      for (const [id, stream] of streams) if (stream.incarnation === incarnation) streams.delete(id)
    },
  }
}
