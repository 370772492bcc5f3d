import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redisStore } from '../../src/stores/redis.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { startRedis } from '../setup/servers.ts'
import type { RunningRedis } from '../setup/servers.ts'

let redis: RunningRedis
let prefixes = 0

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

const nextPrefix = (): string => `p${++prefixes}`

describe('redis by url', () => {
  const cases = storeContract(async () => ({ store: redisStore({ url: redis.url }, { prefix: nextPrefix() }) }))
  test.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe("redis by the application's own client", () => {
  const cases = storeContract(async () => {
    // RESP 2 and the offline queue, as an older application would have it.
    const client = createClient({ url: redis.url, RESP: 2 })
    client.on('error', () => {})
    await client.connect()
    const end = async (): Promise<void> => {
      expect(client.isReady).toBe(true)
      await client.close()
    }
    return { store: redisStore({ client }, { prefix: nextPrefix() }), end }
  })
  test.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})
