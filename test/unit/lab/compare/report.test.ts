import { describe, expect, test } from 'vitest'
import { brokenPromises } from '../../../../src/lab/compare/metrics.ts'
import { htmlReport } from '../../../../src/lab/compare/report-html.ts'
import { markdownReport, terminalReport } from '../../../../src/lab/compare/report-text.ts'
import type { CompareReport, CompareResult } from '../../../../src/lab/compare/result.ts'
import { VARIANTS } from '../../../../src/lab/compare/variants.ts'

function result(label: string, nodes: number, changed: Partial<CompareResult> = {}): CompareResult {
  const { options, strategy } = VARIANTS.find((variant) => variant.label === label) as (typeof VARIANTS)[number]
  return {
    label,
    strategy,
    options,
    nodes,
    sessionsLost: 0,
    failedRequests: 3,
    failedWhileStoreStopped: 0,
    lostUpdates: 0,
    staleReads: 0,
    requests: 9_999,
    p50Ms: 1.24,
    p99Ms: 1_234.5,
    cpuMicrosPerRequest: 123_456,
    betweenNodesBytesPerWrite: 12_345,
    storeBytesPerRequest: null,
    cookieBytesPerRequest: 1_234,
    rssBytesPerNode: 123_456_789,
    recoveryMs: 250,
    ...changed,
  }
}

const REPORT: CompareReport = {
  meta: {
    version: '1.2.3',
    node: 'v24.0.0',
    machine: '2 × <script>alert(1)</script>',
    startedAt: '2026-11-24T10:00:00.000Z',
    seconds: 88.8,
    seed: 1,
    workload: { fingerprint: '0123456789abcdef', visitors: 40, secondsEach: 4, actionsPerSecond: 200, writeShare: 0.3, sessionBytes: 960 },
    store: 'Redis',
    partial: false,
  },
  results: [2, 4, 8].flatMap((nodes) => VARIANTS.map(({ label }) => result(label, nodes))),
}

describe('compare - the report', () => {
  test('reads in a terminal of 100 columns', () => {
    const lines = terminalReport(REPORT).split('\n')
    const wide = lines.filter((line) => line.length > 100 && !line.includes('seed'))
    expect(wide).toEqual([])
    expect(lines.filter((line) => / {3}(2|4|8) servers|^[248] servers/.test(line))).toHaveLength(3)
    expect(lines.find((line) => line.startsWith('p50'))?.match(/1\.2/g)).toHaveLength(VARIANTS.length)
  })

  test('is one table for each number of servers in Markdown', () => {
    const markdown = markdownReport(REPORT)
    expect(markdown.match(/^## \d servers$/gm)).toEqual(['## 2 servers', '## 4 servers', '## 8 servers'])
    for (const line of markdown.split('\n').filter((one) => one.startsWith('|'))) expect(line.split('|')).toHaveLength(VARIANTS.length + 3)
  })

  test('is one page that loads nothing, and shows text as text', () => {
    const html = htmlReport(REPORT)
    expect(html).not.toMatch(/<script|<link|src=|url\(|@import|https?:/)
    expect(html.match(/<svg /g)?.length).toBe(6)
    expect(html).toContain('&lt;script&gt;')
    expect(html).not.toMatch(/NaN|undefined/)
  })

  test('draws cost against the number of servers to scale: a straight line is straight', () => {
    const grows = (label: string): CompareResult[] =>
      [2, 4, 8].map((nodes) => result(label, nodes, { betweenNodesBytesPerWrite: nodes * 100 }))
    const html = htmlReport({ meta: REPORT.meta, results: grows('replication all') })
    const points = [...html.matchAll(/<polyline points="([^"]+)"/g)].map(([, text = '']) =>
      text.split(' ').map((one) => one.split(',').map(Number)),
    )
    const straight = points.find(([first, , last]) => first?.[1] !== last?.[1]) as [number[], number[], number[]]
    const slope = ([x1 = 0, y1 = 0]: number[], [x2 = 0, y2 = 0]: number[]): number => (y2 - y1) / (x2 - x1)
    expect(slope(straight[0], straight[1])).toBeCloseTo(slope(straight[1], straight[2]), 5)
  })

  test('says which promise did not hold, and of whom none is expected', () => {
    expect(brokenPromises(REPORT.results)).toEqual([])
    const broken = [
      result('isolated', 2, { sessionsLost: 40 }),
      result('affinity 0', 2, { sessionsLost: 9, recoveryMs: 1_500 }),
      result('affinity 1', 2, { staleReads: 1 }),
      result('dedicated', 4, { recoveryMs: 1_001, lostUpdates: 2 }),
    ]
    expect(brokenPromises(broken)).toEqual([
      'affinity 1, 2 servers: 1 stale reads',
      'dedicated, 4 servers: 2 updates lost',
      'dedicated, 4 servers: recovery took 1001 ms',
    ])
    expect(terminalReport({ meta: REPORT.meta, results: broken })).toContain('Promises that did not hold')
    const partial = { meta: { ...REPORT.meta, partial: true }, results: broken }
    expect(terminalReport({ ...partial, results: [] })).toContain('Partial')
    for (const text of [terminalReport(partial), markdownReport(partial), htmlReport(partial)]) {
      expect(text).toContain('Partial')
      expect(text).toContain('affinity 1, 2 servers: 1 stale reads')
    }
  })
})
