import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CompareReport } from '../../src/lab/compare/result.ts'
import { freePort } from '../setup/ports.ts'
import { CLI, requireBuild } from './lab-process.ts'

let folder: string
beforeAll(() => {
  requireBuild()
  folder = mkdtempSync(join(tmpdir(), 'holdfast-compare-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** `watch` sees the progress as it grows. */
function run(args: readonly string[], watch: (progress: string, child: ChildProcess) => void = () => undefined): Promise<Ended> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')))
  const child = spawn(process.execPath, [CLI, 'compare', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => watch((err += chunk.toString()), child))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, err }))
  })
}

const SMALL = ['--nodes', '3', '--seconds', '4', '--visitors', '20']

test('compare - shows the problem and the answers: JSON, Markdown, a page, a table', async () => {
  const files = ['json', 'markdown', 'html'].map((kind) => join(folder, `report.${kind}`)) as [string, string, string]
  const [json, markdown, html] = files
  const args = [...SMALL, '--strategies', 'isolated,dedicated', '--json', json, '--markdown', markdown, '--html', html]
  const { code, out, err } = await run(args)
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
  expect(out).toContain('Every promise held.')
  expect(readFileSync(markdown, 'utf8')).toContain('| sessions lost |')
  expect(readFileSync(html, 'utf8')).toContain('</html>')
})

test('compare - Ctrl-C ends everything it started, and what was finished is written and marked partial', async () => {
  const json = join(folder, 'partial.json')
  const args = [...SMALL, '--strategies', 'isolated,replication', '--json', json]
  let interrupted = false
  const { code, out } = await run(args, (progress, child) => {
    if (interrupted || !progress.includes('2/3')) return
    interrupted = true
    child.kill('SIGINT')
  })
  expect(code).toBe(1)
  const { meta, results } = JSON.parse(readFileSync(json, 'utf8')) as CompareReport
  expect([meta.partial, results.map(({ label }) => label)]).toEqual([true, ['isolated']])
  expect(out).toContain('Partial')
})

test('compare - wrong usage and a store that does not answer are one clear line each', async () => {
  const store = `redis://127.0.0.1:${await freePort()}`
  const cases: [args: string[], code: number, line: RegExp][] = [
    [['--nodes', '1'], 2, /--nodes must be a whole number from 2 to 16/],
    [['--strategies', 'sticky'], 2, /Unknown strategy: choose one of/],
    [['--json', join(folder, 'missing', 'report.json')], 2, /Cannot write .* \(ENOENT\): choose another place/],
    [[...SMALL, '--strategies', 'dedicated', '--store', store], 1, /cannot reach Redis at redis:\/\/127\.0\.0\.1:\d+ .*start it/],
  ]
  for (const [args, code, line] of cases) {
    const ended = await run(args)
    const told = ended.err.split('\n').filter((one) => one.startsWith('holdfast:'))
    expect([ended.code, told.length], ended.err).toEqual([code, 1])
    expect(told[0]).toMatch(line)
  }
})
