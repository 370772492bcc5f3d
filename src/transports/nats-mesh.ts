import { SessionError } from '../errors.ts'
import type { Peer, TransportHandlers } from '../seam.ts'
import { type Arrived, createEnvelope, type LinkKeys, linkNameOf } from './nats-envelope.ts'
import { createHandshake, type Handshake, type Trouble } from './nats-handshake.ts'
import { createLetters } from './nats-letters.ts'
import { createLink, type Link, MAX_MESSAGE_BYTES, type UnderWay } from './nats-link.ts'
import * as wire from './nats-messages.ts'
import type { NatsSettings } from './nats-options.ts'
import { createStanding, nameOf, remember, SUPERSEDED } from './nats-standing.ts'
import type { Warn } from './warnings.ts'

/** After a broken protocol, and after a refusal: how long a server is left alone. */
const LATER_MS = 5000
const SLOW_MS = 30_000
/** A link that was answered for is kept so long for its first message. */
const PENDING_MS = 5000
/** A server to which NATS finds no listener, and which is silent, is gone after this time: it had that long to reconnect. */
const GONE_MS = 1000

/** What the mesh needs of the connection to NATS. */
export interface Wire {
  isOpen(): boolean
  /** False when there is no connection. */
  publish(subject: string, message: Buffer, replyTo?: string): boolean
  largestMessage(): number
}

export interface MeshOptions {
  readonly settings: NatsSettings
  readonly handlers: TransportHandlers
  readonly subjects: wire.Subjects
  readonly warn: Warn
  readonly wire: Wire
}

/** Who is linked to this server over NATS. */
export interface Mesh {
  /** The connection to NATS is there, for the first time or again. */
  connected(): void
  received(message: Buffer): void
  /** NATS found nobody who listens to the peer of this link. */
  unheard(link: string): void
  /** To be called once a heartbeat. `stalled`: this process was, and accuses nobody. */
  beat(stalled: boolean): void
  /** True while handshakes are under way. */
  busy(): boolean
  peers(): readonly Peer[]
  send(incarnation: string, frame: Uint8Array): boolean
  refuse(incarnation: string, why: string): void
  /** Says goodbye; tells nothing any more. */
  close(): void
}

export function createMesh({ settings, handlers, subjects, warn, wire: net }: MeshOptions): Mesh {
  const { cluster } = settings
  const { self, runtime } = handlers
  const underWay: UnderWay = { bytes: 0 }
  const linked = new Map<string, Link>()
  /** Linked, and answered for, by the names of links. */
  const links = new Map<string, Link>()
  /** Ended ones may still have messages under way. */
  const ended = new Set<string>()
  let beats = 0
  let closed = false
  const everybody = `nats subject ${subjects.all}`
  const standing = createStanding(self, runtime, warn)
  const welcome = (peer: Peer): boolean => !closed && standing.welcome(peer)
  const isUp = (link: Link): boolean => linked.get(link.peer.incarnation) === link
  const isRefused = (link: Link): boolean => standing.isAvoided(link.peer)

  // ---------------------------------------------------------------- the start of a link

  const handshake: Handshake = createHandshake({
    cluster,
    self,
    runtime,
    letters: createLetters(settings.secrets, cluster, runtime),
    welcome,
    wanted: (peer) => !linked.has(peer.incarnation) && welcome(peer),
    post: (incarnation, message) => void net.publish(subjects.to(incarnation), message),
    called(peer, keys) {
      const link = newLink(peer, keys, true)
      establish(link)
      link.ping()
    },
    answered(peer, keys) {
      for (const link of links.values()) if (link.peer.incarnation === peer.incarnation && !isUp(link)) forget(link)
      newLink(peer, keys, false)
    },
  })

  function newLink(peer: Peer, keys: LinkKeys, isCaller: boolean): Link {
    const [sending, receiving] = isCaller ? [keys.caller, keys.answerer] : [keys.answerer, keys.caller]
    const link: Link = createLink({
      name: keys.id.toString('hex'),
      peer,
      envelope: createEnvelope({ cluster, self: self.incarnation, peer: peer.incarnation, id: keys.id, sending, receiving }),
      runtime,
      underWay,
      largestMessage: net.largestMessage,
      publish: (message, isPing) => publish(link, message, isPing),
      frame: (body) => onFrame(link, body),
    })
    links.set(link.name, link)
    return link
  }

  function publish(link: Link, message: Buffer, isPing: boolean): void {
    if (net.isOpen() && message.length > net.largestMessage()) {
      // Cut for another NATS server, and what was sealed in one piece cannot be cut again.
      runtime.defer(() => end(link, 'this NATS server takes smaller messages only', 'silent'))
      return
    }
    // A reply subject makes NATS tell at once when nobody listens.
    const reply = isPing ? [subjects.unheard(self.incarnation, link.name)] : []
    net.publish(subjects.to(link.peer.incarnation), message, ...reply)
  }

  function establish(link: Link): void {
    const { peer } = link
    handshake.settled(peer.incarnation)
    const present = linked.get(peer.incarnation)
    if (present !== undefined) end(present, 'replaced by a newer link')
    for (const other of [...linked.values()]) if (other.peer.node === peer.node) supersede(other)
    linked.set(peer.incarnation, link)
    handlers.up(peer)
  }

  function supersede(old: Link): void {
    standing.supersede(old.peer)
    end(old, 'superseded by a newer run', 'superseded')
  }

  // ---------------------------------------------------------------- the end of a link

  function forget(link: Link): void {
    link.close()
    links.delete(link.name)
    remember(ended, link.name)
  }

  function end(link: Link, why: string, code?: wire.ByeCode): void {
    if (!links.has(link.name)) return
    if (code !== undefined) link.bye(code)
    const wasUp = isUp(link)
    forget(link)
    if (!wasUp) return
    linked.delete(link.peer.incarnation)
    if (!closed) handlers.down(link.peer, why)
  }

  function refuse(link: Link, why: string): void {
    if (!isUp(link) || isRefused(link)) return
    standing.avoid(link.peer, LATER_MS)
    warn('PEER_PROTOCOL', nameOf(link.peer), `its link is closed: ${why}`)
    // Later, so that `down` never comes while the layer above is still in the call that refused.
    runtime.defer(() => end(link, `refused: ${why}`, 'protocol'))
  }

  function onBye(link: Link, code: wire.ByeCode): void {
    if (code === 'superseded' || code === 'protocol') {
      standing.avoid(link.peer, code === 'protocol' ? LATER_MS : SLOW_MS)
      const why = code === 'protocol' ? 'a message of it was refused' : SUPERSEDED
      warn(code === 'protocol' ? 'PEER_PROTOCOL' : 'PEER_REFUSED', nameOf(link.peer), `it refused this server: ${why}`)
    }
    end(link, code === 'left' ? 'left' : `closed by the peer (${code})`)
    if (code === 'silent') announce()
  }

  // ---------------------------------------------------------------- messages

  function announce(): void {
    if (net.isOpen() && !closed) net.publish(subjects.all, handshake.presence())
  }

  function onFrame(link: Link, body: Buffer): void {
    try {
      if (isUp(link) && !isRefused(link)) handlers.frame(link.peer, body)
    } catch (error) {
      // What the layer above could not read is the peer's mistake; anything else is ours and must not end the process.
      if (SessionError.is(error) && error.code === 'PEER_PROTOCOL') return refuse(link, error.message)
      const what = error instanceof Error ? error.message : 'unknown error'
      handlers.logger.error(`holdfast: a frame of server "${link.peer.node}" could not be handled: ${what}`)
    }
  }

  function onLinkMessage(message: Buffer): void {
    const name = linkNameOf(message)
    const link = name === undefined ? undefined : links.get(name)
    if (link === undefined) {
      if (name === undefined || !ended.has(name)) trouble('unknown')
      return
    }
    const arrived = link.open(message)
    if (arrived === 'repeated') warn('PEER_PROTOCOL', nameOf(link.peer), 'a message came again, or late: it was dropped')
    else if (arrived === 'forged') trouble(arrived)
    else onArrived(link, arrived)
  }

  function onArrived(link: Link, arrived: Arrived): void {
    if (!isUp(link)) {
      // What was true when it was answered may not be true any more.
      if (!welcome(link.peer)) return forget(link)
      establish(link)
    }
    try {
      if (arrived.kind === wire.KIND_BYE) return onBye(link, wire.decodeBye(arrived.body))
      link.take(arrived)
    } catch (error) {
      if (!SessionError.is(error)) throw error
      refuse(link, error.message)
    }
  }

  function trouble(what: Trouble): void {
    if (what === 'malformed') warn('PEER_PROTOCOL', everybody, `a message could not be read: ${VERSION_ADVICE}`)
    else warn('PEER_REFUSED', everybody, `a message was not authentic and was dropped: ${SECRET_ADVICE}`)
  }

  function received(message: Buffer): void {
    if (closed) return
    const type = message[0] ?? 0
    if (message.length > MAX_MESSAGE_BYTES || type >> 4 !== wire.NATS_VERSION) return trouble('malformed')
    if (type === wire.LINK) return onLinkMessage(message)
    if (type !== wire.PRESENCE && type !== wire.CALL && type !== wire.ANSWER) return trouble('malformed')
    const problem = handshake.heard(type, message.subarray(1))
    if (problem !== undefined) trouble(problem)
  }

  // ---------------------------------------------------------------- heartbeats

  function isGone(link: Link, now: number): string | undefined {
    const silence = now - link.heardAt
    if (silence > settings.silenceMs) return `silent for ${settings.silenceMs / 1000} s`
    return link.unheard > 1 && silence > GONE_MS ? 'it has left NATS' : undefined
  }

  function beat(stalled: boolean): void {
    if (closed) return
    const now = runtime.monotonic()
    for (const link of [...links.values()]) {
      // A process that was stalled itself accuses nobody: what came meanwhile is still unread.
      if (stalled) link.heardAt = now
      if (!isUp(link)) {
        if (now - link.heardAt > PENDING_MS) forget(link)
        continue
      }
      const why = isGone(link, now)
      if (why === undefined) link.ping()
      else end(link, why, 'silent')
    }
    handshake.prune()
    // Presence is for newcomers: those who are linked hear the pings.
    if (beats++ % 2 === 0) announce()
  }

  return {
    connected() {
      announce()
      for (const link of linked.values()) link.ping()
    },
    received,
    unheard(name) {
      const link = links.get(name)
      if (link !== undefined) link.unheard++
    },
    beat,
    busy: () => handshake.busy() || links.size > linked.size,
    peers: () => [...linked.values()].filter((link) => !isRefused(link)).map(({ peer }) => peer),
    send(incarnation, frame) {
      const link = linked.get(incarnation)
      return link !== undefined && !isRefused(link) && link.send(frame)
    },
    refuse(incarnation, why) {
      const link = linked.get(incarnation)
      if (link !== undefined) refuse(link, why)
    },
    close() {
      for (const link of [...linked.values()]) link.bye('left')
      closed = true
      for (const link of [...links.values()]) end(link, 'left')
    },
  }
}

const VERSION_ADVICE = 'run one version of holdfast on all servers, and nothing else on its subjects'
const SECRET_ADVICE =
  'check that all servers of this cluster have at least one secret in common, and that nobody else writes to its subjects'
