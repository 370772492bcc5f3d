import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createMembers, type Members } from '../../../src/cluster/members.ts'
import { createPlacement, slotOf, SLOTS } from '../../../src/cluster/placement.ts'
import { deriveKeys } from '../../../src/core/keys.ts'
import { createVirtualRuntime } from '../../setup/virtual-runtime.ts'

const keys = deriveKeys(['a secret for tests of at least 32 bytes'], 'session')
const sample = Array.from({ length: 4000 }, (_, index) => createHash('sha256').update(String(index)).digest('base64url'))

function membersOf(count: number): Members {
  const members = createMembers({ node: 'n0', incarnation: 'inc00000' }, keys, createVirtualRuntime())
  members.setState(members.self, 'ready', 0)
  for (let index = 1; index < count; index++)
    members.setState(members.up({ node: `n${index}`, incarnation: `inc0000${index}` }), 'ready', 0)
  return members
}

describe('placement', () => {
  test('the slot is the first 14 bits of the key', () => {
    for (const key of sample.slice(0, 200)) expect(slotOf(key)).toBe(Buffer.from(key, 'base64url').readUInt16BE(0) >> 2)
    expect(SLOTS).toBe(2 ** 14)
  })

  test('keys spread evenly', () => {
    const placement = createPlacement(membersOf(5), { kind: 'first', copies: 1 })
    const counts = new Map<string, number>()
    for (const key of sample) {
      const first = placement.preference(key)[0]?.peer.node as string
      counts.set(first, (counts.get(first) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(Math.abs(count - 800)).toBeLessThan(120)
  })

  test('a new server takes keys from all, and the old home is its second choice', () => {
    const members = membersOf(4)
    const placement = createPlacement(members, { kind: 'first', copies: 1 })
    const before = new Map(sample.map((key) => [key, placement.preference(key).map((member) => member.peer.node)]))
    members.setState(members.up({ node: 'new', incarnation: 'incnew00' }), 'ready', 0)
    let moved = 0
    for (const key of sample) {
      const now = placement.preference(key).map((member) => member.peer.node)
      expect(now.filter((node) => node !== 'new')).toEqual(before.get(key))
      if (now[0] === 'new') moved++
    }
    expect(moved / sample.length).toBeGreaterThan(0.15)
    expect(moved / sample.length).toBeLessThan(0.25)
  })

  test('every server computes the same order', () => {
    const placement = createPlacement(membersOf(4), { kind: 'first', copies: 2 })
    const other = createMembers({ node: 'n3', incarnation: 'inc00003' }, keys, createVirtualRuntime())
    other.setState(other.self, 'ready', 0)
    for (const index of [2, 0, 1]) other.setState(other.up({ node: `n${index}`, incarnation: `inc0000${index}` }), 'ready', 0)
    const second = createPlacement(other, { kind: 'first', copies: 2 })
    for (const key of sample.slice(0, 500)) {
      expect(second.preference(key).map((member) => member.peer.node)).toEqual(placement.preference(key).map((member) => member.peer.node))
    }
  })

  test('a server that leaves holds nothing new, and one more takes its place', () => {
    const members = membersOf(4)
    const placement = createPlacement(members, { kind: 'owner', backups: 1 })
    const [key] = sample as [string]
    expect(placement.home(key)).toMatchObject({ self: true })
    expect(placement.home(key).others).toHaveLength(1)
    expect(placement.home(key)).toBe(placement.home(key))
    members.setState(members.self, 'draining', 0)
    expect(placement.home(key)).toMatchObject({ self: false })
    expect(placement.home(key).others).toHaveLength(2)
    expect(placement.preference(key)).not.toContain(members.self)
  })

  test('a label names a server, and no more than that', () => {
    const members = membersOf(3)
    const other = members.others()[0]
    expect(members.byLabel(other?.label as string)).toBe(other)
    expect(members.byLabel(members.self.label)).toBe(members.self)
    expect(members.byLabel('00000000')).toBeUndefined()
    expect(other?.label).toMatch(/^[0-9a-f]{8}$/)
  })
})
