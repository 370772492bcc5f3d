import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advanceHeads, covers, mergeCoverage, mergeHeads } from '../../../src/core/floor.ts'
import { type Cell, type Cells, changedCells, type Dot, mergeAll, mergeCells, shownValue } from '../../../src/core/merge.ts'

const dot: fc.Arbitrary<Dot> = fc.record({ origin: fc.constantFrom('a', 'b', 'c'), counter: fc.integer({ min: 1, max: 4 }) })
const value = fc.option(fc.constantFrom('1', '2', '3'), { nil: undefined })
const tally = fc.record({ sequence: fc.integer({ min: 1, max: 3 }), total: fc.integer({ min: -2, max: 2 }) }, { noNullPrototype: true })
const cell: fc.Arbitrary<Cell> = fc.oneof(
  fc.record({ stamp: dot, value }),
  fc.record({ stamp: dot, value, adds: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tally).map((adds) => new Map(Object.entries(adds))) }),
)
const cells: fc.Arbitrary<Cells> = fc.dictionary(fc.constantFrom('x', 'y', 'z'), cell).map((all) => new Map(Object.entries(all)))

/** A cell without adds and one with none added say the same. */
const plain = (one: Cell) => ({ stamp: one.stamp, value: one.value, adds: [...(one.adds ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)) })
const plainAll = (all: Cells) => Object.fromEntries([...all].map(([name, one]) => [name, plain(one)]))

function same(a: unknown, b: unknown): void {
  expect(a).toEqual(b)
}

describe('merge', () => {
  test('is commutative', () => {
    fc.assert(fc.property(cell, cell, (a, b) => same(plain(mergeCells(a, b)), plain(mergeCells(b, a)))))
    fc.assert(fc.property(cells, cells, (a, b) => same(plainAll(mergeAll(a, b)), plainAll(mergeAll(b, a)))))
  })

  test('is associative', () => {
    fc.assert(
      fc.property(cell, cell, cell, (a, b, c) => same(plain(mergeCells(mergeCells(a, b), c)), plain(mergeCells(a, mergeCells(b, c))))),
    )
    fc.assert(
      fc.property(cells, cells, cells, (a, b, c) => same(plainAll(mergeAll(mergeAll(a, b), c)), plainAll(mergeAll(a, mergeAll(b, c))))),
    )
  })

  test('is idempotent, and gives the same map back when nothing is newer', () => {
    fc.assert(fc.property(cell, (a) => same(plain(mergeCells(a, a)), plain(a))))
    fc.assert(fc.property(cells, cells, (a, b) => same(mergeAll(mergeAll(a, b), b), mergeAll(a, b))))
    fc.assert(
      fc.property(cells, (a) => {
        expect(mergeAll(a, a)).toBe(a)
      }),
    )
  })

  test('counters sum exactly whatever order and however often deltas arrive', () => {
    const step = fc.record({ origin: fc.constantFrom('a', 'b', 'c'), by: fc.integer({ min: -5, max: 5 }) })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), fc.infiniteStream(fc.nat()), (steps, order) => {
        const replicas = new Map<string, Cells>()
        const deltas = steps.map(({ origin, by }, index) => {
          const mine = replicas.get(origin) ?? new Map()
          const delta = changedCells(mine, { set: new Map(), add: new Map([['n', { by, from: 10 }]]) }, { origin, counter: index + 1 })
          replicas.set(origin, mergeAll(mine, delta))
          return delta
        })
        const shuffled = [...deltas, ...deltas].map((delta) => ({ delta, at: order.next().value as number })).sort((a, b) => a.at - b.at)
        const merged = shuffled.reduce<Cells>((all, { delta }) => mergeAll(all, delta), new Map())
        expect(shownValue(merged.get('n'))).toBe(String(10 + steps.reduce((sum, { by }) => sum + by, 0)))
      }),
    )
  })

  test('assigning a counter starts it anew: older additions do not come back', () => {
    const counted = changedCells(new Map(), { set: new Map(), add: new Map([['n', { by: 3, from: 0 }]]) }, { origin: 'a', counter: 1 })
    const assigned = mergeAll(counted, changedCells(counted, { set: new Map([['n', '100']]), add: new Map() }, { origin: 'b', counter: 2 }))
    const late = changedCells(counted, { set: new Map(), add: new Map([['n', { by: 4, from: 0 }]]) }, { origin: 'a', counter: 2 })
    expect(shownValue(mergeAll(assigned, late).get('n'))).toBe('100')
    expect(shownValue(mergeAll(late, assigned).get('n'))).toBe('100')
  })

  test('removal is a write: a later one wins over it, an earlier one does not', () => {
    const removed: Cell = { stamp: { origin: 'a', counter: 5 }, value: undefined }
    expect(mergeCells(removed, { stamp: { origin: 'b', counter: 4 }, value: '1' })).toEqual(removed)
    expect(mergeCells(removed, { stamp: { origin: 'b', counter: 6 }, value: '1' }).value).toBe('1')
  })
})

describe('floor', () => {
  /** A history of writes at three servers that now and then take each other's state over, with true ancestors kept beside. */
  const history = fc.array(fc.record({ at: fc.nat(2), from: fc.nat(2), write: fc.boolean() }), { maxLength: 30 })

  test('heads are exactly the writes that no held write has seen, coverage exactly what is held', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const name = (one: Dot) => `${one.origin}${one.counter}`
        const ancestors = new Map<string, Set<string>>()
        const dots = new Map<string, Dot>()
        const copies = ['a', 'b', 'c'].map(() => ({
          heads: [] as readonly Dot[],
          coverage: new Map() as ReadonlyMap<string, number>,
          held: new Set<string>(),
        }))
        let highest = 0
        for (const { at, from, write } of steps) {
          const copy = copies[at] as (typeof copies)[number]
          if (write) {
            const one: Dot = { origin: 'abc'[at] as string, counter: ++highest }
            ancestors.set(name(one), new Set(copy.held))
            dots.set(name(one), one)
            copy.heads = advanceHeads(copy.heads, one, copy.heads)
            copy.coverage = mergeCoverage(copy.coverage, new Map([[one.origin, one.counter]]))
            copy.held.add(name(one))
          } else {
            const other = copies[from] as (typeof copies)[number]
            copy.heads = mergeHeads(copy.heads, copy.coverage, other.heads, other.coverage)
            copy.coverage = mergeCoverage(copy.coverage, other.coverage)
            for (const one of other.held) copy.held.add(one)
          }
        }
        for (const copy of copies) {
          const maximal = [...copy.held].filter((one) => ![...copy.held].some((other) => ancestors.get(other)?.has(one)))
          expect(copy.heads.map(name).sort()).toEqual(maximal.sort())
          for (const [one, single] of dots) expect(covers(copy.coverage, [single])).toBe(copy.held.has(one))
        }
      }),
    )
  })

  test('a scalar would be wrong: the highest stamp held does not tell that an earlier write is missing', () => {
    const a: Dot = { origin: 'A', counter: 1 }
    const b: Dot = { origin: 'B', counter: 2 }
    const atC = new Map([['B', 2]])
    expect(Math.max(...atC.values())).toBeGreaterThanOrEqual(b.counter)
    expect(covers(atC, [a])).toBe(false)
    expect(covers(new Map([...atC, ['A', 1]]), [a, b])).toBe(true)
  })
})
