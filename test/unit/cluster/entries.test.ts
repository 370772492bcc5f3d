import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createEntries } from '../../../src/cluster/entries.ts'
import { applyDelta, type ClusterRecord, deltaOf, recordOf } from '../../../src/cluster/record.ts'

const MORE_THAN_STAY_UNPACKED = 5_000
const meta = { userId: 'ada', createdAt: 1, lastActiveAt: 1, idleMs: 10, touchEveryMs: 1, absoluteAt: 100, persistent: false }

const keyOf = (number: number): string => createHash('sha256').update(String(number)).digest('base64url')
const made = (number: number, userId = `user ${number}`): ClusterRecord =>
  recordOf(keyOf(number), { meta: { ...meta, userId }, fields: new Map([['n', String(number)]]) }, { origin: 'a', counter: 1 })
const written = (record: ClusterRecord, value: string): ClusterRecord =>
  applyDelta(
    record,
    deltaOf(record, { set: new Map([['n', value]]), add: new Map(), touchAt: 2 }, { origin: 'a', counter: record.highest + 1 }),
  )

describe('entries', () => {
  test('keep what was written to them, however many others are used in between', () => {
    const entries = createEntries('a')
    for (let number = 0; number < MORE_THAN_STAY_UNPACKED; number++) entries.put(made(number))
    const first = entries.get(keyOf(0))
    for (let round = 1; round <= 3; round++) {
      for (let number = 0; number < MORE_THAN_STAY_UNPACKED; number++) {
        const entry = entries.get(keyOf(number))
        entries.put(written(entry?.record as ClusterRecord, `${number}.${round}`))
      }
    }
    expect(entries.get(keyOf(0))).toBe(first)
    for (const entry of entries.all()) expect(entry.peek().get('n')).toMatch(/^\d+\.3$/)
    expect(entries.size).toBe(MORE_THAN_STAY_UNPACKED)
  })

  test('count their bytes through writes and drops', () => {
    const entries = createEntries('a')
    const sum = (): number => [...entries.all()].reduce((bytes, entry) => bytes + entry.peek().bytes, 0)
    for (let number = 0; number < 2_000; number++) entries.put(made(number))
    for (let number = 0; number < 2_000; number += 3) entries.put(written(entries.get(keyOf(number))?.record as ClusterRecord, '"größer"'))
    for (let number = 0; number < 2_000; number += 5) entries.drop(keyOf(number))
    expect(entries.bytes).toBe(sum())
    for (const { key } of [...entries.all()]) entries.drop(key)
    expect(entries.bytes).toBe(0)
  })

  test("find a user's sessions, one or many, until they are dropped", () => {
    const entries = createEntries('a')
    for (const [number, user] of [
      [1, 'ada'],
      [2, 'ada'],
      [3, 'bob'],
    ] as const)
      entries.put(made(number, user))
    const of = (user: string): string[] => [...entries.keysOfUser(user)].sort()
    expect(of('ada')).toEqual([keyOf(1), keyOf(2)].sort())
    expect(of('bob')).toEqual([keyOf(3)])
    entries.drop(keyOf(1))
    expect(of('ada')).toEqual([keyOf(2)])
    entries.drop(keyOf(2))
    entries.drop(keyOf(3))
    expect([of('ada'), of('bob')]).toEqual([[], []])
  })
})
