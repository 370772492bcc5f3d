import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { afterEach, expect, test } from 'vitest'
import { memcachedStore } from '../../src/stores/memcached.ts'
import { startMemcached } from '../setup/memcached.ts'
import { context, DEADLINE_MS, failure } from './store-common.ts'

const after: (() => unknown)[] = []
afterEach(async () => {
  for (const end of after.splice(0).reverse()) await end()
})

/** It need not speak to us. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-memcached-'))
  // As root the server runs as somebody else.
  chmodSync(folder, 0o755)
  after.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function refusal(args: readonly string[]): Promise<string> {
  const server = await startMemcached({ args, isUp: listens })
  after.push(() => server.stop())
  const store = memcachedStore({ servers: [server.address] })
  after.push(() => store.close())
  const startedAt = performance.now()
  const error = await failure(store.ready(context({ deadlineMs: DEADLINE_MS })))
  expect(performance.now() - startedAt).toBeLessThan(DEADLINE_MS + 1_000)
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 503 })
  expect(error.message).toContain(server.address)
  expect(error.message).not.toContain('\n')
  return error.message
}

test('memcached - one that wants a password (-Y): named as such within the deadline', async () => {
  const file = join(newFolder(), 'users')
  writeFileSync(file, 'app:geheim\n', { mode: 0o644 })
  const message = await refusal(['-Y', file])
  expect(message).toMatch(/wants authentication.*SASL and passwords are not supported/)
  expect(message).not.toMatch(/geheim/)
})

test('memcached - one that speaks TLS (-Z): one clear line within the deadline', async () => {
  const folder = newFolder()
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const made = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-keyout',
    key,
    '-out',
    certificate,
  ]
  execFileSync('openssl', made, { stdio: 'ignore' })
  execFileSync('chmod', ['-R', 'a+rX', folder])
  expect(await refusal(['-Z', '-o', `ssl_chain_cert=${certificate},ssl_key=${key}`])).toMatch(
    /hung up at the greeting\): if it demands TLS/,
  )
})
