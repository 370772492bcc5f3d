import type { Runtime, Transport } from '../seam.ts'
import { PROTOCOL_VERSION } from './messages.ts'

/** Messages of one tick to one server travel in one frame, up to this size. */
const FRAME_BYTES = 256 * 1024

export interface Outbox {
  /** Queues an encoded message. */
  post(incarnation: string, message: Buffer): void
  /** Sends what is queued now. */
  flush(): void
  /** A frame was not taken: what it held has to be mended. */
  onDropped(listener: (incarnation: string) => void): void
}

/** What a transport moves at most, less the version byte. */
const LARGEST_MESSAGE = 1_048_575

/** `tooLarge` hears of a message no frame can carry: it is not sent. */
export function createOutbox(transport: Transport, runtime: Runtime, tooLarge: () => void): Outbox {
  const queues = new Map<string, Buffer[]>()
  const version = Buffer.from([PROTOCOL_VERSION])
  let scheduled = false
  let dropped: ((incarnation: string) => void) | undefined

  function flush(): void {
    scheduled = false
    for (const [incarnation, messages] of queues) {
      queues.delete(incarnation)
      sendAll(incarnation, messages)
    }
  }

  function sendAll(incarnation: string, messages: readonly Buffer[]): void {
    let frame: Buffer[] = [version]
    let bytes = 1
    for (const message of messages) {
      if (bytes > 1 && bytes + message.length > FRAME_BYTES) {
        sendFrame(incarnation, Buffer.concat(frame, bytes))
        frame = [version]
        bytes = 1
      }
      frame.push(message)
      bytes += message.length
    }
    sendFrame(incarnation, Buffer.concat(frame, bytes))
  }

  function sendFrame(incarnation: string, frame: Buffer): void {
    if (!transport.send(incarnation, frame)) dropped?.(incarnation)
  }

  return {
    post(incarnation, message) {
      if (message.length > LARGEST_MESSAGE) return tooLarge()
      const queue = queues.get(incarnation)
      if (queue === undefined) queues.set(incarnation, [message])
      else queue.push(message)
      if (scheduled) return
      scheduled = true
      runtime.defer(flush)
    },
    flush,
    onDropped(listener) {
      dropped = listener
    },
  }
}
