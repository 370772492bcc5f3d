/**
 * How two servers come to share a link. Every presence is only a hint: it may be a recording. The server with the smaller
 * incarnation calls with a fresh nonce; the answer is sealed with the call's nonce in it, so it was made now. Both nonces make the
 * link's keys, so the first message on the link proves to the answerer that the caller lives too.
 */
import { SessionError } from '../errors.ts'
import type { Peer, Runtime } from '../seam.ts'
import type { ClusterKey, Letters } from './nats-letters.ts'
import { type LinkKeys, linkKeys } from './nats-envelope.ts'
import * as wire from './nats-messages.ts'

/** A call without an answer is made again when its server is heard again after this time. */
const CALL_AGAIN_MS = 1000
const POKE_AGAIN_MS = 250
const FORGET_MS = 10_000
const MAX_CANDIDATES = 1000

export interface HandshakeOptions {
  readonly cluster: string
  readonly self: Peer
  readonly runtime: Runtime
  readonly letters: Letters
  /** True: a link to it is wanted and not there. */
  wanted(peer: Peer): boolean
  /** True: a call of it may be answered, even if this server thinks that a link is there. */
  welcome(peer: Peer): boolean
  post(incarnation: string, message: Buffer): void
  /** This server called and was answered: the link is up. */
  called(peer: Peer, keys: LinkKeys): void
  /** This server has answered: the link is up with the first message on it. */
  answered(peer: Peer, keys: LinkKeys): void
}

export interface Handshake {
  /** For everybody's subject. */
  presence(): Buffer
  /** Why it was dropped, if that is worth a word. */
  heard(type: number, body: Buffer): Trouble | undefined
  /** True while handshakes are under way. */
  busy(): boolean
  /** The link is up, or not wanted: nothing is under way. */
  settled(incarnation: string): void
  prune(): void
}

export type Trouble = 'unknown' | 'forged' | 'malformed'

interface Candidate {
  readonly peer: Peer
  nonce: Buffer | undefined
  by: ClusterKey
  triedAt: number
}

export function createHandshake(options: HandshakeOptions): Handshake {
  const { cluster, self, runtime, letters } = options
  const candidates = new Map<string, Candidate>()
  const toAll = wire.letterBinding(wire.PRESENCE, cluster, '')
  const toSelf = new Map([wire.CALL, wire.ANSWER].map((type) => [type, wire.letterBinding(type, cluster, self.incarnation)] as const))

  const freshNonce = (): Buffer => Buffer.from(runtime.randomBytes(wire.NONCE_BYTES))

  function presence(): Buffer {
    const plain = wire.encodeGreeting(self)
    return wire.encodePresence(letters.keys.map((key) => letters.seal(key, toAll, plain)))
  }

  function write(type: number, to: Peer, by: ClusterKey, ...nonces: Buffer[]): void {
    const letter = letters.seal(by, wire.letterBinding(type, cluster, to.incarnation), wire.encodeGreeting(self, ...nonces))
    options.post(to.incarnation, Buffer.concat([Buffer.from([type]), letter]))
  }

  function onPresence(peer: Peer, by: ClusterKey): void {
    if (!options.wanted(peer)) return
    const now = runtime.monotonic()
    const known = candidates.get(peer.incarnation)
    const calls = self.incarnation < peer.incarnation
    if (known !== undefined && now - known.triedAt < (calls ? CALL_AGAIN_MS : POKE_AGAIN_MS)) return
    const candidate: Candidate = { peer, nonce: calls ? freshNonce() : undefined, by, triedAt: now }
    if (known === undefined && candidates.size >= MAX_CANDIDATES) return
    candidates.set(peer.incarnation, candidate)
    if (candidate.nonce !== undefined) write(wire.CALL, peer, by, candidate.nonce)
    // The other one has to call: it must know of this server.
    else options.post(peer.incarnation, presence())
  }

  function onCall(peer: Peer, by: ClusterKey, callNonce: Buffer): void {
    if (peer.incarnation >= self.incarnation || !options.welcome(peer)) return
    const nonce = freshNonce()
    write(wire.ANSWER, peer, by, nonce, callNonce)
    options.answered(peer, linkKeys(by, peer.incarnation, self.incarnation, callNonce, nonce))
  }

  function onAnswer(peer: Peer, by: ClusterKey, answerNonce: Buffer, echo: Buffer): void {
    const candidate = candidates.get(peer.incarnation)
    if (candidate?.nonce?.equals(echo) !== true || candidate.by !== by || !options.wanted(peer)) return
    candidates.delete(peer.incarnation)
    options.called(peer, linkKeys(by, self.incarnation, peer.incarnation, echo, answerNonce))
  }

  function read(type: number, binding: Buffer, letter: Buffer | undefined): Trouble | undefined {
    const opened = letter === undefined ? 'unknown' : letters.open(binding, letter)
    // Two ways to a server can cross, and recordings are nobody's news.
    if (opened === 'old') return undefined
    if (typeof opened === 'string') return opened
    const { peer, nonce, echo } = wire.decodeGreeting(type, opened.plain)
    if (peer.incarnation === self.incarnation) return undefined
    if (nonce === undefined) onPresence(peer, opened.by)
    else if (echo === undefined) onCall(peer, opened.by, nonce)
    else onAnswer(peer, opened.by, nonce, echo)
    return undefined
  }

  return {
    presence,
    heard(type, body) {
      try {
        if (type === wire.PRESENCE) return read(type, toAll, letters.newest(wire.decodePresence(body)))
        return read(type, toSelf.get(type) as Buffer, body)
      } catch (error) {
        if (SessionError.is(error) && error.code === 'PEER_PROTOCOL') return 'malformed'
        throw error
      }
    },
    busy() {
      const now = runtime.monotonic()
      for (const { triedAt } of candidates.values()) if (now - triedAt < CALL_AGAIN_MS) return true
      return false
    },
    settled: (incarnation) => void candidates.delete(incarnation),
    prune() {
      const until = runtime.monotonic() - FORGET_MS
      for (const [incarnation, { triedAt }] of candidates) if (triedAt < until) candidates.delete(incarnation)
    },
  }
}
