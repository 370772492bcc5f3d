import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { SessionStore, StoredRecord } from '../../src/seam.ts'
import { spawnNode } from '../setup/servers.ts'
import { PLACES, storeAt } from '../setup/store-backends.ts'
import type { StorePlace } from '../setup/store-backends.ts'

const WRITER = new URL('./store-writer.ts', import.meta.url)
const WRITES = [334, 333, 333]

describe.each(Object.entries(PLACES))('%s', (_name, start) => {
  let place: StorePlace
  let store: SessionStore
  let key: string

  beforeAll(async () => void (place = await start()))
  afterAll(() => place?.stop())

  beforeEach(async () => {
    store = storeAt(place.url)
    await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: 10_000, stateChanged: () => {} })
    key = systemRuntime().randomBytes(32).toString('base64url')
    const now = Date.now()
    const times = { createdAt: now, lastActiveAt: now, idleMs: 600_000, touchEveryMs: 30_000, absoluteAt: now + 600_000 }
    await store.create(key, { meta: { userId: undefined, ...times, persistent: false }, fields: new Map() }, 'w')
  })
  afterEach(() => store.close())

  const record = async (): Promise<StoredRecord> => (await store.read(key)) as StoredRecord

  test('three processes that write 1,000 fields at once lose none, and no read undoes a write', { timeout: 90_000 }, async () => {
    const args = (index: number, count: number): string[] => [place.url, key, `p${index}-`, String(count)]
    const writers = await Promise.all(WRITES.map((count, index) => spawnNode(WRITER, { args: args(index, count) })))
    for (const writer of writers) writer.tell('go')
    await Promise.all(writers.map((writer) => writer.line('DONE', 60_000)))
    const { fields, version } = await record()
    expect(fields.get('n')).toBe('1000')
    expect(version).toBe(1_001)
    expect(fields.size).toBe(1_001)
    WRITES.forEach((count, process) => {
      for (let index = 0; index < count; index++) expect(fields.get(`p${process}-${index}`)).toBe(String(index))
    })
    for (const writer of writers) expect(writer.output()).not.toMatch(/SQLITE|Error/)
  })

  test('what a process acknowledged is there after it was killed', async () => {
    const writer = await spawnNode(WRITER, { args: [place.url, key, 'f', '100000'] })
    writer.tell('go')
    await writer.line('WROTE 200', 30_000)
    await writer.kill()
    const acknowledged = [...writer.output().matchAll(/^WROTE (\d+)$/gm)].map(([, index]) => index as string)
    expect(acknowledged.length).toBeGreaterThan(200)
    const { fields } = await record()
    for (const index of acknowledged) expect(fields.get(`f${index}`)).toBe(index)
  })
})
