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

const CANNOT = { cannot: { manySessions: 'one item per user names its newest 200', list: 'keys cannot be enumerated' } }

for (const count of [1, 3]) {
  const url = (): string =>
    `memcached://${servers
      .slice(0, count)
      .map(({ address }) => address)
      .join(',')}`
  runContract(
    count === 1 ? 'memcached, one server' : 'memcached, three servers',
    storeContract(async () => {
      const prefix = `p${++prefixes}`
      const make = () => memcachedStore({ url: url() }, { prefix })
      return { store: make(), another: make }
    }, CANNOT),
  )
}
