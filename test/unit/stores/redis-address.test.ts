import { expect, test } from 'vitest'
import { parseRedisUrl } from '../../../src/stores/redis-address.ts'

test('address - one server, Sentinel, cluster: hosts, ports, credentials, database', () => {
  expect(parseRedisUrl('redis://h')).toMatchObject({
    kind: 'single',
    addresses: [{ host: 'h', port: 6379 }],
    database: 0,
    isEncrypted: false,
  })
  expect(parseRedisUrl('rediss://us%40er:p%3Aw@[::1]:7/3')).toMatchObject({
    addresses: [{ host: '::1', port: 7 }],
    username: 'us@er',
    password: 'p:w',
    database: 3,
    isEncrypted: true,
    shown: 'rediss://[::1]:7/3',
  })
  expect(parseRedisUrl('redis+sentinel://:pw@a,b:7/main.1/2')).toMatchObject({
    kind: 'sentinel',
    addresses: [
      { host: 'a', port: 26379 },
      { host: 'b', port: 7 },
    ],
    master: 'main.1',
    username: undefined,
    password: 'pw',
    database: 2,
    shown: 'redis+sentinel://a,b:7/main.1/2',
  })
  expect(parseRedisUrl('rediss+cluster://u:p@a,b:7')).toMatchObject({ kind: 'cluster', isEncrypted: true, shown: 'rediss+cluster://a,b:7' })
})

test('address - what is not one is undefined', () => {
  const wrong = [
    '',
    'h',
    'http://h',
    'redis://',
    'redis://u:p@',
    'redis://h/x',
    'redis://h:0',
    'redis://h:65536',
    'redis://%zz:p@h',
    'redis://a,b',
  ]
  const topologies = [
    'redis+sentinel://a',
    'redis+sentinel://a/',
    'redis+sentinel://a/m/x',
    'redis+cluster://a/1',
    'redis+cluster://a,,b',
    'redis+x://a',
  ]
  for (const url of [...wrong, ...topologies, 7, undefined, null, 'redis://u@x@h', 'redis://h?x=1'])
    expect(parseRedisUrl(url)).toBeUndefined()
})
