import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { calibrated, type Demand, estimate, type Estimate, MEASURED } from '../../../../src/lab/compare/capacity.ts'
import { bytes, planText } from '../../../../src/lab/compare/plan-text.ts'
import { demandOf, answered, QUESTIONS } from '../../../../src/lab/compare/questions.ts'
import { advice, nameOf, recommend } from '../../../../src/lab/compare/recommend.ts'
import type { CompareReport } from '../../../../src/lab/compare/result.ts'

const DEMAND: Demand = { sessions: 100_000, sessionBytes: 1_000, requestsPerSecond: 1_000, writeShare: 0.2, servers: 4, deaths: 1 }
const by = (demand: Demand, name: string): Estimate => {
  const found = estimate(demand).find((one) => nameOf(one).startsWith(name))
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

const demands = fc.record<Demand>({
  sessions: fc.integer({ min: 1, max: 10_000_000 }),
  sessionBytes: fc.integer({ min: 1, max: 65_536 }),
  requestsPerSecond: fc.integer({ min: 1, max: 100_000 }),
  writeShare: fc.double({ min: 0, max: 1, noNaN: true }),
  servers: fc.integer({ min: 1, max: 64 }),
  deaths: fc.constantFrom(0, 1, 2),
})

describe('capacity', () => {
  test("copies: 'all' grows with the number of servers, backups and a fixed number of copies do not", () => {
    const at = (servers: number, name: string): number => by({ ...DEMAND, servers }, name).meshBytesPerSecond
    expect(at(32, "replication, copies: 'all'") / at(4, "replication, copies: 'all'")).toBeCloseTo(31 / 3)
    expect(at(32, 'affinity')).toBe(at(4, 'affinity'))
    expect(at(32, 'replication, copies: 2')).toBeLessThan(at(4, 'replication, copies: 2') * 2)
    expect(by({ ...DEMAND, servers: 32 }, 'replication, copies: 2').memoryBytesPerServer).toBeLessThan(
      by(DEMAND, 'replication, copies: 2').memoryBytesPerServer,
    )
  })

  test('every demand gets finite estimates and a recommendation among them', () => {
    fc.assert(
      fc.property(demands, (demand) => {
        const estimates = estimate(demand)
        for (const { options: _, strategy: __, ...figures } of estimates) {
          for (const value of Object.values(figures)) expect(Number.isFinite(value) && value >= 0).toBe(true)
        }
        const recommendation = recommend(demand, estimates)
        expect(estimates).toContain(recommendation.choice)
        expect(recommendation.against.join()).not.toContain(`${nameOf(recommendation.choice)}:`)
        expect(planText(demand, estimates, recommendation)).not.toMatch(/NaN|undefined|Infinity/)
      }),
    )
  })

  test('recommends by size: one server, few, many, and too much to hold', () => {
    const choice = (changed: Partial<Demand>): string => {
      const demand = { ...DEMAND, ...changed }
      return recommend(demand, estimate(demand)).choice.strategy
    }
    expect(choice({ servers: 1 })).toBe('dedicated')
    expect(choice({ servers: 3 })).toBe('replication')
    expect(choice({ servers: 20 })).toBe('affinity')
    expect(choice({ servers: 20, sessions: 50_000_000 })).toBe('cookieBased')
    expect(choice({ servers: 20, sessions: 50_000_000, sessionBytes: 20_000 })).toBe('dedicated')
  })

  test('what servers hold is not recommended where all of them may die at once', () => {
    for (const servers of [1, 2]) {
      const demand = { ...DEMAND, servers, deaths: 2 } as const
      const recommendation = recommend(demand, estimate(demand))
      expect(['cookieBased', 'dedicated']).toContain(recommendation.choice.strategy)
      expect(advice(recommendation).filter((line) => line.includes('all servers may die at once'))).toHaveLength(3)
    }
    const enough = { ...DEMAND, servers: 3, deaths: 2 } as const
    expect(advice(recommend(enough, estimate(enough)))).toEqual([
      expect.stringMatching(/^Begin with replication, copies: 'all'\. Few servers/),
    ])
  })

  test('questions without an answer have their defaults, and only whole numbers within bounds are answers', () => {
    expect(demandOf(new Map())).toEqual(DEMAND)
    expect(demandOf(new Map([['writes', 0]]))).toEqual({ ...DEMAND, writeShare: 0 })
    for (const question of QUESTIONS) {
      const { fallback, max, min } = question
      for (const fits of [fallback, min, max]) expect(answered(question, ` ${fits} `)).toBe(fits)
      for (const wrong of ['', ' ', 'many', '1.5', '-1', '1e2', '0x1', String(max + 1), ...(min > 0 ? [String(min - 1)] : [])])
        expect(answered(question, wrong), `${question.name}: ${wrong}`).toBeUndefined()
    }
  })

  test('a report of this machine calibrates it', () => {
    const run = {
      sessionsLost: 0,
      failedRequests: 0,
      rssBytesPerNode: 1,
      options: {},
      storeBytesPerRequest: null,
      cookieBytesPerRequest: 200,
    }
    const report = {
      meta: { workload: { sessionBytes: 1_000, writeShare: 0.5 } },
      results: [
        { ...run, label: 'replication all', strategy: 'replication', nodes: 3, betweenNodesBytesPerWrite: 800 },
        { ...run, label: 'cookieBased', strategy: 'cookieBased', nodes: 3, betweenNodesBytesPerWrite: 0, cookieBytesPerRequest: 2_270 },
        { ...run, label: 'dedicated', strategy: 'dedicated', nodes: 2, betweenNodesBytesPerWrite: 0, storeBytesPerRequest: 1_575 },
      ],
    } as unknown as CompareReport
    expect(calibrated(report)).toMatchObject({
      deltaBytes: 400,
      sealFactor: 2,
      jarBytes: 200,
      storeWriteBytes: 1_000,
      storeFactor: MEASURED.storeFactor,
    })
  })

  test('bytes are written for people', () => {
    expect([0, 1, 999, 1_000, 9_949, 9_950, 999_499, 999_500, 1.2e9].map(bytes)).toEqual([
      '–',
      '1 B',
      '999 B',
      '1.0 kB',
      '9.9 kB',
      '10 kB',
      '999 kB',
      '1.0 MB',
      '1.2 GB',
    ])
  })
})
