import { afterAll, beforeAll } from 'vitest'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { type RunningMemcached, startMemcached } from '../setup/memcached.ts'
import { runContract } from './run-contract.ts'

let servers: RunningMemcached[] = []
let prefixes = 0

beforeAll(async () => {
  servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()])
})
afterAll(() => Promise.all(servers.map((server) => server.stop())))

const nextPrefix = (): string => `p${++prefixes}`
const addresses = (): string[] => servers.map(({ address }) => address)

runContract(
  'memcached, one server',
  storeContract(async () => ({ store: memcachedStore({ servers: addresses().slice(0, 1) }, { prefix: nextPrefix() }) })),
)
runContract(
  'memcached, three servers by url',
  storeContract(async () => ({ store: memcachedStore({ url: `memcached://${addresses().join(',')}` }, { prefix: nextPrefix() }) })),
)
