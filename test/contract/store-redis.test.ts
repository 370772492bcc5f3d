import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { redisStore } from '../../src/stores/redis.ts'
import type { RedisStoreOptions } from '../../src/stores/redis.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { startCluster, startSentinel, startTlsRedis, startValkey } from '../setup/redis-servers.ts'
import type { TlsRedis } from '../setup/redis-servers.ts'
import { startRedis } from '../setup/servers.ts'
import { runContract } from './run-contract.ts'

let prefixes = 0
const nextPrefix = (): string => `p${++prefixes}`

interface Target {
  readonly name: string
  start(): Promise<{ url: string; stop(): Promise<void> }>
  options?(server: { url: string }): RedisStoreOptions
}

const TARGETS: readonly Target[] = [
  { name: 'redis', start: () => startRedis() },
  { name: 'valkey', start: startValkey },
  { name: 'redis over TLS', start: startTlsRedis, options: (server) => ({ tls: { ca: (server as TlsRedis).ca } }) },
  { name: 'redis behind Sentinel', start: (): ReturnType<typeof startSentinel> => startSentinel() },
  { name: 'redis cluster', start: startCluster },
]

describe.each(TARGETS)('$name', ({ start, options }) => {
  let server: Awaited<ReturnType<Target['start']>>
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())

  runContract(
    'by url',
    storeContract(async () => {
      const prefix = nextPrefix()
      const another = () => redisStore({ url: server.url }, { prefix, ...options?.(server) })
      return { store: another(), another }
    }),
  )
})

/** As an older application would have it, with the offline queue; the store connects it. */
function clientOf(url: string) {
  const client = createClient({ url, RESP: 2 })
  client.on('error', () => {})
  return client
}

describe("redis by the application's own client", () => {
  let server: Awaited<ReturnType<typeof startRedis>>
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  runContract(
    'over RESP 2',
    storeContract(async () => {
      const prefix = nextPrefix()
      const clients: ReturnType<typeof clientOf>[] = []
      const another = () => {
        const client = clientOf(server.url)
        clients.push(client)
        return redisStore({ client }, { prefix })
      }
      const end = async (): Promise<void> => {
        for (const client of clients) {
          // A case that was skipped has not even connected it.
          expect(client.isReady).toBe(client.isOpen)
          if (client.isOpen) await client.close()
        }
      }
      return { store: another(), another, end }
    }),
  )
})
