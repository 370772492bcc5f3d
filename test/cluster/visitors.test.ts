import { describe, expect, test } from 'vitest'
import { type RunningLab, ShopVisitor, startLab } from './lab-process.ts'

const VISITORS = 60
const AT_ONCE = 6

interface Guest {
  readonly visitor: ShopVisitor
  readonly user: string
  /** What the shop has acknowledged. */
  steps: number
  note: string
}

async function forEach<T>(items: readonly T[], run: (item: T, index: number) => Promise<void>): Promise<void> {
  const rest = [...items.entries()]
  const worker = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await run(next[1], next[0])
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function arrive(shop: string): Promise<Guest[]> {
  const guests = Array.from({ length: VISITORS }, (_, index) => ({
    visitor: new ShopVisitor(shop),
    user: `user-${index}`,
    steps: 0,
    note: '',
  }))
  await forEach(guests, async ({ visitor, user }) => {
    await visitor.ask('PATCH', '/session', { colour: 'blue' })
    await visitor.ask('POST', '/login', { user })
  })
  return guests
}

/** Each guest writes, then reads back all that was ever acknowledged to it. Returns whom the shop forgot, and which servers answered. */
async function visitAll(guests: readonly Guest[], label: string): Promise<{ forgotten: string[]; servers: Set<string> }> {
  const forgotten: string[] = []
  const servers = new Set<string>()
  await forEach(guests, async (guest) => {
    await guest.visitor.ask('POST', '/session/add', { steps: 1 })
    await guest.visitor.ask('PATCH', '/session', { note: label })
    guest.steps += 1
    guest.note = label
    for (let read = 0; read < 2; read++) {
      const { node, user, data } = await guest.visitor.ask('GET', '/session')
      servers.add(node)
      const isKnown = user === guest.user && data['steps'] === guest.steps && data['note'] === guest.note && data['colour'] === 'blue'
      if (!isKnown) forgotten.push(`${guest.user} at ${node}: ${JSON.stringify({ user, data })}`)
    }
  })
  return { forgotten, servers }
}

async function nobodyIsForgotten(lab: RunningLab): Promise<void> {
  const guests = await arrive(lab.shop)
  const before = await visitAll(guests, 'before')
  expect(before).toEqual({ forgotten: [], servers: new Set(['n1', 'n2', 'n3']) })

  expect((await lab.api('POST', '/api/nodes/n1/kill')).status).toBe(200)
  const after = await visitAll(guests, 'after the kill')
  expect(after).toEqual({ forgotten: [], servers: new Set(['n2', 'n3']) })

  expect((await lab.api('POST', '/api/nodes/n1/start')).status).toBe(200)
  const returned = await visitAll(guests, 'after its return')
  expect(returned.forgotten).toEqual([])
}

describe('three servers, sixty visitors', () => {
  test.each([
    ['replication', 'round-robin'],
    ['affinity', 'round-robin'],
    ['affinity', 'sticky'],
    ['cookieBased', 'round-robin'],
    ['dedicated', 'round-robin'],
  ])('%s behind %s - nobody is forgotten before a kill, after it and after the return', async (strategy, policy) => {
    const lab = await startLab('--strategy', strategy, '--policy', policy)
    try {
      await nobodyIsForgotten(lab)
      expect((await lab.cluster()).totals).toMatchObject({ lost: 0, lostUpdates: 0, stale: 0, failed: 0 })
    } finally {
      await lab.stop()
    }
  })

  test('isolated behind round-robin - visitors are forgotten, and the lab counts them', async () => {
    const lab = await startLab('--strategy', 'isolated')
    try {
      const visitor = new ShopVisitor(lab.shop)
      const { key } = await visitor.ask('POST', '/login', { user: 'ada' })
      expect(await visitor.ask('GET', '/session')).toMatchObject({ isNew: true, user: null, key: null })
      expect(key).toEqual(expect.any(String))
      expect((await lab.cluster()).totals.lost).toBe(1)
    } finally {
      await lab.stop()
    }
  })
})
