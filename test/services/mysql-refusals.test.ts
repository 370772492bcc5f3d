import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Connection } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { PASSWORD, startMariaDb } from '../setup/mariadb.ts'
import type { RunningMariaDb } from '../setup/mariadb.ts'
import { DEADLINE_MS, closeAll, draft, everything, failure, nextWriteId, plain, ready, record, set } from './mysql-tools.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-mysql-tls-'))
const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
let server: RunningMariaDb
let admin: Connection

beforeAll(async () => {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate, ...subject]
  execFileSync('openssl', made, { stdio: 'ignore' })
  server = await startMariaDb({ args: ['--max-allowed-packet=65536', `--ssl-cert=${certificate}`, `--ssl-key=${key}`] })
})
afterEach(closeAll)
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function user(name: string, grants: string): Promise<string> {
  admin = await plain(server.url)
  await admin.query(`CREATE OR REPLACE USER ${name}@'%' IDENTIFIED BY '${PASSWORD}'`)
  if (grants !== '') await admin.query(`GRANT ${grants} ON holdfast.* TO ${name}@'%'`)
  return server.urlFor(name, PASSWORD)
}

const soon = { deadlineMs: DEADLINE_MS }

describe('mysqlStore - refusals', () => {
  test('a wrong password, an unknown database: named as such, and no credential shows in error, event or log', async () => {
    const seen: string[] = []
    const note = (...args: unknown[]): void => void seen.push(args.map(String).join())
    const over = { ...soon, logger: { warn: note, error: note }, stateChanged: (_: unknown, detail: string) => note(detail) }
    const wrong = mysqlStore({ url: server.urlFor('holdfast', `${PASSWORD}x`) })
    const error = await failure(ready(wrong, over))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(error.message).toMatch(/ER_ACCESS_DENIED_ERROR\): correct the user and password/)
    seen.push(everything(error), everything(await failure(wrong.read('k'))))
    const unknown = await failure(ready(mysqlStore({ url: server.urlFor('holdfast', PASSWORD, 'nowhere') }), over))
    expect(unknown.message).toMatch(/nowhere \(ER_BAD_DB_ERROR\): create the database/)
    seen.push(everything(unknown))
    expect(seen.join('\n')).toContain(`mysql://127.0.0.1:${server.port}/holdfast`)
    for (const secret of [PASSWORD, 'holdfast:']) expect(seen.join('\n')).not.toContain(secret)
  })

  test('a user who may not create the table gets the SQL to run; one who may not write gets the GRANT', async () => {
    const noCreate = await failure(
      ready(mysqlStore({ url: await user('writer', 'SELECT, INSERT, UPDATE, DELETE') }, { table: 'fresh' }), soon),
    )
    expect(noCreate.message).toMatch(/its table fresh is missing, and its user may not create it; run as its owner: CREATE TABLE[^\n]*;$/)
    await admin.query(/CREATE TABLE .*$/.exec(noCreate.message)?.[0] ?? '')
    const url = server.urlFor('writer', PASSWORD)
    expect(await (await ready(mysqlStore({ url }, { table: 'fresh' }), soon)).create('k', draft(), 'w')).toBe(true)
    const reader = await user('reader', 'SELECT')
    const noWrite = await failure(ready(mysqlStore({ url: reader }, { table: 'fresh' }), soon))
    expect(noWrite.message).toMatch(/may not use the table fresh: GRANT SELECT, INSERT, UPDATE, DELETE ON `fresh` TO/)
    expect(await failure(ready(mysqlStore({ url: await user('nobody', '') }), soon))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('a read-only server is named as such, at the start and when it becomes one later', async () => {
    const url = await user('plain_user', 'ALL')
    const store = await ready(mysqlStore({ url }, { table: 'ro' }), soon)
    await store.create('k', draft({ a: '1' }), nextWriteId())
    await admin.query('SET GLOBAL read_only = 1')
    try {
      expect((await failure(store.patch('k', set('a', '2')))).message).toMatch(/it is read-only, like a replica: name the primary$/)
      expect((await record(store, 'k')).fields.get('a')).toBe('1')
      for (const table of ['ro', 'ro2']) {
        expect((await failure(ready(mysqlStore({ url }, { table }), soon))).message).toMatch(
          /it is read-only, like a replica: name the primary$/,
        )
      }
    } finally {
      await admin.query('SET GLOBAL read_only = 0')
    }
    expect(await store.patch('k', set('a', '2'))).toMatchObject({ outcome: 'applied' })
  })

  test('a full disk: new sessions are 503 and say so within the deadline, reads work', async () => {
    // InnoDB answers the same when its file may not grow as when its disk is full.
    const full = await startMariaDb({ args: ['--innodb-file-per-table=0', '--innodb-data-file-path=ibdata1:12M:autoextend:max:14M'] })
    try {
      const store = await ready(mysqlStore({ url: full.url }), soon)
      await store.create('first', draft({ a: '1' }), nextWriteId())
      let keys = 0
      let error: unknown
      let startedAt = 0
      while (error === undefined && keys < 2_000) {
        startedAt = performance.now()
        await store.create(`k${keys++}`, draft({ a: 'x'.repeat(50_000) }), nextWriteId()).catch((reason: unknown) => (error = reason))
      }
      expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS)
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
      expect((error as Error).message).toMatch(/\(ER_RECORD_FILE_FULL\): its disk or memory is full: make room$/)
      expect(await store.read(`k${keys - 1}`)).toBeUndefined()
      expect((await record(store, 'first')).fields.get('a')).toBe('1')
    } finally {
      await full.stop()
    }
  })

  test('what is larger than max_allowed_packet is SESSION_TOO_LARGE, and the record stays as it was', async () => {
    const store = await ready(mysqlStore({ url: server.url }, { table: 'packet' }), soon)
    const large = await failure(store.create('k', draft({ a: 'x'.repeat(40_000) }), nextWriteId()))
    expect(large).toMatchObject({ code: 'SESSION_TOO_LARGE' })
    expect(large.message).toMatch(/takes 65536: nothing was stored. Raise its max_allowed_packet/)
    await store.create('k', draft({ a: 'x'.repeat(25_000) }), nextWriteId())
    await store.patch('k', set('b', 'x'.repeat(25_000)))
    expect(await failure(store.patch('k', set('c', 'x'.repeat(25_000))))).toMatchObject({ code: 'SESSION_TOO_LARGE' })
    expect([...(await record(store, 'k')).fields.keys()].sort()).toEqual(['a', 'b'])
    expect(await store.patch('k', set('b', '1'))).toMatchObject({ outcome: 'applied', after: 3 })
  })

  test('TLS: a certificate nobody vouches for is refused, with its authority it is accepted, and plain servers are named', async () => {
    const url = server.url.replace('127.0.0.1', 'localhost')
    for (const parameter of ['ssl=true', 'ssl-mode=REQUIRED', 'ssl={"rejectUnauthorized":true}']) {
      const error = await failure(ready(mysqlStore({ url: `${url}?${parameter}` }), soon))
      expect(error.message).toMatch(/its certificate is not trusted: give its authority/)
    }
    const ca = readFileSync(certificate, 'utf8')
    const store = await ready(mysqlStore({ url, ssl: { ca } }, { table: 'tls' }), soon)
    expect(await store.create('k', draft(), 'w')).toBe(true)
    const other = await startMariaDb({ args: ['--skip-ssl'] })
    try {
      const error = await failure(ready(mysqlStore({ url: other.url.replace('127.0.0.1', 'localhost'), ssl: { ca } }), soon))
      expect(error.message).toMatch(/it does not speak TLS/)
    } finally {
      await other.stop()
    }
  })
})
