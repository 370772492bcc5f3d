import { describe, expect, test } from 'vitest'
import { createWorkload, type WorkloadOptions } from '../../../../src/lab/compare/workload.ts'

const OPTIONS: WorkloadOptions = { seed: 7, visitors: 50, seconds: 20, actionsPerSecond: 100, writeShare: 0.3, fields: 8, fieldBytes: 120 }

describe('workload', () => {
  test('equal seeds draw equal workloads, others do not', () => {
    expect(createWorkload(OPTIONS)).toEqual(createWorkload(OPTIONS))
    const fingerprints = [1, 2, 3, 7].map((seed) => createWorkload({ ...OPTIONS, seed }).fingerprint)
    expect(new Set(fingerprints).size).toBe(4)
  })

  test('it is as busy, and writes as much, as was asked for', () => {
    const actions = createWorkload(OPTIONS).actions.flat()
    expect(actions.length / OPTIONS.seconds).toBeGreaterThan(90)
    expect(actions.length / OPTIONS.seconds).toBeLessThan(110)
    const writes = actions.filter(({ kind }) => kind !== 'read').length
    expect(writes / actions.length).toBeCloseTo(0.3, 1)
  })

  test('a visitor does one thing after the other, within the time, and a pair writes two different fields', () => {
    for (const own of createWorkload(OPTIONS).actions) {
      const times = own.map(({ atMs }) => atMs)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
      for (const { atMs, fields } of own) {
        expect(atMs).toBeLessThan(OPTIONS.seconds * 1_000)
        expect(fields[0]).not.toBe(fields[1])
        expect(Math.max(...fields)).toBeLessThan(OPTIONS.fields)
      }
    }
  })
})
