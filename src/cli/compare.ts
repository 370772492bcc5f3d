/** `holdfast compare`: the measured evaluation of all strategies. */
import { writeFileSync } from 'node:fs'
import { compare, type CompareProgress } from '../lab/compare/compare.ts'
import { htmlReport } from '../lab/compare/report-html.ts'
import { markdownReport, terminalReport } from '../lab/compare/report-text.ts'
import type { CompareReport } from '../lab/compare/result.ts'
import { compareSettings, type CompareSettings } from './compare-options.ts'
import { flagsOf } from './flags.ts'
import { planCommand } from './plan.ts'
import { usageError } from './usage-error.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const INTERRUPTED = 1

/** Resolves to the exit code, once everything it started has ended. */
export async function compareCommand(flags: Readonly<Record<string, unknown>>, version: string): Promise<number> {
  if (usageError(() => flagsOf(flags, process.env).isOn('plan'))) return planCommand(flags, process.env)
  const settings = usageError(() => compareSettings(flags, process.env))
  usageError(() => writeFiles(settings.files, undefined))
  const stopping = new AbortController()
  for (const signal of SIGNALS) process.on(signal, () => stopping.abort())
  const { failure, report } = await compare({ ...settings, version }, progressTo(process.stderr), stopping.signal)
  // The table first: a disk that is full by now takes only the files. Nothing to show but why it failed: one line.
  if (failure === undefined || report.results.length > 0) process.stdout.write(`\n${terminalReport(report)}\n`)
  writeFiles(settings.files, report)
  if (failure !== undefined) throw failure
  return report.meta.partial ? INTERRUPTED : 0
}

/** Without a report: whether the files can be written, before minutes have been spent. */
function writeFiles({ html, json, markdown }: CompareSettings['files'], report: CompareReport | undefined): void {
  const write = (file: string | undefined, render: (report: CompareReport) => string): void => {
    if (file === undefined) return
    try {
      if (report === undefined) writeFileSync(file, '', { flag: 'a' })
      else writeFileSync(file, render(report))
    } catch (error) {
      throw new Error(`Cannot write ${file} (${(error as NodeJS.ErrnoException).code ?? 'unknown'}): choose another place.`, {
        cause: error,
      })
    }
  }
  write(json, (done) => `${JSON.stringify(done, null, 2)}\n`)
  write(markdown, markdownReport)
  write(html, htmlReport)
}

function progressTo(stream: NodeJS.WriteStream): CompareProgress {
  const print = (line: string): void => void stream.write(`${line}\n`)
  return {
    begin: ({ number, of, label, nodes }) => print(`${String(number).padStart(String(of).length)}/${of}  ${label}, ${nodes} servers`),
    done: ({ lostUpdates, sessionsLost, failedRequests, p99Ms }) =>
      print(`      ${sessionsLost} sessions lost, ${lostUpdates} updates lost, ${failedRequests} failed, p99 ${p99Ms.toFixed(1)} ms`),
    log: () => undefined,
  }
}
