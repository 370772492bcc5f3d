import { hash, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { KeyPurpose, Keys } from '../seam.ts'
import { type Mac, macOf } from './mac.ts'

/** Bytes of every MAC: 128 bits. */
export const MAC_BYTES = 16

const FORMAT = 'holdfast 1'

interface DerivedKeys {
  readonly id: number
  readonly byPurpose: Record<KeyPurpose, { raw: Buffer; mac: Mac }>
}

/**
 * One key per secret and purpose, by HKDF-SHA-256 (RFC 5869) with the format, the cookie's name and the purpose as info:
 * a token of one purpose, format or cookie never verifies as another.
 */
export function deriveKeys(secrets: readonly string[], cookieName: string): Keys {
  const rings = secrets.map((secret) => deriveRing(secret, cookieName))
  const newest = rings[0] as DerivedKeys
  const byId = new Map(rings.map((ring) => [ring.id, ring] as const).reverse())

  function macUnder(purpose: KeyPurpose, text: string | Uint8Array, ring: DerivedKeys): Buffer {
    const message = typeof text === 'string' ? Buffer.from(text) : text
    return Buffer.from(ring.byPurpose[purpose].mac(message).slice(0, MAC_BYTES), 'latin1')
  }

  return {
    ids: rings.map((ring) => ring.id),
    newest: newest.id,
    mac: (purpose, text) => macUnder(purpose, text, newest),
    verify(purpose, text, mac, keyId) {
      const ring = byId.get(keyId)
      if (ring === undefined || mac.length !== MAC_BYTES) return false
      return timingSafeEqual(macUnder(purpose, text, ring), mac)
    },
    derive: (purpose, keyId) => byId.get(keyId)?.byPurpose[purpose].raw,
  }
}

/** Keys that can be exchanged while the server runs. */
export interface KeyRing extends Keys {
  replace(secrets: readonly string[]): void
}

export function keyRing(secrets: readonly string[], cookieName: string): KeyRing {
  let keys = deriveKeys(secrets, cookieName)
  let current = secrets
  const listeners: (() => void)[] = []
  return {
    get ids() {
      return keys.ids
    },
    get newest() {
      return keys.newest
    },
    mac: (purpose, text) => keys.mac(purpose, text),
    verify: (purpose, text, mac, keyId) => keys.verify(purpose, text, mac, keyId),
    derive: (purpose, keyId) => keys.derive(purpose, keyId),
    onChange: (listener) => void listeners.push(listener),
    replace(next) {
      if (next.length === current.length && next.every((secret, index) => secret === current[index])) return
      keys = deriveKeys(next, cookieName)
      current = next
      for (const listener of listeners) listener()
    },
  }
}

function deriveRing(secret: string, cookieName: string): DerivedKeys {
  const derive = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', `${FORMAT}|${cookieName}|${purpose}`, 32))
  const one = (purpose: KeyPurpose): { raw: Buffer; mac: Mac } => {
    const raw = derive(purpose)
    return { raw, mac: macOf(raw) }
  }
  return {
    id: derive('key id').readUInt16BE(0),
    byPurpose: { root: one('root'), note: one('note'), seal: one('seal'), hint: one('hint') },
  }
}

/** The key of a session: SHA-256 of its id's bytes, base64url. Safe to log, to store and to show. */
export function keyOfId(id: Uint8Array): string {
  return hash('sha256', id, 'base64url')
}
