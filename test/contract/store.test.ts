import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryStore } from '../../src/stores/memory.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { runContract } from './run-contract.ts'

runContract(
  'memory',
  storeContract(async () => {
    const store = memoryStore()
    return { store, another: () => store }
  }),
)

runContract(
  'sqlite',
  storeContract(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
    const file = join(folder, 'sessions.db')
    const end = (): Promise<void> => rm(folder, { recursive: true })
    return { store: sqliteStore({ file }), another: () => sqliteStore({ file }), end }
  }),
)
