import { expect, test } from 'vitest'
import { sessionsCommand } from '../../src/cli/sessions.ts'
import { freePort } from '../setup/ports.ts'
import { failure } from './store-common.ts'

/** The command's own deadline, and what a busy machine may add. */
const WITHIN_MS = 2_000 + 1_500

test.each([
  ['redis', ''],
  ['redis+cluster', ''],
  ['redis+sentinel', '/main'],
  ['postgres', '/sessions'],
  ['mysql', '/sessions'],
  ['memcached', ''],
])('holdfast sessions - a dead server is one line after two seconds: %s', async (scheme, path) => {
  const credentials = scheme === 'memcached' ? '' : 'root:geheim-p4ss@'
  const store = `${scheme}://${credentials}127.0.0.1:${await freePort()}${path}`
  const startedAt = performance.now()
  const error = await failure(sessionsCommand({ store, user: 'ada' }, ['list']))
  expect(performance.now() - startedAt).toBeLessThan(WITHIN_MS)
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(error.message).toMatch(/ECONNREFUSED/)
  expect(error.message).not.toMatch(/\n|geheim|p4ss/)
})
