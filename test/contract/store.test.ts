import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { storeContract } from '../../src/testing/store-contract.ts'

describe('memory', () => {
  const cases = storeContract(async () => ({ store: memoryStore() }))
  test.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('sqlite', () => {
  const cases = storeContract(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
    return { store: sqliteStore({ file: join(folder, 'sessions.db') }), end: () => rm(folder, { recursive: true }) }
  })
  test.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})
