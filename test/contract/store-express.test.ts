import connectPgSimple from 'connect-pg-simple'
import session from 'express-session'
import { Pool } from 'pg'
import { afterAll, beforeAll } from 'vitest'
import type { SessionStore } from '../../src/seam.ts'
import { expressStore } from '../../src/stores/express-store.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { runContract } from './run-contract.ts'

let postgres: RunningPostgres
let pool: Pool

beforeAll(async () => {
  postgres = await startPostgres()
  pool = new Pool({ connectionString: postgres.url, max: 5 })
  // pool.end() does not wait for its connections: the server that stops next may be the one to end them.
  pool.on('connect', (client) => client.on('error', () => {}))
})
afterAll(async () => {
  await pool.end()
  await postgres.stop()
})

runContract(
  "express-session's MemoryStore",
  storeContract(async () => {
    const kept = new session.MemoryStore()
    // Both around one object, in one process: the only way in which such a store is atomic.
    return { store: expressStore(kept), another: () => expressStore(kept) }
  }),
)

const PgStore = connectPgSimple(session)
const cannot = { atomicPatches: 'a store of express-session has no compare-and-set, so servers can overwrite each other' }

runContract(
  'connect-pg-simple',
  storeContract(
    async () => {
      const kept: InstanceType<typeof PgStore>[] = []
      const make = (): SessionStore => {
        const one = new PgStore({ pool, createTableIfMissing: true, pruneSessionInterval: false })
        kept.push(one)
        return expressStore(one)
      }
      const end = async (): Promise<void> => {
        for (const one of kept) one.close()
        await pool.query('DELETE FROM session')
      }
      return { store: make(), another: make, end }
    },
    { cannot },
  ),
)
