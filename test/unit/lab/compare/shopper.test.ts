import { beforeEach, describe, expect, test } from 'vitest'
import type { Exchange } from '../../../../src/lab/compare/http-client.ts'
import { createShopper, type Shopper } from '../../../../src/lab/compare/shopper.ts'
import { createTally, type Tally } from '../../../../src/lab/compare/tally.ts'
import { createWorkload } from '../../../../src/lab/compare/workload.ts'

const WORKLOAD = createWorkload({ seed: 1, visitors: 1, seconds: 3, actionsPerSecond: 1, writeShare: 1, fields: 2, fieldBytes: 20 })
const read = { atMs: 0, kind: 'read', fields: [0, 1] } as const
const write = { atMs: 0, kind: 'write', fields: [0, 1] } as const
const pair = { atMs: 0, kind: 'pair', fields: [0, 1] } as const

/** A shop that keeps one session as it should, until it is told otherwise. */
class Shop {
  data: Record<string, unknown> = {}
  key = 'k1'
  isNew = false
  status: number | undefined = 200
  /** The answer is lost after the write was stored. */
  breaksAfterStoring = false

  send = async (method: string, _path: string, body: object | undefined): Promise<Exchange> => {
    const refused = this.status !== 200
    if (method === 'PATCH' && (!refused || this.breaksAfterStoring)) Object.assign(this.data, body)
    return { status: this.status, ms: 1, cookieBytes: 10, body: { isNew: this.isNew, key: this.key, data: { ...this.data } } }
  }
}

let shop: Shop
let tally: Tally
let shopper: Shopper
beforeEach(async () => {
  shop = new Shop()
  tally = createTally()
  shopper = createShopper({ send: shop.send, tally, user: undefined }, WORKLOAD)
  await shopper.enter()
})

const losses = (): number[] => {
  const { lostUpdates, sessionsLost, staleReads } = tally.counts()
  return [sessionsLost, lostUpdates, staleReads]
}

describe('a checking visitor', () => {
  test('finds nothing where nothing is wrong', async () => {
    for (const action of [read, write, pair, read]) await shopper.perform(action)
    await shopper.check()
    expect(losses()).toEqual([0, 0, 0])
  })

  test('an older value is a stale read, and a lost update where it stays', async () => {
    const before = { ...shop.data }
    await shopper.perform(write)
    shop.data = before
    await shopper.perform(read)
    expect(losses()).toEqual([0, 0, 1])
    await shopper.check()
    expect(losses()).toEqual([0, 1, 1])
  })

  test('a write of unknown outcome may be there or not, but not come and go', async () => {
    shop.status = undefined
    await shopper.perform(write)
    shop.status = 200
    await shopper.perform(read)
    expect(losses()).toEqual([0, 0, 0])
    shop.status = 503
    shop.breaksAfterStoring = true
    const before = { ...shop.data }
    await shopper.perform(write)
    shop.status = 200
    await shopper.perform(read)
    expect(losses()).toEqual([0, 0, 0])
    shop.data = before
    await shopper.perform(read)
    expect(losses()).toEqual([0, 0, 1])
    expect(tally.counts().failedRequests).toBe(2)
  })

  test('a new session in place of the old one is a lost session, once, whatever was under way', async () => {
    shop.data = {}
    shop.isNew = true
    shop.key = 'k2'
    await shopper.perform(pair)
    shop.isNew = false
    await shopper.perform(read)
    await shopper.check()
    expect(losses()).toEqual([1, 0, 0])
  })

  test('a session that the shop says is over is a lost one', async () => {
    shop.status = 409
    await shopper.perform(write)
    expect(losses()).toEqual([1, 0, 0])
  })
})
