import { describe, expect, test } from 'vitest'
import { checkStoreUrl, storeFromUrl, shownStoreUrl } from '../../../src/lab/store-url.ts'

describe('store URLs', () => {
  test.each([
    ['sqlite:sessions.db', 'sqlite'],
    ['sqlite:/var/lib/shop/sessions.db', 'sqlite'],
    ['redis://127.0.0.1:6379', 'redis'],
    ['rediss://user:pass@redis.example:6380/2', 'redis'],
    ['redis+sentinel://127.0.0.1:26379,127.0.0.1:26380/main', 'redis'],
    ['rediss+sentinel://127.0.0.1:26379/main', 'redis'],
    ['redis+cluster://127.0.0.1:7000,127.0.0.1:7001', 'redis'],
    ['memcached://127.0.0.1:11211,127.0.0.1:11212', 'memcached'],
    ['postgres://127.0.0.1:5432/shop', 'postgres'],
    ['postgresql://127.0.0.1:5432/shop', 'postgres'],
    ['mysql://127.0.0.1:3306/shop', 'mysql'],
  ])('%s is a store: %s', async (url, name) => {
    expect((await storeFromUrl(url)).name).toBe(name)
  })

  test.each(['', 'sqlite:', 'redis:', 'redis://', 'mongodb://root:geheim@x', 'http://x', 'Redis://x', '/var/x.db', 7, undefined, null])(
    '%j is none: one line that lists those known',
    (url) => {
      const known = /^The store must be [^\n]*sqlite:[^\n]*redis:[^\n]*memcached:[^\n]*postgres:[^\n]*mysql:[^\n]*$/
      expect(() => checkStoreUrl(url)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(known) }))
      expect(() => checkStoreUrl(url)).toThrow(expect.objectContaining({ message: expect.not.stringContaining('geheim') }))
    },
  )

  test('a prefix or a table goes with stores that have them', async () => {
    await expect(storeFromUrl('redis://x', { prefix: 'shop' })).resolves.toMatchObject({ name: 'redis' })
    await expect(storeFromUrl('postgres://x/y', { table: 'shop', migrate: false })).resolves.toMatchObject({ name: 'postgres' })
    await expect(storeFromUrl('redis://x', { table: 'shop' })).rejects.toThrow(/takes no table/)
    await expect(storeFromUrl('sqlite:x', { prefix: 'shop' })).rejects.toThrow(/takes no prefix/)
    await expect(storeFromUrl('redis://x', { prefix: 'a:b' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

test('shownStoreUrl - no credentials and no parameters', () => {
  expect(shownStoreUrl('redis://ada:s3cret@127.0.0.1:6379/1?x=s3cret')).toBe('redis://127.0.0.1:6379/1')
  expect(shownStoreUrl('redis://:p@ss@host/0')).toBe('redis://host/0')
  expect(shownStoreUrl('sqlite:/tmp/sessions.db')).toBe('sqlite:/tmp/sessions.db')
})
