import { describe, expect, test } from 'vitest'
import { createOrigins } from '../../../src/cluster/origins.ts'

const coverage = (counters: Record<string, number>) => new Map(Object.entries(counters))

describe('origins', () => {
  test('a server goes on under its name where the copy has its own latest write', () => {
    const origins = createOrigins('A')
    expect(origins.of('k', coverage({ B: 3 }))).toBe('A')
    origins.dropped('k', 'A', coverage({ A: 5, B: 3 }))
    expect(origins.of('k', coverage({ A: 5, B: 9 }))).toBe('A')
  })

  test('and under a fresh one where the copy lacks it, also after a second loss', () => {
    const origins = createOrigins('A')
    origins.dropped('k', 'A', coverage({ A: 5 }))
    expect(origins.of('k', coverage({ A: 4, B: 9 }))).toBe('A.1')
    origins.dropped('k', 'A.1', coverage({ A: 4, B: 9 }))
    expect(origins.of('k', coverage({ A: 4 }))).toBe('A.2')
    origins.dropped('k', 'A.2', coverage({ A: 4, 'A.2': 12 }))
    expect(origins.of('k', coverage({ A: 5, 'A.2': 12 }))).toBe('A.2')
    expect(origins.of('k', coverage({ A: 5, 'A.2': 11 }))).toBe('A.3')
    expect(origins.of('other', coverage({}))).toBe('A')
  })

  test('what was forgotten is taken for lost', () => {
    const origins = createOrigins('A')
    for (let index = 0; index <= 200_000; index++) origins.dropped(`k${index}`, 'A', coverage({ A: 1 }))
    expect(origins.of('k0', coverage({ A: 1 }))).toBe('A.1')
    expect(origins.of('k200000', coverage({ A: 1 }))).toBe('A')
  })
})
