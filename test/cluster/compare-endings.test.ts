import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CompareReport } from '../../src/lab/compare/result.ts'
import { freePort } from '../setup/ports.ts'
import { familyOf } from '../setup/server-process.ts'
import { waitFor, within } from '../setup/servers.ts'
import { type Ended, runCompare } from './compare-process.ts'
import { isAlive, requireBuild } from './lab-process.ts'

let folder: string
beforeAll(() => {
  requireBuild()
  folder = mkdtempSync(join(tmpdir(), 'holdfast-compare-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const SMALL = ['--nodes', '2', '--seconds', '3', '--visitors', '10']
/** Starting and stopping servers on a machine that does other things too. */
const END_DEADLINE_MS = 20_000

let reports = 0
const newFile = (): string => join(folder, `report-${reports++}.json`)
const readReport = (file: string): CompareReport => JSON.parse(readFileSync(file, 'utf8')) as CompareReport
const labelsOf = ({ results }: CompareReport): string[] => results.map(({ label }) => label)

/** Its Redis is stopped: the fault of `dedicated` is under way. */
function hasStoppedChild(pid: number): boolean {
  return familyOf(pid).some((child) => /^State:\s+T/m.test(statusOf(child)))
}
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

interface Interrupted extends Ended {
  readonly left: readonly number[]
  readonly report: CompareReport
}

/** Sends the signal once `reached` resolves, which gets the process when the run of this number begins. */
async function interrupt(
  strategies: string,
  run: string,
  reached: (pid: number) => Promise<unknown>,
  send: (pid: number) => void,
  isLeader = false,
): Promise<Interrupted> {
  const file = newFile()
  let family: number[] = []
  let sent: Promise<void> | undefined
  const strike = async (pid: number): Promise<void> => {
    await reached(pid)
    family = familyOf(pid)
    send(pid)
  }
  const watch = (progress: string, { pid = 0 }: ChildProcess): void => {
    if (progress.includes(run)) sent ??= strike(pid)
  }
  const ended = await within(runCompare([...SMALL, '--strategies', strategies, '--json', file], watch, isLeader), 60_000, 'compare ending')
  await sent
  await waitFor(() => family.length > 1 && !family.some(isAlive), END_DEADLINE_MS, 'all of its processes ending').catch(() => undefined)
  return { ...ended, left: family.filter(isAlive), report: readReport(file) }
}

const sigint = (pid: number): void => void process.kill(pid, 'SIGINT')

describe.runIf(process.platform === 'linux')(
  'compare - Ctrl-C at any moment (processes are found through /proc, which only Linux has)',
  () => {
    test.each<[moment: string, strategies: string, run: string, reached: (pid: number) => Promise<unknown>]>([
      ['the servers start', 'isolated,dedicated', '1/2', (pid) => waitFor(() => familyOf(pid).length > 2)],
      ['the session server starts', 'dedicated', '1/1', async () => undefined],
      ['visitors come', 'isolated,dedicated', '1/2', () => sleep(1_500)],
      ['a server is dead', 'isolated,dedicated', '1/2', () => sleep(3_500)],
      [
        'the session server is stopped',
        'dedicated',
        '1/1',
        (pid) => waitFor(() => hasStoppedChild(pid), 30_000, 'the store being stopped'),
      ],
    ])('while %s: nothing is left running, and the report is marked partial', async (_, strategies, run, reached) => {
      const { code, err, left, out, report } = await interrupt(strategies, run, reached, sigint)
      expect([code, left]).toEqual([1, []])
      expect([report.meta.partial, labelsOf(report)]).toEqual([true, []])
      expect(out).toContain('Partial: it ended before all runs were made.')
      expect(err).not.toMatch(/ {4}at |Warning|Error/)
    })

    test('after the first run: what was finished is written', async () => {
      const { code, left, out, report } = await interrupt('isolated,dedicated', '2/2', () => sleep(300), sigint)
      expect([code, left, report.meta.partial, labelsOf(report)]).toEqual([1, [], true, ['isolated']])
      expect(out).toMatch(/sessions lost +\d/)
    })

    test('as a terminal sends it, to the whole group: the same', async () => {
      const group = (pid: number): void => void process.kill(-pid, 'SIGINT')
      const { code, left, report } = await interrupt('dedicated', '1/1', () => sleep(2_000), group, true)
      expect([code, left, report.meta.partial]).toEqual([1, [], true])
    })

    test('SIGKILL, which nobody can answer: its servers and its stopped session server end all the same', async () => {
      let family: number[] = []
      let struck: Promise<void> | undefined
      const strike = async (pid: number): Promise<void> => {
        await waitFor(() => hasStoppedChild(pid), 30_000, 'the store being stopped')
        family = familyOf(pid)
        process.kill(pid, 'SIGKILL')
      }
      await runCompare([...SMALL, '--strategies', 'dedicated'], (progress, { pid = 0 }) => {
        if (progress.includes('1/1')) struck ??= strike(pid)
      })
      await struck
      expect(family.length).toBeGreaterThan(3)
      await waitFor(() => !family.some(isAlive), END_DEADLINE_MS, 'all of its processes ending')
    })
  },
)

describe('compare - a store that does not answer', () => {
  test.each(['refuses', 'accepts and says nothing'])('one that %s: one clear line, and nothing else on the terminal', async (how) => {
    const silent: Server = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const port = how === 'refuses' ? await freePort() : (silent.address() as AddressInfo).port
    const file = newFile()
    const args = [...SMALL, '--strategies', 'dedicated', '--store', `redis://127.0.0.1:${port}`, '--json', file]
    const { code, err, out } = await within(runCompare(args), 60_000, 'compare ending')
    silent.close()
    const [begun, line, ...more] = err.trim().split('\n')
    expect([code, begun, more, out]).toEqual([1, '1/1  dedicated, 2 servers', [], ''])
    expect(line).toMatch(/^holdfast: n\d could not start: cannot reach Redis at redis:\/\/127\.0\.0\.1:\d+ .*(start it|check its load)/)
    expect(readReport(file)).toMatchObject({ meta: { partial: true }, results: [] })
  })

  test('what was finished before is shown, written and marked partial', async () => {
    const file = newFile()
    const store = `redis://127.0.0.1:${await freePort()}`
    const { code, err, out } = await runCompare([...SMALL, '--strategies', 'isolated,dedicated', '--store', store, '--json', file])
    expect([code, err.split('\n').filter((line) => line.startsWith('holdfast:')).length]).toEqual([1, 1])
    const report = readReport(file)
    expect([report.meta.partial, labelsOf(report)]).toEqual([true, ['isolated']])
    expect(out).toContain('Partial')
  })
})
