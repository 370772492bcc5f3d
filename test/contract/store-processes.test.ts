import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { SessionStore, StoredRecord } from '../../src/seam.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { spawnNode } from '../setup/servers.ts'

const WRITER = new URL('./store-writer.ts', import.meta.url)
let folder: string
let file: string
let store: SessionStore

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-processes-'))
  file = join(folder, 'sessions.db')
  store = sqliteStore({ file })
  await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: 10_000, stateChanged: () => {} })
  const now = Date.now()
  const meta = {
    userId: undefined,
    createdAt: now,
    lastActiveAt: now,
    idleMs: 600_000,
    touchEveryMs: 30_000,
    absoluteAt: now + 600_000,
    persistent: false,
  }
  await store.create('k', { meta, fields: new Map() }, 'w')
})
afterEach(async () => {
  await store.close()
  await rm(folder, { recursive: true, force: true })
})

async function record(): Promise<StoredRecord> {
  return (await store.read('k')) as StoredRecord
}

test('sqlite - three processes that write 1,000 fields at once lose none and see no lock', async () => {
  const counts = [334, 333, 333]
  const writers = await Promise.all(counts.map((count, index) => spawnNode(WRITER, { args: [file, 'k', `p${index}-`, String(count)] })))
  for (const writer of writers) writer.tell('go')
  await Promise.all(writers.map((writer) => writer.line('DONE', 60_000)))
  const { fields, version } = await record()
  expect(fields.get('n')).toBe('1000')
  expect(version).toBe(1_001)
  counts.forEach((count, process) => {
    for (let index = 0; index < count; index++) expect(fields.get(`p${process}-${index}`)).toBe(String(index))
  })
  for (const writer of writers) expect(writer.output()).not.toMatch(/SQLITE|Error/)
})

test('sqlite - what a process acknowledged is there after it was killed', async () => {
  const writer = await spawnNode(WRITER, { args: [file, 'k', 'f', '100000'] })
  writer.tell('go')
  await writer.line('WROTE 200', 30_000)
  await writer.kill()
  const acknowledged = [...writer.output().matchAll(/^WROTE (\d+)$/gm)].map(([, index]) => index as string)
  expect(acknowledged.length).toBeGreaterThan(200)
  const { fields } = await record()
  for (const index of acknowledged) expect(fields.get(`f${index}`)).toBe(index)
})
