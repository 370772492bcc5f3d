/**
 * Keys of a cluster on NATS, and letters: what servers write each other before they are linked.
 *
 * A letter is sealed with AES-256-GCM. Layout: key id (8 bytes), salt (16), number (6), ciphertext, tag (16). Each run of a server
 * draws a salt of its own, seals under HKDF(key, salt) and numbers its letters, so that no key ever meets a nonce twice, however
 * many servers there are. Receivers take only rising numbers of one salt: a recorded letter is read once at most.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { Runtime } from '../seam.ts'

export const ALGORITHM = 'aes-256-gcm'
export const TAG_BYTES = 16
/** Sequences and numbers of letters: 48 bits. */
export const NUMBER_BYTES = 6
const ID_BYTES = 8
const SALT_BYTES = 16
const NUMBER_AT: number = ID_BYTES + SALT_BYTES
const BODY_AT: number = NUMBER_AT + NUMBER_BYTES
const MAX_SENDERS = 2000

/** One secret, as this cluster uses it. */
export interface ClusterKey {
  /** Names the key and reveals nothing. */
  readonly id: Buffer
  readonly key: Buffer
}

/** HKDF-SHA-256 (RFC 5869) with the cluster's name as salt: one secret gives different keys to different clusters. */
export function clusterKey(secret: string, cluster: string): ClusterKey {
  const derive = (info: string, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', secret, cluster, info, bytes))
  return { id: derive('holdfast nats v1 key id', ID_BYTES), key: derive('holdfast nats v1', 32) }
}

/** `unknown`: sealed with a key this server does not have; `forged`: damaged, or made by somebody else; `old`: seen before. */
export type Opened = { readonly plain: Buffer; readonly by: ClusterKey } | 'unknown' | 'forged' | 'old'

export interface Letters {
  /** Own keys, newest first. */
  readonly keys: readonly ClusterKey[]
  seal(by: ClusterKey, boundTo: Buffer, plain: Uint8Array): Buffer
  /** Never throws. */
  open(boundTo: Buffer, letter: Buffer): Opened
  /** Of several sealings of one text: the one under the newest key this server has. */
  newest(letters: readonly Buffer[]): Buffer | undefined
}

interface Sender {
  readonly key: KeyObject
  last: number
}

export function createLetters(secrets: readonly string[], cluster: string, runtime: Runtime): Letters {
  const keys = secrets.map((secret) => clusterKey(secret, cluster))
  const salt = Buffer.from(runtime.randomBytes(SALT_BYTES))
  const sealing = new Map(keys.map((key) => [key, letterKey(key, salt)] as const))
  /** By key id and salt, those heard last at the end. */
  const senders = new Map<string, Sender>()
  let number = 0

  const keyOf = (letter: Buffer): ClusterKey | undefined => keys.find(({ id }) => letter.length > BODY_AT && letter.indexOf(id) === 0)

  function remember(name: string, sender: Sender): void {
    senders.delete(name)
    senders.set(name, sender)
    if (senders.size > MAX_SENDERS) for (const oldest of senders.keys()) if (senders.delete(oldest)) break
  }

  return {
    keys,
    seal(by, boundTo, plain) {
      number++
      const head = Buffer.concat([by.id, salt, Buffer.alloc(NUMBER_BYTES)])
      head.writeUIntBE(number, NUMBER_AT, NUMBER_BYTES)
      const cipher = createCipheriv(ALGORITHM, sealing.get(by) as KeyObject, nonceOf(number), { authTagLength: TAG_BYTES })
      cipher.setAAD(boundTo)
      const body = cipher.update(plain)
      cipher.final()
      return Buffer.concat([head, body, cipher.getAuthTag()])
    },
    open(boundTo, letter) {
      const by = keyOf(letter)
      if (by === undefined) return 'unknown'
      if (letter.length < BODY_AT + TAG_BYTES) return 'forged'
      const name = letter.toString('latin1', 0, NUMBER_AT)
      const sender = senders.get(name) ?? { key: letterKey(by, letter.subarray(ID_BYTES, NUMBER_AT)), last: 0 }
      const count = letter.readUIntBE(NUMBER_AT, NUMBER_BYTES)
      if (count <= sender.last) return 'old'
      const plain = decrypt(sender.key, count, boundTo, letter.subarray(BODY_AT))
      if (plain === undefined) return 'forged'
      // Only now: forged salts must not drive honest ones out.
      sender.last = count
      remember(name, sender)
      return { plain, by }
    },
    newest(letters) {
      for (const { id } of keys) {
        const found = letters.find((letter) => letter.indexOf(id) === 0)
        if (found !== undefined) return found
      }
      return undefined
    },
  }
}

function letterKey(by: ClusterKey, salt: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', by.key, salt, 'holdfast nats v1 letter', 32)))
}

export function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(number, 12 - NUMBER_BYTES, NUMBER_BYTES)
  return nonce
}

/** Undefined: not authentic. `sealed` ends in the tag. */
export function decrypt(key: KeyObject, number: number, boundTo: Buffer, sealed: Buffer): Buffer | undefined {
  const end = sealed.length - TAG_BYTES
  const decipher = createDecipheriv(ALGORITHM, key, nonceOf(number), { authTagLength: TAG_BYTES })
  decipher.setAAD(boundTo).setAuthTag(sealed.subarray(end))
  const plain = decipher.update(sealed.subarray(0, end))
  try {
    decipher.final()
    return plain
  } catch {
    return undefined
  }
}
