import { clusterServers } from './redis-cluster.ts'
import { ownConnection } from './redis-connection.ts'
import type { ConnectionListener } from './redis-connection.ts'
import { loadDriver } from './redis-driver.ts'
import { givenConnection } from './redis-given.ts'
import type { CheckedRedisOptions } from './redis-options.ts'
import { findMaster, masterCheck } from './redis-sentinel.ts'
import { clientOptions, oneServer } from './redis-servers.ts'
import type { RedisServers } from './redis-servers.ts'

/** Connects in the background: `whenReady` tells. */
export async function openServers(options: CheckedRedisOptions, listener: ConnectionListener): Promise<RedisServers> {
  const { place, client, tls, sentinel, prefix } = options
  if (client !== undefined) return oneServer(givenConnection(client, listener), listener, prefix, false)
  if (place === undefined) throw new Error('neither an address nor a client')
  const driver = await loadDriver()
  const optionsOf = clientOptions(place, tls, listener.deadlineMs)
  if (place.kind === 'cluster') return clusterServers({ driver, seeds: place.addresses, prefix, options: optionsOf }, listener)
  if (place.kind === 'single') {
    const [address] = place.addresses as [(typeof place.addresses)[number]]
    return oneServer(ownConnection({ driver, options: optionsOf, find: () => Promise.resolve(address) }, listener), listener, prefix, false)
  }
  const { runtime, deadlineMs } = listener
  const find = (): ReturnType<typeof findMaster> =>
    findMaster({ driver, place, credentials: sentinel, runtime, deadlineMs, options: optionsOf })
  return oneServer(ownConnection({ driver, options: optionsOf, find, check: masterCheck }, listener), listener, prefix, true)
}
