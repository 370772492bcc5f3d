import { ByteReader, ByteWriter } from '../core/bytes.ts'
import { FRAME_HEADER_BYTES, writeFrameHeader } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import { MAX_INCARNATION_BYTES, MAX_NODE_BYTES } from './self.ts'
import { type Address, HOST } from './tcp-options.ts'

/** Version of the mesh's protocol: high half of each frame's type byte, and stated in the hello. */
export const MESH_VERSION = 1
const VERSION_BITS: number = MESH_VERSION << 4

export const FRAME_HELLO: number = VERSION_BITS | 1
export const FRAME_WELCOME: number = VERSION_BITS | 2
export const FRAME_DATA: number = VERSION_BITS | 3
export const FRAME_PING: number = VERSION_BITS | 4
export const FRAME_PEERS: number = VERSION_BITS | 5
export const FRAME_BYE: number = VERSION_BITS | 6

/** Why a link is closed, as the side that closes it tells the other. */
export type ByeCode = 'self' | 'duplicate' | 'cluster' | 'version' | 'name' | 'superseded' | 'protocol' | 'left' | 'certificate'
const BYE_CODES: readonly ByeCode[] = ['self', 'duplicate', 'cluster', 'version', 'name', 'superseded', 'protocol', 'left', 'certificate']

const MAGIC = Buffer.from('HFM')
export const NONCE_BYTES = 16
/** Largest frame before a peer is known. */
export const MAX_HELLO_BYTES = 1024
/** Addresses in one `peers` frame, and learned in all. */
export const MAX_ADDRESSES = 1000
const MAX_HOST_BYTES = 253
const MAX_REASON_BYTES = 200

export interface Hello {
  readonly cluster: string
  readonly node: string
  readonly incarnation: string
  readonly nonce: Buffer
  /** Where the sender can be reached; without a host: where the receiver sees it. */
  readonly host: string
  readonly port: number
}

export interface KnownPeer extends Address {
  readonly incarnation: string
}

export function encodeHello(hello: Hello): Buffer {
  return new ByteWriter()
    .raw(MAGIC)
    .u8(MESH_VERSION)
    .string(hello.cluster)
    .string(hello.node)
    .string(hello.incarnation)
    .raw(hello.nonce)
    .string(hello.host)
    .varint(hello.port)
    .finish()
}

/** Undefined: the peer speaks another version. Throws PEER_PROTOCOL when it is no hello at all. */
export function decodeHello(body: Buffer): Hello | undefined {
  const reader = new ByteReader(body)
  if (!reader.raw(MAGIC.length).equals(MAGIC)) throw new SessionError('PEER_PROTOCOL', 'is not a holdfast server')
  if (reader.u8() !== MESH_VERSION) return undefined
  const hello = {
    cluster: reader.string(64),
    node: reader.string(MAX_NODE_BYTES),
    incarnation: reader.string(MAX_INCARNATION_BYTES),
    nonce: reader.raw(NONCE_BYTES),
    host: reader.string(MAX_HOST_BYTES),
    port: reader.varint(65_535),
  }
  reader.end()
  // The node's name reaches logs, the address is dialled.
  const valid = hello.node !== '' && !/\p{Cc}/u.test(hello.node) && hello.incarnation !== ''
  if (!valid || hello.port === 0 || (hello.host !== '' && !HOST.test(hello.host)))
    throw new SessionError('PEER_PROTOCOL', 'sent an invalid hello')
  return hello
}

export function encodePeers(peers: readonly KnownPeer[]): Buffer {
  const list = peers.slice(0, MAX_ADDRESSES)
  const writer = new ByteWriter().varint(list.length)
  for (const peer of list) writer.string(peer.host).varint(peer.port).string(peer.incarnation)
  return writer.finish()
}

export function decodePeers(body: Buffer): KnownPeer[] {
  const reader = new ByteReader(body)
  const count = reader.varint(MAX_ADDRESSES)
  const peers: KnownPeer[] = []
  for (let i = 0; i < count; i++) {
    const host = reader.string(MAX_HOST_BYTES)
    const port = reader.varint(65_535)
    if (!HOST.test(host) || port === 0) throw new SessionError('PEER_PROTOCOL', 'sent an invalid address')
    peers.push({ host, port, incarnation: reader.string(MAX_INCARNATION_BYTES) })
  }
  reader.end()
  return peers
}

export function encodeBye(code: ByeCode, reason: string): Buffer {
  const text = Buffer.byteLength(reason) <= MAX_REASON_BYTES ? reason : code
  return new ByteWriter().u8(BYE_CODES.indexOf(code)).string(text).finish()
}

/** A whole bye frame, for one who gets no link. */
export function farewellFrame(code: ByeCode, reason: string): Buffer {
  const body = encodeBye(code, reason)
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + body.length)
  writeFrameHeader(frame, 0, FRAME_BYE, body.length)
  frame.set(body, FRAME_HEADER_BYTES)
  return frame
}

/** The reason is text of a peer: for the log, with control characters taken out. */
export function decodeBye(body: Buffer): { code: ByeCode | undefined; reason: string } {
  const reader = new ByteReader(body)
  const code = BYE_CODES[reader.u8()]
  const reason = reader.string(MAX_REASON_BYTES).replaceAll(/\p{Cc}/gu, ' ')
  reader.end()
  return { code, reason }
}
