import { crc32 } from 'node:zlib'
import type { Usable } from './round-robin.ts'

/** The finaliser of MurmurHash3: crc32 alone keeps the order of similar names. */
function mix(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** Rendezvous hashing (Thaler, Ravishankar 1998): the usable server with the highest score; adding one moves only what it gets. */
export function consistentHash(address: Uint8Array, ids: readonly string[], usable: Usable): number {
  const key = mix(crc32(address))
  let best = -1
  let highest = -1
  for (let index = 0; index < ids.length; index++) {
    if (!usable(index)) continue
    const score = mix(mix(crc32(ids[index] as string)) ^ key)
    if (score <= highest) continue
    best = index
    highest = score
  }
  return best
}
