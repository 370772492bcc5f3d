import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { brokenPromises } from '../../src/lab/compare/metrics.ts'
import type { CompareReport } from '../../src/lab/compare/result.ts'
import { runCompare } from './compare-process.ts'
import { requireBuild } from './lab-process.ts'

let folder: string
beforeAll(() => {
  requireBuild()
  folder = mkdtempSync(join(tmpdir(), 'holdfast-compare-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const SMALL = ['--nodes', '3', '--seconds', '4', '--visitors', '20']

test('compare - shows the problem and the answers: JSON, Markdown, a page, a table', async () => {
  const files = ['json', 'markdown', 'html'].map((kind) => join(folder, `report.${kind}`)) as [string, string, string]
  const [json, markdown, html] = files
  const args = [...SMALL, '--strategies', 'isolated,dedicated', '--json', json, '--markdown', markdown, '--html', html]
  const { code, out, err } = await runCompare(args)
  expect([code, err.split('\n').filter((line) => /^\d\/2/.test(line))]).toEqual([
    0,
    ['1/2  isolated, 3 servers', '2/2  dedicated, 3 servers'],
  ])
  const { meta, results } = JSON.parse(readFileSync(json, 'utf8')) as CompareReport
  expect(meta).toMatchObject({ seed: 1, partial: false, store: 'Redis', workload: { visitors: 20 } })
  expect(results.map(({ strategy, nodes }) => [strategy, nodes])).toEqual([
    ['isolated', 3],
    ['dedicated', 3],
  ])
  for (const result of results) {
    const losses = [result.sessionsLost, result.lostUpdates, result.staleReads]
    if (result.strategy === 'isolated') expect(result.sessionsLost).toBeGreaterThan(0)
    else expect(losses, result.label).toEqual([0, 0, 0])
    expect(result.cpuMicrosPerRequest, result.label).toBeGreaterThan(0)
    expect(result.cookieBytesPerRequest, result.label).toBeGreaterThan(50)
  }
  const [, dedicated] = results
  expect(dedicated).toMatchObject({ betweenNodesBytesPerWrite: 0 })
  expect(dedicated?.storeBytesPerRequest).toBeGreaterThan(0)
  // How soon it recovers depends on what else the machine does.
  expect(brokenPromises(results).filter((line) => !line.includes('recovery'))).toEqual([])
  expect(out).toMatch(/Every promise held\.|recovery took/)
  // The store was stopped for longer than anybody waits for it: that is its weakness, and it shows.
  expect(dedicated?.failedWhileStoreStopped).toBeGreaterThan(0)
  expect(err).not.toContain('Warning')
  expect(readFileSync(markdown, 'utf8')).toContain('| sessions lost |')
  expect(readFileSync(html, 'utf8')).toContain('</html>')
})

test('compare - wrong usage is one clear line each: fewer than 2 servers, an unknown strategy, a place that cannot be written', async () => {
  const cases: [args: string[], code: number, line: RegExp][] = [
    [['--nodes', '1'], 2, /--nodes must be a whole number from 2 to 16/],
    [['--strategies', 'sticky'], 2, /Unknown strategy: choose one of/],
    [['--json', join(folder, 'missing', 'report.json')], 2, /Cannot write .* \(ENOENT\): choose another place/],
    [['--nodes', '2,1'], 2, /--nodes must be a whole number from 2 to 16/],
    [['--strategies', 'isolated,'], 2, /Unknown strategy: choose one of/],
    [['--store', 'mongodb://x'], 2, /The store must be/],
    [['--plan', '--servers', '0'], 2, /--servers must be a whole number from 1 to 1000/],
    [['--plan', '--from', join(folder, 'none.json')], 2, /--from: .* is no report: make one with holdfast compare --json/],
  ]
  for (const [args, code, line] of cases) {
    const ended = await runCompare(args)
    const told = ended.err.split('\n').filter((one) => one.startsWith('holdfast:'))
    expect([ended.code, told.length], ended.err).toEqual([code, 1])
    expect([ended.err.trim(), ended.out]).toEqual([told[0], ''])
    expect(told[0]).toMatch(line)
  }
})
