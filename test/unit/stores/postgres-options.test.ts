import { expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import { postgresStore } from '../../../src/stores/postgres.ts'
import { checkedPostgresOptions } from '../../../src/stores/postgres-options.ts'

function refusal(target: unknown, options?: unknown): string {
  try {
    postgresStore(target as never, options as never)
  } catch (error) {
    if (SessionError.is(error) && error.code === 'CONFIG_INVALID') return error.message
    throw error
  }
  throw new Error('was accepted')
}

test('postgres - options that cannot work are refused at creation, all together, without the url', () => {
  const message = refusal({ url: 'http://ada:geheim@example.org', ssl: 7 }, { table: 'a; DROP', migrate: 'no', freshness: 'never' })
  for (const part of ['url must look like', 'ssl goes', 'table must be', 'migrate must be', "freshness must be 'push' or 'lease'"])
    expect(message).toContain(part)
  expect(message).not.toContain('geheim')
  for (const target of [
    undefined,
    {},
    { url: 'postgres://h/d', pool: {} },
    { url: 7 },
    { url: '' },
    { url: 'postgres://a%zz@h/d' },
    { pool: {} },
  ])
    expect(refusal(target)).toMatch(/^postgresStore: /)
  for (const table of ['', 'a-b', '1a', 'public.t', 'a"b', 'x'.repeat(64), 7])
    expect(refusal({ url: 'postgres://h/d' }, { table })).toContain('table must be')
  const pool = { connect: async () => {}, on: () => {}, off: () => {}, options: { max: 1 } }
  expect(refusal({ pool }, { freshness: 'push' })).toContain('a pool of at least two')
})

test('postgres - the shown address has no credentials and no parameters', () => {
  const { shown } = checkedPostgresOptions({ url: 'postgresql://ada:geheim@db.example:5433/app?password=geheim&user=ada' }, {})
  expect(shown).toBe('postgres://db.example:5433/app')
})

test('postgres - every way to ask for TLS in the url verifies, but the one that says no by name', () => {
  const asked = (url: string, ssl?: boolean): string =>
    checkedPostgresOptions({ url, ...(ssl !== undefined && { ssl }) }, {}).connection?.connectionString ?? ''
  for (const mode of ['allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'anything'])
    expect(asked(`postgres://h/d?sslmode=${mode}&uselibpqcompat=true`)).toBe('postgres://h/d?sslmode=verify-full')
  for (const mode of ['disable', 'no-verify']) expect(asked(`postgres://h/d?sslmode=${mode}`)).toBe(`postgres://h/d?sslmode=${mode}`)
  expect(asked('postgres://h/d?sslmode=no-verify&sslrootcert=f&ssl=0', true)).toBe('postgres://h/d')
})
