/**
 * How a message of a link is sealed. Layout: type (1 byte), link id (8), sequence (6), ciphertext, tag (16). Each direction has a key
 * of its own, made from both servers' nonces, and the sequence is the nonce: it only rises, so no key meets a nonce twice and a
 * repeated message is dropped. Inside: kind (1), offset in the stream of frames (6), body.
 */
import { createCipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { ByteWriter } from '../core/bytes.ts'
import { ALGORITHM, type ClusterKey, decrypt, NUMBER_BYTES, nonceOf, TAG_BYTES } from './nats-letters.ts'
import { LINK } from './nats-messages.ts'

const ID_BYTES = 8
const SEQUENCE_AT: number = 1 + ID_BYTES
const SEALED_AT: number = SEQUENCE_AT + NUMBER_BYTES
const BODY_AT: number = 1 + NUMBER_BYTES
/** What sealing adds to a body. */
export const OVERHEAD_BYTES: number = SEALED_AT + BODY_AT + TAG_BYTES

export interface LinkKeys {
  readonly id: Buffer
  readonly caller: KeyObject
  readonly answerer: KeyObject
}

/** Fresh as soon as one of the nonces is. */
export function linkKeys(by: ClusterKey, caller: string, answerer: string, callNonce: Buffer, answerNonce: Buffer): LinkKeys {
  const info = new ByteWriter().string('holdfast nats v1 link').string(caller).string(answerer).finish()
  const bytes = Buffer.from(hkdfSync('sha256', by.key, Buffer.concat([callNonce, answerNonce]), info, 64 + ID_BYTES))
  return {
    caller: createSecretKey(bytes.subarray(0, 32)),
    answerer: createSecretKey(bytes.subarray(32, 64)),
    id: bytes.subarray(64),
  }
}

/** Names a link in maps. Undefined: no message of a link. */
export function linkNameOf(message: Buffer): string | undefined {
  return message.length < OVERHEAD_BYTES ? undefined : message.toString('hex', 1, SEQUENCE_AT)
}

/** One message that was authentic and new. */
export interface Arrived {
  readonly kind: number
  readonly offset: number
  readonly body: Buffer
}

export interface EnvelopeOptions {
  readonly cluster: string
  /** Incarnations. */
  readonly self: string
  readonly peer: string
  readonly id: Buffer
  readonly sending: KeyObject
  readonly receiving: KeyObject
}

export interface Envelope {
  seal(kind: number, offset: number, body: Uint8Array): Buffer
  /** Never throws. */
  open(message: Buffer): Arrived | 'repeated' | 'forged'
}

export function createEnvelope({ cluster, self, peer, id, sending, receiving }: EnvelopeOptions): Envelope {
  const outgoing = bindingOf(cluster, self, peer)
  const incoming = bindingOf(cluster, peer, self)
  let sequence = 0
  let lastSequence = 0

  return {
    seal(kind, offset, body) {
      sequence++
      const plain = Buffer.allocUnsafe(BODY_AT + body.length)
      plain[0] = kind
      plain.writeUIntBE(offset, 1, NUMBER_BYTES)
      plain.set(body, BODY_AT)
      const message = Buffer.allocUnsafe(OVERHEAD_BYTES + body.length)
      message[0] = LINK
      message.set(id, 1)
      message.writeUIntBE(sequence, SEQUENCE_AT, NUMBER_BYTES)
      const cipher = createCipheriv(ALGORITHM, sending, nonceOf(sequence), { authTagLength: TAG_BYTES })
      cipher.setAAD(numbered(outgoing, sequence))
      message.set(cipher.update(plain), SEALED_AT)
      cipher.final()
      message.set(cipher.getAuthTag(), message.length - TAG_BYTES)
      return message
    },
    open(message) {
      const count = message.readUIntBE(SEQUENCE_AT, NUMBER_BYTES)
      if (count <= lastSequence) return 'repeated'
      const plain = decrypt(receiving, count, numbered(incoming, count), message.subarray(SEALED_AT))
      if (plain === undefined) return 'forged'
      lastSequence = count
      return { kind: plain[0] as number, offset: plain.readUIntBE(1, NUMBER_BYTES), body: plain.subarray(BODY_AT) }
    },
  }
}

/** What a message is bound to: its last bytes take the sequence. */
function bindingOf(cluster: string, from: string, to: string): Buffer {
  return new ByteWriter().u8(LINK).string(cluster).string(from).string(to).raw(Buffer.alloc(NUMBER_BYTES)).finish()
}

function numbered(binding: Buffer, sequence: number): Buffer {
  binding.writeUIntBE(sequence, binding.length - NUMBER_BYTES, NUMBER_BYTES)
  return binding
}
