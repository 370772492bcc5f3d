/** Reads along on the wire: which server acknowledged which write. */
import { decodeFrame, type Message } from '../../src/cluster/messages.ts'
import type { Transport } from '../../src/seam.ts'
import type { History } from './history.ts'

const WRITER = /^"r(\d+)"$/
/** Kinds on the wire, `docs/protocol.md`. */
const DELTA = 1
const RECORD = 2
const ACK = 3

/** Ids of the requests whose values travel in the message. */
export function writersIn(message: Message): number[] {
  if (message.kind !== 'delta' && message.kind !== 'record') return []
  const cells = message.kind === 'delta' ? message.delta.cells : message.record.cells
  return [...cells.values()].flatMap(({ value }) => {
    const id = value === undefined ? undefined : WRITER.exec(value)?.[1]
    return id === undefined ? [] : [Number(id)]
  })
}

/** Whether a message of one of these kinds is in the frame: most frames are pings, not worth decoding. */
export function hasKind(frame: Uint8Array, kinds: readonly number[]): boolean {
  let at = 1
  while (at < frame.length) {
    if (kinds.includes(frame[at] as number)) return true
    let length = 0
    let scale = 1
    for (at++; ; at++) {
      const byte = frame[at] as number
      length += (byte & 0x7f) * scale
      scale *= 128
      if (byte < 0x80) break
    }
    at += 1 + length
  }
  return false
}

export function witness(transport: Transport, node: string, history: History): Transport {
  /** What this server's sequence numbers stand for. */
  const sequences = new Map<number, number[]>()

  function acknowledged(id: number, by: string): void {
    const facts = history.acks.get(id) ?? { by: new Map<string, number>() }
    history.acks.set(id, facts)
    if (!facts.by.has(by)) facts.by.set(by, history.now)
  }

  return {
    ...transport,
    name: transport.name,
    start: (handlers) =>
      transport.start({
        ...handlers,
        frame(peer, frame) {
          for (const message of hasKind(frame, [ACK]) ? decodeFrame(frame) : []) {
            if (message.kind !== 'ack') continue
            for (const sequence of message.sequences) for (const id of sequences.get(sequence) ?? []) acknowledged(id, peer.node)
          }
          handlers.frame(peer, frame)
        },
      }),
    send(incarnation, frame) {
      for (const message of hasKind(frame, [DELTA, RECORD]) ? decodeFrame(frame) : []) {
        if ((message.kind !== 'delta' && message.kind !== 'record') || message.sequence === 0) continue
        const own = writersIn(message).filter((id) => history.requests[id]?.node === node)
        if (!sequences.has(message.sequence)) sequences.set(message.sequence, own)
      }
      return transport.send(incarnation, frame)
    },
  }
}
