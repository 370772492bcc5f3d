import { createHash } from 'node:crypto'
import type { StoreContext } from '../seam.ts'
import { unavailable } from './availability.ts'
import type { Availability } from './availability.ts'
import { memcachedConnection } from './memcached-connection.ts'
import type { MemcachedConnection } from './memcached-connection.ts'
import type { MemcachedAddress } from './memcached-options.ts'

export interface MemcachedServers {
  /** The server that holds a key, whether it is up or not: keys are never moved to another. */
  of(key: string): MemcachedConnection
  /** Resolves once each is up or was tried in vain and at least one is up; rejects when there is none within the deadline. */
  ready(): Promise<void>
  close(): void
}

export function memcachedServers(addresses: readonly MemcachedAddress[], context: StoreContext, users: Availability): MemcachedServers {
  const { runtime, deadlineMs } = context
  const connections: MemcachedConnection[] = []
  for (const address of addresses) {
    const down = (): void => users.set('down', whatIsDown())
    connections.push(memcachedConnection(address, { runtime, deadlineMs, up, down }))
  }
  const place = rendezvous(connections.map(({ name }) => name))

  function up(): void {
    if (connections.length === addresses.length && connections.every(({ isUp }) => isUp))
      users.set('up', `Memcached at ${names(connections)}`)
  }

  function whatIsDown(): string {
    const down = connections.filter(({ isDown }) => isDown)
    return (down.length === 0 ? connections : down).map((server) => server.unreachable().message).join('; ')
  }

  return {
    of: (key) => connections[place(key)] as MemcachedConnection,
    async ready(): Promise<void> {
      const startedAt = runtime.monotonic()
      const tried = await Promise.all(connections.map((server) => server.whenUp(deadlineMs, true)))
      if (tried.includes(true)) return
      const left = Math.max(0, deadlineMs - (runtime.monotonic() - startedAt))
      await Promise.race(connections.map((server) => server.whenUp(left)))
      if (connections.some(({ isUp }) => isUp)) return
      const problem = unavailable(whatIsDown())
      users.set('down', problem.message)
      throw problem
    },
    close(): void {
      for (const server of connections) server.close()
    },
  }
}

function names(connections: readonly MemcachedConnection[]): string {
  return connections.map(({ name }) => name).join(', ')
}

/**
 * Rendezvous hashing (Thaler & Ravishankar, 1998): the index of the server that draws the highest number for a key. The
 * order of the servers does not matter; of n, one that is added takes one in n + 1 keys and moves no other.
 */
export function rendezvous(servers: readonly string[]): (key: string) => number {
  const seeds = servers.map((name) => createHash('sha256').update(name).digest().readInt32BE(0))
  return (key) => {
    const hash = hashOf(key)
    let best = 0
    let highest = -1
    for (let index = 0; index < seeds.length; index++) {
      const score = mixed(hash ^ (seeds[index] as number))
      if (score < highest || (score === highest && (servers[index] as string) > (servers[best] as string))) continue
      best = index
      highest = score
    }
    return best
  }
}

/** FNV-1a, 32 bits (Fowler, Noll, Vo). Keys are ASCII. */
function hashOf(key: string): number {
  let hash = 0x81_1c_9d_c5 | 0
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01_00_01_93)
  return hash
}

/** The finalizer of MurmurHash3 (Appleby): every bit of the input moves every bit of the result. */
function mixed(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35)
  return (hash ^ (hash >>> 16)) >>> 0
}
