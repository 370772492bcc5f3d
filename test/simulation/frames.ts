/** Looks into, alters, drops and makes frames between a server and its transport. */
import { decodeFrame, encodeMessage, type Message, PROTOCOL_VERSION } from '../../src/cluster/messages.ts'
import type { Peer, Transport, TransportHandlers } from '../../src/seam.ts'

export interface Wire {
  /** Hands a frame to the server as if the peer had sent it. */
  inject(peer: Peer, frame: Buffer): void
  /** Sends once this message has been handled. */
  send(incarnation: string, frame: Buffer): void
  sendNow(incarnation: string, frame: Buffer): void
  peers(): readonly Peer[]
}

export interface Filter {
  /** What the server gets to see in its place; undefined: nothing. */
  incoming?(message: Message, peer: Peer, wire: Wire): Message | undefined
  outgoing?(message: Message, incarnation: string, wire: Wire): Message | undefined
}

export function frameOf(...messages: readonly Message[]): Buffer {
  return Buffer.concat([Buffer.from([PROTOCOL_VERSION]), ...messages.map(encodeMessage)])
}

export function filtered(transport: Transport, { incoming, outgoing }: Filter): Transport {
  let handlers: TransportHandlers | undefined
  const wire: Wire = {
    inject: (peer, frame) => handlers?.frame(peer, frame),
    send: (incarnation, frame) => handlers?.runtime.defer(() => void transport.send(incarnation, frame)),
    sendNow: (incarnation, frame) => void transport.send(incarnation, frame),
    peers: () => transport.peers(),
  }
  const kept = (frame: Uint8Array, look: (message: Message) => Message | undefined): Buffer | undefined => {
    const messages = decodeFrame(frame).flatMap((message) => look(message) ?? [])
    return messages.length === 0 ? undefined : frameOf(...messages)
  }
  return {
    ...transport,
    name: transport.name,
    start(given) {
      handlers = given
      return transport.start({
        ...given,
        frame(peer, frame) {
          const rest = incoming === undefined ? frame : kept(frame, (message) => incoming(message, peer, wire))
          if (rest !== undefined) given.frame(peer, rest)
        },
      })
    },
    send(incarnation, frame) {
      const rest = outgoing === undefined ? frame : kept(frame, (message) => outgoing(message, incarnation, wire))
      return rest === undefined || transport.send(incarnation, rest)
    },
  }
}
