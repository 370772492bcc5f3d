import { MAX_FRAME_BYTES } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Peer, TransportHandlers } from '../seam.ts'
import type { Attempt, Retry } from './tcp-dialer.ts'
import { type Connection, createLink, type Link } from './tcp-link.ts'
import * as wire from './tcp-messages.ts'
import type { Address } from './tcp-options.ts'
import { dialError } from './tcp-security.ts'
import { watchSilence } from './tcp-silence.ts'
import type { Warn } from './warnings.ts'

const HELLO_MS = 5000
/** A healthy link is heard every second: one silent for this long gives way to a new one. */
const STALE_MS = 2500
const MAX_SUPERSEDED = 1000
const EMPTY: Buffer = Buffer.alloc(0)

export interface MeshOptions {
  readonly cluster: string
  readonly handlers: TransportHandlers
  readonly warn: Warn
  /** What to check when a peer does not authenticate. */
  readonly advice: string
  /** Where this server can be reached; an empty host: where the other sees it. */
  readonly advertised: () => Address
  learn(address: Address, incarnation: string): void
  peerDown(incarnation: string, retry: Retry): void
}

/** Decides which connections are links to members, and keeps exactly one to each. */
export interface Mesh {
  /** Takes a connection over; calls back when it is a link or has ended, whichever comes first. */
  adopt(connection: Connection, attempt: Attempt | undefined, greeted: () => void): void
  peers(): readonly Peer[]
  isUp(incarnation: string): boolean
  send(incarnation: string, frame: Uint8Array): boolean
  refuse(incarnation: string, why: string): void
  traffic(): { sentBytes: number; receivedBytes: number }
  close(): Promise<void>
}

interface Member {
  readonly link: Link
  readonly attempt: Attempt | undefined
  readonly greeted: () => void
  /** Echoed by the side that decides: its welcome belongs to this connection. */
  readonly nonce: Buffer
  phase: 'hello' | 'welcome' | 'up' | 'refused' | 'closed'
  peer: Peer | undefined
  address: Address | undefined
  /** How long to stay away from the address after the link has ended. */
  retry: Retry
}

export function createMesh(options: MeshOptions): Mesh {
  const { handlers, warn } = options
  const { self, runtime } = handlers
  const members = new Set<Member>()
  const linked = new Map<string, Member>()
  /** Sockets that are not gone yet, those of ended links too. */
  const sockets = new Set<Promise<void>>()
  /** Runs that a newer run of the same name has replaced: they stay refused. */
  const superseded = new Set<string>()
  let endedRead = 0
  let endedWritten = 0
  let closed = false
  const stopWatching = watchSilence({
    runtime,
    links: () => [...linked.values()].map((member) => member.link),
    ping: (link) => link.send(wire.FRAME_PING, EMPTY),
  })

  function remote(member: Member): string {
    return member.link.connection.remote
  }

  // ---------------------------------------------------------------- the end of a link

  function onClosed(member: Member, why: string, error: NodeJS.ErrnoException | undefined): void {
    const { read, written } = member.link.bytes()
    endedRead += read
    endedWritten += written
    const { peer } = member
    const wasLinked = peer !== undefined && linked.get(peer.incarnation) === member
    // TLS 1.3 tells a dialler that its certificate was refused only after its own handshake has ended.
    if (member.phase === 'hello' && error !== undefined) {
      const refusal = dialError(error, options.advice)
      if (SessionError.is(refusal)) warn(refusal.code, remote(member), refusal.message)
    }
    member.phase = 'closed'
    members.delete(member)
    if (wasLinked) linked.delete(peer.incarnation)
    member.greeted()
    member.attempt?.ended(member.retry)
    if (!wasLinked || closed) return
    options.peerDown(peer.incarnation, member.retry)
    handlers.down(peer, why)
  }

  function bye(member: Member, code: wire.ByeCode, why: string): void {
    member.link.send(wire.FRAME_BYE, wire.encodeBye(code, why))
    member.link.close(why)
  }

  function reject(member: Member, code: 'PEER_REFUSED' | 'PEER_PROTOCOL', byeCode: wire.ByeCode, why: string): void {
    warn(code, remote(member), why)
    member.retry = 'slow'
    bye(member, byeCode, why)
  }

  function malformed(member: Member, error: SessionError): void {
    const what = error.message.replace(/\.$/, '')
    member.retry = 'later'
    warn('PEER_PROTOCOL', remote(member), `${what}; its link is closed${member.phase === 'hello' ? `: ${options.advice}` : ''}`)
    bye(member, 'protocol', error.message)
  }

  // ---------------------------------------------------------------- hello and welcome

  function onHello(member: Member, body: Buffer): void {
    const hello = wire.decodeHello(body)
    if (hello === undefined) return reject(member, 'PEER_PROTOCOL', 'version', VERSION_ADVICE)
    if (hello.incarnation === self.incarnation) {
      member.retry = 'own'
      return bye(member, 'self', 'this is the same server')
    }
    if (hello.cluster !== options.cluster)
      return reject(member, 'PEER_REFUSED', 'cluster', 'it belongs to another cluster: check the cluster option')
    if (hello.node === self.node)
      return reject(member, 'PEER_REFUSED', 'name', `it is named "${self.node}" as this one: give each server its own name`)
    if (superseded.has(hello.incarnation)) return reject(member, 'PEER_REFUSED', 'superseded', supersededAdvice(hello.node))
    member.peer = { node: hello.node, incarnation: hello.incarnation }
    member.address = { host: hello.host === '' ? member.link.connection.remoteHost : hello.host, port: hello.port }
    member.attempt?.identified(hello.incarnation)
    // One side decides alone which of two simultaneous links stays, so both agree without a further round.
    if (self.incarnation < hello.incarnation) decide(member, member.peer, hello.nonce)
    else member.phase = 'welcome'
  }

  function decide(member: Member, peer: Peer, nonce: Buffer): void {
    const present = linked.get(peer.incarnation)
    if (present !== undefined && runtime.monotonic() - present.link.heardAt < STALE_MS) return bye(member, 'duplicate', 'a link exists')
    member.link.send(wire.FRAME_WELCOME, nonce)
    establish(member, peer)
  }

  function onWelcome(member: Member, body: Buffer): void {
    if (member.phase !== 'welcome' || member.peer === undefined || !body.equals(member.nonce)) throw unexpected()
    establish(member, member.peer)
  }

  function establish(member: Member, peer: Peer): void {
    linked.get(peer.incarnation)?.link.close('replaced by a newer link')
    for (const other of [...linked.values()]) if (other.peer?.node === peer.node) supersede(other, other.peer)
    linked.set(peer.incarnation, member)
    member.phase = 'up'
    member.link.limitFrames(MAX_FRAME_BYTES)
    member.greeted()
    member.attempt?.up()
    handlers.up(peer)
    shareAddresses(member, peer)
  }

  function supersede(old: Member, peer: Peer): void {
    if (superseded.size >= MAX_SUPERSEDED) for (const oldest of superseded) if (superseded.delete(oldest)) break
    superseded.add(peer.incarnation)
    old.retry = 'slow'
    bye(old, 'superseded', supersededAdvice(peer.node))
  }

  function onBye(member: Member, body: Buffer): void {
    const { code, reason } = wire.decodeBye(body)
    if (code === 'self') member.retry = 'own'
    else if (code !== 'duplicate' && code !== 'left') {
      member.retry = code === 'protocol' ? 'later' : 'slow'
      warn(
        code === 'protocol' || code === 'version' ? 'PEER_PROTOCOL' : 'PEER_REFUSED',
        remote(member),
        `it refused this server: ${reason}`,
      )
    }
    member.link.close(code === 'left' ? 'left' : `closed by the peer (${code ?? 'unknown reason'})`)
  }

  // ---------------------------------------------------------------- addresses of members

  function shareAddresses(member: Member, peer: Peer): void {
    const known: wire.KnownPeer[] = []
    for (const [incarnation, other] of linked) {
      if (other !== member && other.address !== undefined) known.push({ ...other.address, incarnation })
    }
    if (known.length > 0) member.link.send(wire.FRAME_PEERS, wire.encodePeers(known))
    if (member.address === undefined) return
    options.learn(member.address, peer.incarnation)
    const news = wire.encodePeers([{ ...member.address, incarnation: peer.incarnation }])
    for (const other of linked.values()) if (other !== member) other.link.send(wire.FRAME_PEERS, news)
  }

  function onPeers(body: Buffer): void {
    const own = options.advertised()
    for (const { incarnation, host, port } of wire.decodePeers(body)) {
      const isOwn = incarnation === self.incarnation || (host === own.host && port === own.port)
      if (!isOwn) options.learn({ host, port }, incarnation)
    }
  }

  // ---------------------------------------------------------------- frames

  function onData(member: Member, peer: Peer, body: Buffer): void {
    try {
      handlers.frame(peer, body)
    } catch (error) {
      // What the layer above could not read is the peer's mistake; anything else is ours and must not end the process.
      if (SessionError.is(error) && error.code === 'PEER_PROTOCOL') return refuseMember(member, error.message)
      handlers.logger.error(
        `holdfast: a frame of server "${peer.node}" could not be handled: ${error instanceof Error ? error.message : 'unknown error'}`,
      )
    }
  }

  function onFrame(member: Member, type: number, body: Buffer): void {
    if (member.phase === 'refused') return
    if (type >> 4 !== wire.MESH_VERSION) {
      if (member.phase !== 'hello') throw unexpected()
      throw new SessionError('PEER_PROTOCOL', 'is not a holdfast server of this version')
    }
    if (member.phase === 'up' && member.peer !== undefined) {
      if (type === wire.FRAME_DATA) return onData(member, member.peer, body)
      if (type === wire.FRAME_PING && body.length === 0) return
      if (type === wire.FRAME_PEERS) return onPeers(body)
    }
    if (type === wire.FRAME_BYE) return onBye(member, body)
    if (type === wire.FRAME_HELLO && member.phase === 'hello') return onHello(member, body)
    if (type === wire.FRAME_WELCOME) return onWelcome(member, body)
    throw unexpected()
  }

  // ---------------------------------------------------------------- connections

  function adopt(connection: Connection, attempt: Attempt | undefined, greeted: () => void): void {
    const deadline = runtime.setTimer(HELLO_MS, () => member.phase !== 'up' && member.link.close('no hello in time'))
    const link: Link = createLink(connection, runtime, wire.MAX_HELLO_BYTES, {
      frame: (type, body) => onFrame(member, type, body),
      malformed: (error) => malformed(member, error),
      closed: (why, error) => {
        deadline.cancel()
        onClosed(member, why, error)
      },
    })
    const nonce = Buffer.from(runtime.randomBytes(wire.NONCE_BYTES))
    const member: Member = { link, attempt, greeted, nonce, phase: 'hello', peer: undefined, address: undefined, retry: 'soon' }
    members.add(member)
    sockets.add(link.gone)
    void link.gone.then(() => sockets.delete(link.gone))
    if (closed) return link.close('closed')
    link.send(wire.FRAME_HELLO, wire.encodeHello({ cluster: options.cluster, ...self, nonce, ...options.advertised() }))
  }

  function refuseMember(member: Member, why: string): void {
    if (member.phase !== 'up') return
    member.phase = 'refused'
    member.retry = 'later'
    warn('PEER_PROTOCOL', remote(member), `its link is closed: ${why}`)
    // Later, so that `down` never comes while the layer above is still in the call that refused.
    runtime.defer(() => bye(member, 'protocol', 'a message was refused'))
  }

  return {
    adopt,
    peers: () => [...linked.values()].flatMap(({ phase, peer }) => (phase === 'up' && peer !== undefined ? [peer] : [])),
    isUp: (incarnation) => linked.has(incarnation),
    send: (incarnation, frame) => {
      const member = linked.get(incarnation)
      return member?.phase === 'up' && member.link.send(wire.FRAME_DATA, frame)
    },
    refuse: (incarnation, why) => {
      const member = linked.get(incarnation)
      if (member !== undefined) refuseMember(member, why)
    },
    traffic: () => {
      let [receivedBytes, sentBytes] = [endedRead, endedWritten]
      for (const member of members) {
        const { read, written } = member.link.bytes()
        receivedBytes += read
        sentBytes += written
      }
      return { sentBytes, receivedBytes }
    },
    async close() {
      closed = true
      stopWatching()
      for (const member of [...members]) bye(member, 'left', 'the server leaves')
      await Promise.all(sockets)
    },
  }
}

const VERSION_ADVICE = `it speaks another version of the protocol than ${wire.MESH_VERSION}: run one version of holdfast on all servers`

function supersededAdvice(node: string): string {
  return `a newer run of server "${node}" has taken its place: end the old one, or give each server its own name`
}

function unexpected(): SessionError {
  return new SessionError('PEER_PROTOCOL', 'sent a frame that does not belong here')
}
