/** The root: the one token of fixed name, set when a session gets its id and never again. `docs/protocol.md` has the layout. */
import { LRUCache } from 'lru-cache'
import type { Keys, Runtime, SessionId } from '../seam.ts'
import { keyOfId, MAC_BYTES } from './keys.ts'

const VERSION = 1
const ID_BYTES = 16
const ID_AT = 9
const MAC_AT = ID_AT + ID_BYTES
const ROOT_BYTES = MAC_AT + MAC_BYTES
export const ROOT_LENGTH: number = Math.ceil((ROOT_BYTES * 4) / 3)

/** Verified roots kept: a MAC per request costs more than the rest of a read. */
const VERIFIED_MAX = 20_000

/** Where a token travels: bound into the root's MAC, so that one stolen from a log of headers is no cookie. */
export type Carrier = 'cookie' | 'header'

export interface Roots {
  /** A fresh id from the CSPRNG. */
  make(absoluteAt: number): SessionId
  write(id: SessionId, carrier: Carrier): string
  /** Undefined: forged, foreign, truncated, of an unknown key or past its absolute end. Never throws. */
  read(text: string, carrier: Carrier): SessionId | undefined
}

export function roots(keys: Keys, runtime: Runtime): Roots {
  const verified = {
    cookie: new LRUCache<string, SessionId>({ max: VERIFIED_MAX }),
    header: new LRUCache<string, SessionId>({ max: VERIFIED_MAX }),
  }

  keys.onChange?.(() => {
    verified.cookie.clear()
    verified.header.clear()
  })

  function verify(text: string, carrier: Carrier): SessionId | undefined {
    if (text.length !== ROOT_LENGTH) return undefined
    const bytes = Buffer.from(text, 'base64url')
    if (bytes.length !== ROOT_BYTES || bytes[0] !== VERSION || bytes.toString('base64url') !== text) return undefined
    const body = bytes.subarray(0, MAC_AT)
    if (!keys.verify('root', bound(body, carrier), bytes.subarray(MAC_AT), bytes.readUInt16BE(1))) return undefined
    const id = bytes.subarray(ID_AT, MAC_AT)
    return { id: id.toString('base64url'), key: keyOfId(id), absoluteAt: bytes.readUIntBE(3, 6) }
  }

  return {
    make(absoluteAt) {
      const id = Buffer.from(runtime.randomBytes(ID_BYTES))
      return { id: id.toString('base64url'), key: keyOfId(id), absoluteAt }
    },
    write(id, carrier) {
      const bytes = Buffer.alloc(MAC_AT)
      bytes[0] = VERSION
      bytes.writeUInt16BE(keys.newest, 1)
      bytes.writeUIntBE(id.absoluteAt, 3, 6)
      bytes.write(id.id, ID_AT, 'base64url')
      return Buffer.concat([bytes, keys.mac('root', bound(bytes, carrier))]).toString('base64url')
    },
    read(text, carrier) {
      const known = verified[carrier].get(text)
      const id = known ?? verify(text, carrier)
      if (id === undefined || id.absoluteAt <= runtime.now()) return undefined
      if (known === undefined) verified[carrier].set(text, id)
      return id
    },
  }
}

function bound(body: Buffer, carrier: Carrier): Buffer {
  return Buffer.concat([body, Buffer.from(carrier)])
}
