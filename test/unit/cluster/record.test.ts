import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyDelta, type ClusterRecord, type Delta, deltaOf, mergeRecords, recordOf } from '../../../src/cluster/record.ts'
import { covers } from '../../../src/core/floor.ts'
import type { Change } from '../../../src/seam.ts'

const KEY = 'A'.repeat(43)
const meta = { userId: 'ada', createdAt: 1, lastActiveAt: 1, idleMs: 10, touchEveryMs: 1, absoluteAt: 100, persistent: false }
const FIELDS = ['x', 'y', 'n', '__proto__']

interface Step {
  readonly server: number
  readonly field: string
  readonly value: string | undefined
  readonly add: number
  readonly lifetime: number
  /** Exchange afterwards: 0 nothing, 1 whole copy of another server, 2 all its deltas. */
  readonly hear: number
  readonly from: number
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    server: fc.nat(2),
    field: fc.constantFrom(...FIELDS),
    value: fc.option(fc.constantFrom('1', '2', '3'), { nil: undefined }),
    add: fc.integer({ min: -3, max: 3 }),
    lifetime: fc.nat(9),
    hear: fc.nat(2),
    from: fc.nat(2),
  }),
  { minLength: 1, maxLength: 25 },
)

/** Three servers that write and hear of each other now and then; all deltas ever made. */
function play(plan: readonly Step[]): { deltas: Delta[]; start: ClusterRecord; copies: ClusterRecord[] } {
  const start = recordOf(
    KEY,
    {
      meta,
      fields: new Map([
        ['x', '0'],
        ['n', '0'],
      ]),
    },
    { origin: 's0', counter: 1 },
  )
  const copies = [start, start, start]
  const deltas: Delta[] = []
  for (const [at, step] of plan.entries()) {
    const mine = copies[step.server] as ClusterRecord
    const change: Change = {
      set: step.field === 'n' ? new Map() : new Map([[step.field, step.value]]),
      add: step.field === 'n' ? new Map([['n', { by: step.add, from: 0 }]]) : new Map(),
      touchAt: at,
      ...(step.lifetime < 3 && { lifetime: { idleMs: 10 + at, touchEveryMs: 1, absoluteAt: 100 } }),
    }
    const delta = deltaOf(mine, change, { origin: `s${step.server}`, counter: mine.highest + 1 })
    deltas.push(delta)
    copies[step.server] = applyDelta(mine, delta)
    if (step.hear === 1) copies[step.server] = mergeRecords(copies[step.server] as ClusterRecord, copies[step.from] as ClusterRecord)
    if (step.hear === 2) copies[step.server] = deliver(copies[step.server] as ClusterRecord, deltas)
  }
  return { deltas, start, copies }
}

/** In the order given, each once its parents are covered. */
function deliver(record: ClusterRecord, deltas: readonly Delta[]): ClusterRecord {
  let copy = record
  let waiting = [...deltas]
  for (;;) {
    const ready = waiting.filter((delta) => covers(copy.coverage, delta.parents))
    if (ready.length === 0) return copy
    for (const delta of ready) copy = applyDelta(copy, delta)
    waiting = waiting.filter((delta) => !ready.includes(delta))
  }
}

const state = (record: ClusterRecord): unknown => ({
  ...record,
  cells: new Map([...record.cells].sort()),
  coverage: new Map([...record.coverage].sort()),
})

describe('records converge', () => {
  test('whatever the order in which deltas arrive', () => {
    fc.assert(
      fc.property(
        steps.chain((plan) => fc.tuple(fc.constant(plan), fc.shuffledSubarray([...plan.keys()], { minLength: plan.length }))),
        ([plan, order]) => {
          const { deltas, start } = play(plan)
          const shuffled = order.map((index) => deltas[index] as Delta)
          expect(state(deliver(start, shuffled))).toEqual(state(deliver(start, deltas)))
        },
      ),
    )
  })

  test('whether they exchange deltas, whole records, or both, in any order, twice or once', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const { copies, deltas, start } = play(plan)
        const [a, b, c] = copies as [ClusterRecord, ClusterRecord, ClusterRecord]
        const all = state(deliver(start, deltas))
        expect(state(mergeRecords(mergeRecords(a, b), c))).toEqual(all)
        expect(state(mergeRecords(c, mergeRecords(b, a)))).toEqual(all)
        expect(state(deliver(mergeRecords(b, c), [...deltas, ...deltas].reverse()))).toEqual(all)
        expect(state(mergeRecords(mergeRecords(a, mergeRecords(b, c)), b))).toEqual(all)
      }),
    )
  })

  test('the sum of all adds and the last write are what a reader sees', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const { copies, deltas } = play(plan)
        const merged = copies.reduce(mergeRecords)
        const sum = plan.reduce((total, step) => total + (step.field === 'n' ? step.add : 0), 0)
        expect(Number(merged.get('n'))).toBe(sum)
        expect(merged.heads.every((head) => deltas.some(({ dot }) => dot.counter === head.counter && dot.origin === head.origin))).toBe(
          true,
        )
        expect([...merged.fields()].every((field) => merged.get(field) !== undefined && !merged.isRemoved(field))).toBe(true)
      }),
    )
  })

  test('heads are exactly the writes nothing else was written on top of', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const { copies, deltas } = play(plan)
        const merged = copies.reduce(mergeRecords)
        const named = new Set(deltas.flatMap((delta) => delta.parents.map((parent) => `${parent.origin}:${parent.counter}`)))
        const maximal = deltas.map(({ dot }) => `${dot.origin}:${dot.counter}`).filter((dot) => !named.has(dot))
        expect(new Set(merged.heads.map((head) => `${head.origin}:${head.counter}`))).toEqual(new Set(maximal))
      }),
    )
  })
})
