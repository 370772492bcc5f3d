import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from '../setup/servers.ts'
import { type RunningLab, runCli, ShopVisitor, startLab } from './lab-process.ts'

interface Place {
  key: string
  fate: string
  userId: string | null
  holders: { node: string; role: string }[]
  silent: string[]
  inStore: boolean | null
  inJar: boolean
  jarBytes: number | null
}

describe('where a session lives', () => {
  let lab: RunningLab
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-lab-test-'))
    lab = await startLab('--strategy', 'affinity', '--nodes', '3')
  })
  afterAll(async () => {
    await lab?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const place = async (key: string): Promise<Place> => (await lab.api<Place>('GET', `/api/sessions/${key}`)).body
  async function newKey(): Promise<{ visitor: ShopVisitor; key: string; node: string }> {
    const visitor = new ShopVisitor(lab.shop)
    const { key, node } = await visitor.ask('POST', '/login', { user: 'ada' })
    return { visitor, key: key ?? '', node }
  }
  const use = (strategy: string, options = {}): Promise<unknown> => lab.api('PUT', '/api/strategy', { strategy, options })

  test('affinity - one owner, which answered, and one backup; a paused one is silent; asking moves nothing', async () => {
    const { key, node } = await newKey()
    const found = await waitFor(
      async () => {
        const at = await place(key)
        return at.holders.length === 2 ? at : undefined
      },
      5_000,
      'owner and backup',
    )
    expect(found).toMatchObject({ fate: 'live', userId: 'ada', inStore: null, inJar: false, silent: [], jarBytes: null })
    expect(found.holders.filter(({ role }) => role === 'owner')).toEqual([{ node, role: 'owner' }])
    for (let again = 0; again < 5; again++) expect((await place(key)).holders).toEqual(found.holders)
    const backup = found.holders.find(({ role }) => role === 'backup')?.node ?? ''
    await lab.api('POST', `/api/nodes/${backup}/pause`)
    expect((await place(key)).silent).toEqual([backup])
    await lab.api('POST', `/api/nodes/${backup}/resume`)
  })

  test('replication - every server has a copy; with copies: 2 two servers by placement, and at most the one that answered', async () => {
    expect((await lab.api('POST', '/api/nodes')).status).toBe(201)
    const holders = async (key: string, least: number): Promise<string[]> =>
      waitFor(
        async () => {
          const at = await place(key)
          expect(at.holders.every(({ role }) => role === 'copy')).toBe(true)
          return at.holders.length >= least ? at.holders.map(({ node }) => node) : undefined
        },
        5_000,
        `${least} holders`,
      )
    await use('replication')
    expect(await holders((await newKey()).key, 4)).toHaveLength(4)
    await use('replication', { copies: 2 })
    const pairs = new Set<string>()
    for (let session = 0; session < 8; session++) {
      const { key, node } = await newKey()
      const held = await holders(key, 2)
      // The one that answered may be a holder itself. If it is none, it keeps what it made: a third copy.
      const placed = held.filter((one) => one !== node)
      expect(placed.length, `answered by ${node}, held by ${held.join()}`).toBeLessThanOrEqual(2)
      pairs.add(placed.toSorted().join())
    }
    // Placement goes by key: not always the same servers.
    expect(pairs.size).toBeGreaterThan(1)
    await lab.api('DELETE', '/api/nodes/n4')
  })

  test('cookieBased - the browser; dedicated - the store; isolated - the one that answered', async () => {
    await use('cookieBased')
    expect(await place((await newKey()).key)).toMatchObject({ holders: [], inJar: true, inStore: null })
    await use('isolated')
    const { key, node } = await newKey()
    expect(await place(key)).toMatchObject({ holders: [{ node, role: 'owner' }], inJar: false, inStore: null })
    await use('dedicated')
    expect(await place((await newKey()).key)).toMatchObject({ holders: [], inJar: false, inStore: true })
  })

  test('one of the lab’s own visitors is listed, and its cookies are measured', async () => {
    await lab.api('POST', '/api/visitors', { count: 2 })
    const { sessions } = (await lab.api<{ sessions: { key: string }[] }>('GET', '/api/sessions')).body
    expect(sessions.length).toBeGreaterThanOrEqual(2)
    expect((await place(sessions[0]?.key ?? '')).jarBytes).toBeGreaterThan(50)
    expect((await lab.api('GET', '/api/sessions/short')).status).toBe(404)
  })

  test('a session that the command line revokes is ended, not lost', async () => {
    const store = `sqlite:${join(folder, 'sessions.db')}`
    await use('dedicated', { store })
    const { visitor, key } = await newKey()
    expect((await runCli('sessions', 'revoke', '--store', store, key)).code).toBe(0)
    expect((await visitor.ask('GET', '/session')).isNew).toBe(true)
    await waitFor(async () => (await place(key)).fate === 'ended', 5_000, 'the ending being known')
    expect((await lab.cluster()).totals.lost).toBe(0)
    expect((await place(key)).inStore).toBe(false)
  })

  test('traffic is bounded, runs as set, and nobody is taken for lost when the strategy changes', async () => {
    for (const wrong of [{ visitors: 201 }, { requestsPerSecond: 0 }, { writePercent: 101 }, { sessionBytes: 8_193 }, { visitors: '1.5' }])
      expect((await lab.api('PUT', '/api/traffic', wrong)).status).toBe(400)
    const settings = { visitors: 10, requestsPerSecond: 50, writePercent: 50, sessionBytes: 600 }
    expect((await lab.api('PUT', '/api/traffic', settings)).body).toEqual(settings)
    await use('replication')
    await waitFor(async () => (await lab.cluster()).totals.sessions === 10, 10_000, 'ten sessions')
    const before = await lab.cluster()
    await waitFor(async () => requestsOf(await lab.cluster()) - requestsOf(before) > 50, 10_000, 'requests')
    expect((await lab.cluster()).totals).toMatchObject({ sessions: 10, lost: 0, lostUpdates: 0, stale: 0 })
    expect((await lab.api('PUT', '/api/traffic', { visitors: 0 })).body).toMatchObject({ visitors: 0, requestsPerSecond: 50 })
  })
})

function requestsOf({ nodes }: { nodes: object[] }): number {
  return nodes.reduce((sum, node) => sum + (node as { requests: number }).requests, 0)
}
