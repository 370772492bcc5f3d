import { expect, test } from 'vitest'
import { ownersFrom, prevailing, probesFor, redirectFrom, slotOf, SLOTS } from '../../../src/stores/redis-slots.ts'

test('slot - as the specification of Redis Cluster has it', () => {
  // The check value of CRC16/XMODEM.
  expect(slotOf('123456789')).toBe(0x31_c3 % SLOTS)
  expect(slotOf('')).toBe(0)
})

test('owners - ranges, gaps, and nodes that do not know their own address', () => {
  const reply = [
    [0, 9, ['127.0.0.1', 7000, 'id', []], ['127.0.0.1', 7003, 'id', []]],
    [20, 29, ['', 7001, 'id', []]],
    [30, 39, [null, 7002, 'id', []]],
    [40, 49, ['?', 7004, 'id', []]],
  ]
  const owners = ownersFrom(reply, 'asked')
  expect([owners?.[0], owners?.[9], owners?.[10], owners?.[20], owners?.[39], owners?.[40]]).toEqual([
    '127.0.0.1:7000',
    '127.0.0.1:7000',
    undefined,
    'asked:7001',
    'asked:7002',
    undefined,
  ])
  for (const broken of ['OK', null, [[0, 1]], [[0, 1, 'x']]]) expect(ownersFrom(broken, 'asked')).toBeUndefined()
})

test('owners - of several views that of most nodes is taken', () => {
  const view = (host: string) => ownersFrom([[0, SLOTS - 1, [host, 1, 'id']]], 'asked') as string[]
  expect(prevailing([view('old'), view('new'), view('new')])?.[5]).toBe('new:1')
  expect(prevailing([])).toBeUndefined()
})

test('redirects - MOVED and ASK, and nothing else', () => {
  expect(redirectFrom('MOVED 3999 127.0.0.1:6381', 'asked')).toEqual({ kind: 'MOVED', to: '127.0.0.1:6381' })
  expect(redirectFrom('ASK 3999 ::1:6381', 'asked')).toEqual({ kind: 'ASK', to: '::1:6381' })
  expect(redirectFrom('MOVED 3999 :6381', 'asked')).toEqual({ kind: 'MOVED', to: 'asked:6381' })
  for (const message of ['', 'MOVED 3999', 'ERR MOVED 3999 a:1', 'CLUSTERDOWN Hash slot not served']) {
    expect(redirectFrom(message, 'asked')).toBeUndefined()
  }
})

test('probes - every master gets a name in one of its slots, also one that holds a single slot', () => {
  const owners = Array.from({ length: SLOTS }, (_, slot) => (slot === 7 ? 'small:1' : slot % 2 === 0 ? 'a:1' : 'b:1'))
  const probes = probesFor(owners, new Set(owners), 'holdfast')
  expect([...probes.keys()].sort()).toEqual(['a:1', 'b:1', 'small:1'])
  for (const [owner, name] of probes) {
    const tag = /^holdfast:p:\{(\d+)\}$/.exec(name)?.[1] as string
    expect(owners[slotOf(tag)]).toBe(owner)
  }
})
