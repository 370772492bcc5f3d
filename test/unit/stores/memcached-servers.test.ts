import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import { checkedMemcachedOptions } from '../../../src/stores/memcached-options.ts'
import { memcachedStore } from '../../../src/stores/memcached.ts'
import { rendezvous } from '../../../src/stores/memcached-servers.ts'

const keys = Array.from({ length: 10_000 }, (_, index) => `holdfast:s:${createHash('sha256').update(String(index)).digest('base64url')}`)
const servers = (count: number): string[] => Array.from({ length: count }, (_, index) => `10.0.0.${index + 1}:11211`)

test('placement - keys spread evenly', () => {
  for (const count of [2, 3, 5, 16]) {
    const counts = servers(count).map(() => 0)
    const place = rendezvous(servers(count))
    for (const key of keys) (counts[place(key)] as number)++
    for (const held of counts) expect(Math.abs(held / (keys.length / count) - 1)).toBeLessThan(0.15)
  }
})

test('placement - the order in which the servers are named does not matter', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(servers(7), { minLength: 2 }), fc.string(), (named, key) => {
      const sorted = [...named].sort()
      expect(named[rendezvous(named)(key)]).toBe(sorted[rendezvous(sorted)(key)])
    }),
  )
})

test('placement - an added server takes its share and moves nothing else', () => {
  const [before, after] = [servers(4), servers(5)]
  const [old, grown] = [rendezvous(before), rendezvous(after)]
  const moved = keys.filter((key) => before[old(key)] !== after[grown(key)])
  expect(moved.every((key) => grown(key) === 4)).toBe(true)
  expect(moved.length / keys.length).toBeGreaterThan(0.17)
  expect(moved.length / keys.length).toBeLessThan(0.23)
})

test('placement - stays what it was: another one would lose every session', () => {
  const place = rendezvous(['a:1', 'b:2', 'c:3'])
  expect(['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8'].map(place).join('')).toBe('20101110')
})

function problem(target: unknown, options?: unknown): string {
  try {
    memcachedStore(target as never, options as never)
  } catch (error) {
    expect(error).toSatisfy((thrown) => SessionError.is(thrown) && thrown.code === 'CONFIG_INVALID')
    return (error as Error).message
  }
  return 'none'
}

test('options - addresses in every form', () => {
  const named = (target: never): string[] => checkedMemcachedOptions(target, {}).servers.map(({ name }) => name)
  expect(named({ servers: ['Cache-1', '10.0.0.1:1', '[::1]', '[FE80::1]:12'] } as never)).toEqual([
    'cache-1:11211',
    '10.0.0.1:1',
    '[::1]:11211',
    '[fe80::1]:12',
  ])
  expect(named({ url: 'memcached://a:1,b,[::1]:3' } as never)).toEqual(['a:1', 'b:11211', '[::1]:3'])
})

test('options - all problems at once, and no password repeated', () => {
  expect(problem(undefined)).toMatch(/give either/)
  expect(problem({ servers: ['a'], url: 'memcached://a' })).toMatch(/give either/)
  expect(problem({ servers: [] })).toMatch(/list of 1 to/)
  expect(problem({ servers: 'a:1' })).toMatch(/list of 1 to/)
  expect(problem({ servers: ['a:1', 'a:0', 'b:70000', 7, 'c d', 'A:1'] }, { prefix: 'a:b' })).toBe(
    'memcachedStore: server 2, 3, 4, 5 of the list must be host, host:port or [ipv6]:port; a:1 is named twice; prefix must be a letter or underscore followed by at most 62 letters, digits or underscores',
  )
  for (const url of ['memcached://u:geheim@a', 'redis://a', 'memcached://', 'memcached://a/b', 7]) {
    const message = problem({ url })
    expect(message).toMatch(/url must look like/)
    expect(message).not.toContain('geheim')
  }
  expect(problem({ url: 'memcached://a,,b' })).toMatch(/server 2 of the list/)
})
