import { createPool } from 'mysql2'
import type { Pool } from 'mysql2'
import { createPool as createPromisePool } from 'mysql2/promise'
import { afterAll, beforeAll } from 'vitest'
import { mysqlStore } from '../../src/stores/mysql.ts'
import type { MysqlPoolLike } from '../../src/stores/mysql.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import type { StoreUnderTest } from '../../src/testing/store-contract.ts'
import { startMariaDb } from '../setup/mariadb.ts'
import type { RunningMariaDb } from '../setup/mariadb.ts'
import { runContract } from './run-contract.ts'

let server: RunningMariaDb
let tables = 0

beforeAll(async () => {
  server = await startMariaDb()
})
afterAll(() => server.stop())

const nextTable = (): string => `t${++tables}`

runContract(
  'mysql by url',
  storeContract(async () => {
    const table = nextTable()
    const make = () => mysqlStore({ url: server.url }, { table })
    return { store: make(), another: make }
  }),
)

/** The application's pool serves others before and after. */
function onPool(make: () => { pool: MysqlPoolLike; core: Pool }): () => Promise<StoreUnderTest> {
  return async () => {
    const { pool, core } = make()
    const end = async (): Promise<void> => {
      await core.promise().query('DO 1')
      await core.promise().end()
    }
    const table = nextTable()
    return { store: mysqlStore({ pool }, { table }), another: () => mysqlStore({ url: server.url }, { table }), end }
  }
}

runContract(
  "mysql by the application's own pool, set up in ways that change what it answers",
  storeContract(
    onPool(() => {
      const core = createPool({
        uri: server.url,
        connectionLimit: 3,
        charset: 'latin1',
        namedPlaceholders: true,
        supportBigNumbers: true,
        bigNumberStrings: true,
        typeCast: () => 'cast',
      })
      return { pool: core, core }
    }),
  ),
)

runContract(
  'mysql by a pool of mysql2/promise that takes several statements at once',
  storeContract(
    onPool(() => {
      const pool = createPromisePool({ uri: server.url, multipleStatements: true })
      return { pool, core: pool.pool }
    }),
  ),
)
