import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { copyHash } from '../../../src/cluster/digests.ts'
import { createEntries, type Entries } from '../../../src/cluster/entries.ts'
import { applyDelta, deltaOf, recordOf, touched } from '../../../src/cluster/record.ts'
import { SLOTS, slotOf } from '../../../src/core/slot-order.ts'

const keyOf = (number: number): string => createHash('sha256').update(String(number)).digest('base64url')
const meta = { userId: undefined, createdAt: 1, lastActiveAt: 1, idleMs: 10, touchEveryMs: 1, absoluteAt: 100, persistent: false }

function put(entries: Entries, number: number): void {
  const draft = { meta, fields: new Map([['n', '0']]) }
  if (entries.get(keyOf(number)) === undefined) entries.put(recordOf(keyOf(number), draft, { origin: 'a', counter: 1 }))
}

function write(entries: Entries, number: number, origin: string): void {
  const record = entries.get(keyOf(number))?.record
  if (record === undefined) return
  const change = { set: new Map([['n', '1']]), add: new Map(), touchAt: 2 }
  entries.put(applyDelta(record, deltaOf(record, change, { origin, counter: record.highest + 1 })))
}

function touch(entries: Entries, number: number): void {
  const record = entries.get(keyOf(number))?.record
  if (record !== undefined) entries.put(touched(record, record.meta.lastActiveAt + 1))
}

const OPERATIONS: Readonly<Record<string, (entries: Entries, number: number) => void>> = {
  put,
  touch,
  'write a': (entries, number) => write(entries, number, 'a'),
  'write b': (entries, number) => write(entries, number, 'b'),
  drop: (entries, number) => entries.drop(keyOf(number)),
  bury: (entries, number) => void entries.bury(keyOf(number), { reason: 'destroyed', endedAt: 1, until: 9 }),
}
const runs = fc.array(fc.tuple(fc.constantFrom(...Object.keys(OPERATIONS)), fc.nat(12)), { maxLength: 80 })

function after(run: readonly (readonly [string, number])[]): Entries {
  const entries = createEntries('a')
  for (const [operation, number] of run) OPERATIONS[operation]?.(entries, number)
  return entries
}

describe('digests', () => {
  test('are those of the copies held, whatever came, changed and went', () => {
    fc.assert(
      fc.property(runs, (run) => {
        const entries = after(run)
        const digests = new Map<number, number>()
        const counts = new Map<number, number>()
        for (const { heads, key } of entries.all()) {
          digests.set(slotOf(key), ((digests.get(slotOf(key)) ?? 0) ^ copyHash(key, heads)) >>> 0)
          counts.set(slotOf(key), (counts.get(slotOf(key)) ?? 0) + 1)
        }
        for (let slot = 0; slot < SLOTS; slot++) {
          if (entries.digests.ofSlot(slot) !== (digests.get(slot) ?? 0)) throw new Error(`digest of slot ${slot}`)
          if (entries.digests.countOf(slot) !== (counts.get(slot) ?? 0)) throw new Error(`count of slot ${slot}`)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('differ where one write is missing', () => {
    const [full, behind] = [createEntries('a'), createEntries('a')]
    for (const entries of [full, behind]) put(entries, 1)
    const slot = slotOf(keyOf(1))
    expect(full.digests.ofSlot(slot)).toBe(behind.digests.ofSlot(slot))
    write(full, 1, 'b')
    expect(full.digests.ofSlot(slot)).not.toBe(behind.digests.ofSlot(slot))
    write(behind, 1, 'b')
    expect(full.digests.ofSlot(slot)).toBe(behind.digests.ofSlot(slot))
  })
})
