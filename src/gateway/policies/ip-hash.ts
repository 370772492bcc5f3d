import type { Usable } from './round-robin.ts'

const SEED = 89
const FACTOR = 113
const MODULUS = 6271
const REHASHES = 20

/**
 * nginx's `ip_hash` with equal weights (ngx_http_upstream_ip_hash_module): the first three bytes of an IPv4 address, all of an
 * IPv6 one. A server that is down keeps its place and is hashed past, 20 times at most; then -1: round robin takes over.
 */
export function ipHash(address: Uint8Array, count: number, usable: Usable): number {
  if (count < 2) return count === 1 && usable(0) ? 0 : -1
  const bytes = address.length === 4 ? 3 : address.length
  let hash = SEED
  for (let tries = 0; tries <= REHASHES; tries++) {
    for (let at = 0; at < bytes; at++) hash = (hash * FACTOR + (address[at] as number)) % MODULUS
    const index = hash % count
    if (usable(index)) return index
  }
  return -1
}
