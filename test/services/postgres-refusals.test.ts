import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresStore } from '../../src/stores/postgres.ts'
import type { PostgresTarget } from '../../src/stores/postgres.ts'
import { PASSWORD, startPostgres } from '../setup/postgres.ts'
import type { RunningPostgres } from '../setup/postgres.ts'
import { waitFor } from '../setup/servers.ts'
import { adding, context, DEADLINE_MS, draft, failure, live, plainClient, ready, setting, tracked } from './postgres-harness.ts'

let postgres: RunningPostgres

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

/** Why `ready()` was refused: one line, within the deadline, with nothing secret in it. */
async function refusal(target: PostgresTarget, options = {}): Promise<string> {
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  const startedAt = performance.now()
  const error = await failure(tracked(postgresStore(target, options)).ready(context({ deadlineMs: DEADLINE_MS })))
  expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_000)
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
  const everything = `${String(error)}${error.stack}${JSON.stringify(Object.getOwnPropertyDescriptors(error))}${String(error.cause)}`
  for (const secret of [PASSWORD, 'wrong-p4ssword', 'reader']) expect(everything).not.toContain(secret)
  expect(error.message).not.toContain('\n')
  process.off('warning', onWarning)
  expect(warnings).toEqual([])
  return error.message
}

describe('postgres - refusals', () => {
  test('a wrong password, no password, an unknown database', async () => {
    expect(await refusal({ url: postgres.urlFor('holdfast', 'wrong-p4ssword') })).toMatch(/\(28P01\): correct the user and password/)
    expect(await refusal({ url: `postgres://holdfast@127.0.0.1:${postgres.port}/postgres` })).toMatch(
      /\(no password\): it wants a password/,
    )
    expect(await refusal({ url: postgres.urlFor('holdfast', PASSWORD, 'nowhere') })).toMatch(
      /\(3D000\): there is no such database: create it/,
    )
    const pool = new pg.Pool({ connectionString: postgres.urlFor('holdfast', 'wrong-p4ssword') })
    tracked({ close: () => pool.end() })
    expect(await refusal({ pool })).toMatch(/^cannot use PostgreSQL at the given pool \(28P01\)/)
  })

  test('a user who may not create the table, and one who may not use it', async () => {
    const admin = await plainClient(postgres.url)
    await admin.query(`CREATE ROLE reader LOGIN PASSWORD 'wrong-p4ssword'`)
    const url = postgres.urlFor('reader', 'wrong-p4ssword')
    expect(await refusal({ url }, { table: 'forbidden' })).toMatch(
      /may not create the table forbidden: run as its owner: CREATE TABLE "forbidden"/,
    )
    await ready(postgresStore({ url: postgres.url }, { table: 'forbidden' }))
    await admin.query('GRANT SELECT ON forbidden TO reader')
    expect(await refusal({ url }, { table: 'forbidden' })).toMatch(
      /may not use the table forbidden: GRANT SELECT, INSERT, UPDATE, DELETE ON "forbidden"/,
    )
    await admin.query('GRANT INSERT, UPDATE, DELETE ON forbidden TO reader')
    const store = await ready(postgresStore({ url }, { table: 'forbidden' }))
    expect(await store.create('k', draft(), 'w')).toBe(true)
    await admin.query('REVOKE UPDATE ON forbidden FROM reader')
    const error = await failure(store.patch('k', setting('a', '1')))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(error.message).toMatch(/\(42501\): its user lacks a permission: grant/)
    await admin.query('GRANT UPDATE ON forbidden TO reader')
    await waitFor(() => store.patch('k', setting('a', '1')).then(({ outcome }) => outcome === 'applied'))
  })

  test('a read-only replica, from the start or from now on; back when it is the primary again', async () => {
    const admin = await plainClient(postgres.url)
    await admin.query('CREATE DATABASE failover')
    const url = postgres.urlFor('holdfast', PASSWORD, 'failover')
    const states: string[] = []
    const store = await ready(postgresStore({ url }), { stateChanged: (state) => states.push(state) })
    await store.create('k', draft(), 'w')
    await admin.query('ALTER DATABASE failover SET default_transaction_read_only = on')
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'failover'`)
    await waitFor(async () =>
      (await failure(store.patch('k', adding('n', 1)))).message.includes('read-only, like a replica: name the primary'),
    )
    await waitFor(() => states.at(-1) === 'down')
    expect(await refusal({ url })).toMatch(/it is read-only, like a replica: name the primary/)
    await admin.query('ALTER DATABASE failover RESET default_transaction_read_only')
    await waitFor(() => store.patch('k', adding('n', 1)).then(({ outcome }) => outcome === 'applied'))
    expect(states).toEqual(['up', 'down', 'up'])
  })

  test('a full disk: new sessions are 503 and say so within the deadline, reads and logouts work; usable once there is room', async () => {
    const store = await ready(postgresStore({ url: postgres.url }, { table: 'full_disk' }), { deadlineMs: DEADLINE_MS })
    await store.create('first', draft({ a: '1' }), 'w')
    // Above a segment of the write-ahead log, and in the middle of a page, so that the last write is a short one.
    await postgres.limitFiles(16 * 1_024 * 1_024 + 4_096)
    try {
      const create = (): Promise<boolean> => store.create(`k${keys++}`, draft({ a: randomBytes(45_000).toString('base64') }), 'w')
      let keys = 0
      let error: unknown
      let startedAt = 0
      while (error === undefined && keys < 1_000) {
        startedAt = performance.now()
        await create().catch((reason: unknown) => (error = reason))
      }
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS)
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
      expect((error as Error).message).toMatch(/\(53100\): its disk is full: make room$/)
      expect(await store.read(`k${keys - 1}`)).toBeUndefined()
      expect((await live(store, 'first')).fields.get('a')).toBe('1')
      expect(await store.destroy('k0', 'destroyed', Date.now())).toBe(true)
      await postgres.limitFiles('unlimited')
      expect(await create()).toBe(true)
    } finally {
      await postgres.limitFiles('unlimited')
    }
  })

  test('no connection left on the server', async () => {
    const admin = await plainClient(postgres.url)
    await admin.query(`CREATE ROLE single LOGIN PASSWORD '${PASSWORD}' CONNECTION LIMIT 0`)
    expect(await refusal({ url: postgres.urlFor('single', PASSWORD) })).toMatch(/\(53300\): it has too many connections/)
  })

  test('a table that was dropped meanwhile is made again', async () => {
    const store = await ready(postgresStore({ url: postgres.url }, { table: 'dropped' }))
    await store.create('k', draft(), 'w')
    const admin = await plainClient(postgres.url)
    await admin.query('DROP TABLE dropped')
    expect((await failure(store.read('k'))).message).toMatch(/\(42P01\): the table is missing/)
    await waitFor(() => store.create('k', draft(), 'w'))
  })

  test('prepared statements that somebody threw away are made again', async () => {
    const pool = new pg.Pool({ connectionString: postgres.url, max: 2 })
    tracked({ close: () => pool.end() })
    const store = await ready(postgresStore({ pool }, { table: 'unprepared' }))
    await store.create('k', draft({ n: '0' }), 'w')
    for (let round = 1; round <= 5; round++) {
      await pool.query('DEALLOCATE ALL')
      expect(await store.patch('k', adding('n', 1))).toMatchObject({ outcome: 'applied', counters: new Map([['n', String(round)]]) })
    }
  })
})

describe('postgres - TLS', () => {
  test('a server without TLS is refused when the url asks for it', async () => {
    expect(await refusal({ url: `${postgres.url}?sslmode=require` })).toMatch(/\(no TLS\): it does not offer TLS/)
  })

  test('sslmode=require verifies; the authority can be given; no-verify is a choice by name', async () => {
    const secure = await startPostgres()
    try {
      const [key, certificate] = [join(secure.folder, 'server.key'), join(secure.folder, 'server.crt')]
      const subject = ['-subj', '/CN=holdfast', '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:TRUE']
      await promisify(execFile)('openssl', [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        key,
        '-out',
        certificate,
        ...subject,
      ])
      await chmod(key, 0o600)
      if (process.getuid?.() === 0) await promisify(execFile)('chown', ['postgres', key, certificate])
      const admin = await plainClient(secure.url)
      for (const line of [`ssl_key_file = '${key}'`, `ssl_cert_file = '${certificate}'`, 'ssl = on'])
        await admin.query(`ALTER SYSTEM SET ${line}`)
      await admin.query('SELECT pg_reload_conf()')
      await waitFor(() => secure.output().includes('parameter "ssl" changed to "on"'))
      const ca = await readFile(certificate, 'utf8')
      for (const mode of ['require', 'prefer', 'verify-full', 'require&uselibpqcompat=true'])
        expect(await refusal({ url: `${secure.url}?sslmode=${mode}` }), mode).toMatch(
          /\(DEPTH_ZERO_SELF_SIGNED_CERT\): its certificate is not trusted/,
        )
      const working: PostgresTarget[] = [
        { url: secure.url, ssl: { ca } },
        { url: `${secure.url}?sslmode=require&sslrootcert=${encodeURIComponent(certificate)}` },
        { url: `${secure.url}?sslmode=no-verify` },
        { url: `${secure.url}?sslmode=require`, ssl: { rejectUnauthorized: false } },
      ]
      for (const [index, target] of working.entries()) {
        const store = await ready(postgresStore(target))
        expect(await store.create(`k${index}`, draft(), 'w')).toBe(true)
        const { rows: used } = await admin.query(
          `SELECT bool_and(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'holdfast'`,
        )
        expect(used).toEqual([{ ssl: true }])
        await store.close()
      }
    } finally {
      await secure.stop()
    }
  })
})
