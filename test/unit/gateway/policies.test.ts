import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBytes } from '../../../src/gateway/address.ts'
import { consistentHash } from '../../../src/gateway/policies/consistent-hash.ts'
import { ipHash } from '../../../src/gateway/policies/ip-hash.ts'
import { leastConnections } from '../../../src/gateway/policies/least-connections.ts'
import { roundRobin } from '../../../src/gateway/policies/round-robin.ts'
import { cookieOf, hasOtherCookie, isLabel, sticky } from '../../../src/gateway/policies/sticky.ts'

const all = (): boolean => true
const none = (): boolean => false
const but =
  (...down: number[]) =>
  (index: number): boolean =>
    !down.includes(index)

describe('round robin', () => {
  test('takes every server in turn and steps over the ones that are down', () => {
    expect([-1, 0, 1, 2].map((last) => roundRobin(3, all, last))).toEqual([0, 1, 2, 0])
    expect(roundRobin(3, but(1), 0)).toBe(2)
    expect(roundRobin(3, none, 0)).toBe(-1)
    expect(roundRobin(0, all, 0)).toBe(-1)
  })
})

describe('least connections', () => {
  test('takes the least busy, of equals the next in turn', () => {
    const loads = [3, 1, 1, 0]
    expect(leastConnections(4, all, (index) => loads[index] as number, 0)).toBe(3)
    expect(leastConnections(4, but(3), (index) => loads[index] as number, 0)).toBe(1)
    expect(leastConnections(4, but(3), (index) => loads[index] as number, 1)).toBe(2)
    expect(leastConnections(4, none, () => 0, 1)).toBe(-1)
  })
})

describe('ip-hash', () => {
  /** Written down from nginx's algorithm with exact integers, by another road than the code: one polynomial, evaluated at once. */
  function expected(address: string, count: number, down: readonly number[]): number {
    const bytes = [...addressBytes(address)]
    const used = bytes.length === 4 ? bytes.slice(0, 3) : bytes
    for (let rounds = 1; rounds <= 21; rounds++) {
      const digits = Array.from({ length: rounds }, () => used).flat()
      const value = digits.reduce((sum, byte) => sum * 113n + BigInt(byte), 89n)
      const index = Number(value % 6271n) % count
      if (!down.includes(index)) return index
    }
    return -1
  }

  test.each([
    // hash = (((89 * 113 + a) * 113 + b) * 113 + c) mod 6271, worked out by hand.
    ['127.0.0.1', 3, ((((89 * 113 + 127) * 113 + 0) * 113 + 0) % 6271) % 3],
    ['10.1.2.3', 5, ((((89 * 113 + 10) * 113 + 1) * 113 + 2) % 6271) % 5],
    ['192.168.255.254', 4, ((((89 * 113 + 192) * 113 + 168) * 113 + 255) % 6271) % 4],
  ])('%s of %i servers goes to %i', (address, count, index) => {
    expect(ipHash(addressBytes(address), count, all)).toBe(index)
  })

  test('is the algorithm of nginx for any address, any number of servers and any of them down', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6())
    fc.assert(
      fc.property(address, fc.integer({ min: 2, max: 12 }), fc.uniqueArray(fc.nat(11), { maxLength: 8 }), (text, count, down) => {
        expect(ipHash(addressBytes(text), count, but(...down))).toBe(expected(text, count, down))
      }),
    )
  })

  test('ignores the last byte of an IPv4 address and gives up after 20 rehashes', () => {
    expect(ipHash(addressBytes('10.1.2.3'), 7, all)).toBe(ipHash(addressBytes('10.1.2.200'), 7, all))
    let asked = 0
    expect(ipHash(addressBytes('10.1.2.3'), 7, () => (asked++, false))).toBe(-1)
    expect(asked).toBe(21)
  })
})

describe('addresses', () => {
  test('IPv6 in all its spellings', () => {
    const hex = (text: string): string => Buffer.from(addressBytes(text)).toString('hex')
    expect(hex('::1')).toBe(`${'0'.repeat(31)}1`)
    expect(hex('2001:db8::ff00:42:8329')).toBe('20010db8000000000000ff0000428329')
    expect(hex('fe80::1%lo')).toBe(`fe80${'0'.repeat(27)}1`)
    expect(hex('::ffff:1.2.3.4')).toBe('01020304')
    expect(hex('64:ff9b::1.2.3.4')).toBe('0064ff9b000000000000000001020304')
    expect(hex('nonsense')).toBe('00000000')
  })
})

describe('consistent hash', () => {
  test('a server that goes moves only its own visitors, spread over the rest', () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    const moved = new Map<number, number>()
    let kept = 0
    for (let at = 0; at < 5_000; at++) {
      const address = addressBytes(`10.${at >> 8}.${at & 255}.7`)
      const before = consistentHash(address, ids, all)
      const after = consistentHash(address, ids, but(2))
      if (before === 2) moved.set(after, (moved.get(after) ?? 0) + 1)
      else if (before === after) kept++
      else throw new Error('a visitor of a living server moved')
    }
    expect(kept).toBeGreaterThan(3_800)
    expect([...moved.keys()].sort((one, other) => one - other)).toEqual([0, 1, 3, 4])
    expect(Math.max(...moved.values()) / Math.min(...moved.values())).toBeLessThan(1.6)
  })
})

describe('sticky', () => {
  const labels = new Map([
    ['own', 0],
    ['one', 1],
    ['two', 2],
  ]) // prettier-ignore
  const lookup = (label: string): number => labels.get(label) ?? -1

  test('the owner, else its backups in order, else nobody', () => {
    expect(sticky('own.one.two', lookup, all)).toBe(0)
    expect(sticky('own.one.two', lookup, but(0))).toBe(1)
    expect(sticky('own.one.two', lookup, but(0, 1))).toBe(2)
    expect(sticky('own.one.two', lookup, none)).toBe(-1)
    expect(sticky('forged.127-0-0-1.two', lookup, all)).toBe(2)
    expect(sticky('', lookup, all)).toBe(-1)
    expect(sticky(`${'x.'.repeat(8)}own`, lookup, all)).toBe(-1)
  })

  test('reads one cookie among others', () => {
    expect(cookieOf('a=1; session-route=x.y; b=2', 'session-route')).toBe('x.y')
    expect(cookieOf('xsession-route=no; session-routes=no;session-route=yes', 'session-route')).toBe('yes')
    expect(cookieOf('a=session-route=no', 'session-route')).toBeUndefined()
    expect(cookieOf('', 'session-route')).toBeUndefined()
  })

  test('labels are plain words', () => {
    expect(isLabel('n1')).toBe(true)
    for (const bad of ['', 'a.b', 'a b', 'a;b', 'x'.repeat(129)]) expect(isLabel(bad)).toBe(false)
  })
})

test('sticky - empty pairs and repeats of the route cookie are no other cookie', () => {
  for (const header of ['r=A', 'r=A;', '; r=A; ;', 'r=A; r=B']) expect(hasOtherCookie(header, 'r'), header).toBe(false)
  for (const header of ['r=A; x=1', 'x; r=A', 'rr=A']) expect(hasOtherCookie(header, 'r'), header).toBe(true)
})
