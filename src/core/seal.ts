/**
 * Sealed notes: AES-256-GCM (NIST SP 800-38D). Layout before base64url: version (1 byte), key id (u16), salt (12),
 * counter (u32), ciphertext, tag (16). The associated data bind a seal to its cookie's full name, its session and its key.
 *
 * Why 16 bytes of salt and counter make nonces safe at any number of servers: each process seals under a key of its own,
 * HKDF(seal key, salt) with 96 random bits of salt, and counts its seals. Two seals share key and nonce only if two
 * salts collide: 2^32 processes meet once in 2^33 such worlds. The counter never reaches 2^28 under one salt.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Keys, Runtime } from '../seam.ts'

export const SEAL_VERSION = 1
const SALT_BYTES = 12
const TAG_BYTES = 16
const SALT_AT = 3
const COUNTER_AT = SALT_AT + SALT_BYTES
const BODY_AT = COUNTER_AT + 4
/** What sealing adds to the plain bytes, before base64url. */
export const SEAL_BYTES: number = BODY_AT + TAG_BYTES
/** Browsers keep 4,096 bytes a cookie: anything longer was not made here. */
const MAX_CHARS = 4096
const SEALS_PER_SALT = 2 ** 28
const OPENING_KEYS_MAX = 1024
const ALGORITHM = 'aes-256-gcm'

export interface Sealer {
  seal(name: string, sessionId: string, plain: Uint8Array): string
  /** `unknown`: a version or key this server does not have; undefined: forged, damaged or foreign. Never throws. */
  open(name: string, sessionId: string, text: string): Buffer | 'unknown' | undefined
}

/** `sealsPerSalt` is for tests. */
export function sealer(keys: Keys, cookieName: string, runtime: Runtime, sealsPerSalt: number = SEALS_PER_SALT): Sealer {
  const opening = new LRUCache<string, KeyObject>({ max: OPENING_KEYS_MAX })
  let salt: Buffer | undefined
  let sealing: KeyObject | undefined
  let sealed = 0

  // What follows is sealed under the newest key.
  keys.onChange?.(() => {
    sealing = undefined
    opening.clear()
  })

  function sealingKey(): KeyObject {
    if (sealing === undefined || salt === undefined || sealed >= sealsPerSalt) {
      salt = Buffer.from(runtime.randomBytes(SALT_BYTES))
      sealing = saltedKey(keys, keys.newest, salt) as KeyObject
      sealed = 0
    }
    return sealing
  }

  function openRaw(name: string, sessionId: string, raw: Buffer): Buffer | 'unknown' | undefined {
    const keyId = raw.readUInt16BE(1)
    if (raw[0] !== SEAL_VERSION || !keys.ids.includes(keyId)) return 'unknown'
    if (raw.length < SEAL_BYTES) return undefined
    const keyName = raw.toString('latin1', 1, COUNTER_AT)
    const known = opening.get(keyName)
    const key = known ?? saltedKey(keys, keyId, raw.subarray(SALT_AT, COUNTER_AT))
    if (key === undefined) return 'unknown'
    const end = raw.length - TAG_BYTES
    const decipher = createDecipheriv(ALGORITHM, key, nonceOf(raw.readUInt32BE(COUNTER_AT)), { authTagLength: TAG_BYTES })
    decipher.setAAD(boundTo(cookieName, name, sessionId, keyId)).setAuthTag(raw.subarray(end))
    const plain = Buffer.concat([decipher.update(raw.subarray(BODY_AT, end)), decipher.final()])
    // Only now: forged salts must not drive honest keys out.
    if (known === undefined) opening.set(keyName, key)
    return plain
  }

  return {
    seal(name, sessionId, plain) {
      const key = sealingKey()
      const raw = Buffer.allocUnsafe(SEAL_BYTES + plain.length)
      raw[0] = SEAL_VERSION
      raw.writeUInt16BE(keys.newest, 1)
      raw.set(salt as Buffer, SALT_AT)
      raw.writeUInt32BE(sealed, COUNTER_AT)
      const cipher = createCipheriv(ALGORITHM, key, nonceOf(sealed), { authTagLength: TAG_BYTES })
      sealed++
      cipher.setAAD(boundTo(cookieName, name, sessionId, keys.newest))
      raw.set(cipher.update(plain), BODY_AT)
      cipher.final()
      raw.set(cipher.getAuthTag(), raw.length - TAG_BYTES)
      return raw.toString('base64url')
    },
    open(name, sessionId, text) {
      if (text.length > MAX_CHARS || text.length < 4) return undefined
      const raw = Buffer.from(text, 'base64url')
      // One text per seal: a second spelling of the same bytes is not a seal.
      if (raw.length < BODY_AT || raw.toString('base64url') !== text) return undefined
      try {
        return openRaw(name, sessionId, raw)
      } catch {
        return undefined
      }
    },
  }
}

function saltedKey(keys: Keys, keyId: number, salt: Uint8Array): KeyObject | undefined {
  const master = keys.derive('seal', keyId)
  return master && createSecretKey(Buffer.from(hkdfSync('sha256', master, salt, 'holdfast 1|sealed notes', 32)))
}

/** Node copies it at once. */
const nonce = Buffer.alloc(12)
function nonceOf(counter: number): Buffer {
  nonce.writeUInt32BE(counter, 8)
  return nonce
}

/** None of the parts can hold a bar: names and ids are base64url. */
function boundTo(cookieName: string, name: string, sessionId: string, keyId: number): Buffer {
  return Buffer.from(`${cookieName}-${name}|${SEAL_VERSION}|${sessionId}|${keyId}`)
}
