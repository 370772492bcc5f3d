import { Pool } from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { postgresStore } from '../../src/stores/postgres.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import type { StoreUnderTest } from '../../src/testing/store-contract.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { runContract } from './run-contract.ts'

let postgres: RunningPostgres
let tables = 0

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

const nextTable = (): string => `t${++tables}`

runContract(
  'postgres by url',
  storeContract(async (): Promise<StoreUnderTest> => {
    const table = nextTable()
    const another = () => postgresStore({ url: postgres.url }, { table })
    return { store: another(), another }
  }),
)

runContract(
  "postgres by the application's own pool",
  storeContract(async (): Promise<StoreUnderTest> => {
    const table = nextTable()
    const pool = new Pool({ connectionString: postgres.url, max: 4 })
    const another = () => postgresStore({ pool }, { table })
    const end = async (): Promise<void> => {
      // Throws if the store ended it.
      await pool.query('SELECT 1')
      await pool.end()
    }
    return { store: another(), another, end }
  }),
)

runContract(
  'postgres without announcements',
  storeContract(async (): Promise<StoreUnderTest> => {
    const table = nextTable()
    const another = () => postgresStore({ url: postgres.url }, { table, freshness: 'lease' })
    return { store: another(), another }
  }),
)
