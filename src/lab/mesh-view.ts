/** Looks at what a server says to the others: how much to whom, and which of them hold a session. */
import { decodeFrame, encodeMessage, type Message, PROTOCOL_VERSION } from '../cluster/messages.ts'
import type { Peer, Transport, TransportHandlers } from '../seam.ts'
import type { Holding } from './messages.ts'

/** Smaller frames are pings and acknowledgements: they carry no session. */
const SESSION_FRAME_BYTES = 96
/** The table counts its own requests up from 1: an answer to one of these is nobody else's. */
const FIRST_REQUEST = 2 ** 40
const ANSWER_MS = 400

export interface MeshView {
  /** Frames with sessions in them, by the name of the server they went to. */
  readonly sentTo: Readonly<Record<string, number>>
  /** Asks the other servers, each for itself. Who does not answer in time is left out. */
  holders(key: string): Promise<Readonly<Record<string, Holding>>>
}

/** Before the strategy starts the transport. */
export function watchMesh(transport: Transport): MeshView {
  const sentTo: Record<string, number> = {}
  const nodes = new Map<string, string>()
  const asked = new Map<number, (holding: Holding) => void>()
  let nextRequest = FIRST_REQUEST
  const start = transport.start.bind(transport)
  const send = transport.send.bind(transport)

  /** The frame without the answers to this view: the server itself did not ask and must not keep a copy. */
  function withoutAnswers(bytes: Buffer): Buffer | undefined {
    const messages = decodeFrame(bytes)
    const rest = messages.filter((message) => !take(message))
    if (rest.length === messages.length) return bytes
    return rest.length === 0 ? undefined : Buffer.concat([Buffer.of(PROTOCOL_VERSION), ...rest.map(encodeMessage)])
  }

  function take(message: Message): boolean {
    if (message.kind !== 'record' && message.kind !== 'not-held' && message.kind !== 'tombstone') return false
    const answer = asked.get(message.request)
    if (answer !== undefined) answer(holdingOf(message))
    return message.request >= FIRST_REQUEST
  }

  function ask(peer: Peer, key: string): Promise<Holding | undefined> {
    const request = nextRequest++
    return new Promise((resolve) => {
      const settle = (holding: Holding | undefined): void => {
        clearTimeout(timer)
        asked.delete(request)
        resolve(holding)
      }
      const timer = setTimeout(() => settle(undefined), ANSWER_MS)
      asked.set(request, settle)
      const question = Buffer.concat([Buffer.of(PROTOCOL_VERSION), encodeMessage({ kind: 'fetch', request, key })])
      if (!send(peer.incarnation, question)) settle(undefined)
    })
  }

  transport.start = (handlers: TransportHandlers) =>
    start({
      ...handlers,
      up(peer) {
        nodes.set(peer.incarnation, peer.node)
        handlers.up(peer)
      },
      down(peer, why) {
        nodes.delete(peer.incarnation)
        handlers.down(peer, why)
      },
      frame(peer, bytes) {
        const rest = nextRequest === FIRST_REQUEST ? bytes : withoutAnswers(bytes)
        if (rest !== undefined) handlers.frame(peer, rest)
      },
    })
  transport.send = (incarnation, frame) => {
    const node = nodes.get(incarnation)
    if (node !== undefined && frame.length >= SESSION_FRAME_BYTES) sentTo[node] = (sentTo[node] ?? 0) + 1
    return send(incarnation, frame)
  }

  return {
    sentTo,
    async holders(key) {
      const peers = transport.peers()
      const holdings = await Promise.all(peers.map((peer) => ask(peer, key)))
      return Object.fromEntries(peers.flatMap(({ node }, index) => (holdings[index] === undefined ? [] : [[node, holdings[index]]])))
    },
  }
}

function holdingOf(message: Message): Holding {
  if (message.kind === 'record') return message.claim === 'sender' ? 'owner' : 'copy'
  return message.kind === 'tombstone' ? 'ended' : 'none'
}
