/** The report for a terminal of 100 columns, and as Markdown. */
import { brokenPromises, figure, METRICS, titleOf } from './metrics.ts'
import type { CompareReport, CompareResult } from './result.ts'
import { LEGEND } from './variants.ts'

const TITLE_WIDTH = 22
const CELL_WIDTH = 11

/** The strategy over all of its columns, what tells them apart below. */
function heads(results: readonly CompareResult[]): string[] {
  const parts = results.map(({ label }) => label.split(' ') as [string, string?])
  let first = ''
  for (let index = 0; index < parts.length; ) {
    const [name] = parts[index] as [string]
    const same = parts.slice(index).findIndex(([other]) => other !== name)
    const columns = same < 0 ? parts.length - index : same
    first += columns === 1 ? name.padStart(CELL_WIDTH) : centred(name, columns * CELL_WIDTH)
    index += columns
  }
  const second = parts.map(([, what = '']) => what.padStart(CELL_WIDTH)).join('')
  return [first, second].filter((text) => text.trim() !== '').map((text) => ' '.repeat(TITLE_WIDTH) + text)
}

function centred(text: string, width: number): string {
  return text.padStart((width + text.length) >> 1).padEnd(width)
}

const nodesOf = (report: CompareReport): number[] => [...new Set(report.results.map(({ nodes }) => nodes))]

export function terminalReport(report: CompareReport): string {
  const lines: string[] = []
  for (const nodes of nodesOf(report)) {
    const results = report.results.filter((result) => result.nodes === nodes)
    lines.push(`${nodes} servers`, ...heads(results))
    for (const metric of METRICS) {
      lines.push(titleOf(metric).padEnd(TITLE_WIDTH) + results.map((result) => figure(metric, result).padStart(CELL_WIDTH)).join(''))
    }
    lines.push('')
  }
  return [...lines, ...legendLines(report), ...verdict(report), ...metaLines(report)].join('\n')
}

export function markdownReport(report: CompareReport): string {
  const lines = ['# Session strategies, measured', '']
  for (const nodes of nodesOf(report)) {
    const results = report.results.filter((result) => result.nodes === nodes)
    lines.push(`## ${nodes} servers`, '', `| | ${results.map(({ label }) => label).join(' | ')} |`, `|---|${'---|'.repeat(results.length)}`)
    for (const metric of METRICS) {
      lines.push(`| ${titleOf(metric).trim()} | ${results.map((result) => figure(metric, result)).join(' | ')} |`)
    }
    lines.push('')
  }
  return [
    ...lines,
    ...legendLines(report).map((line) => `- ${line}`),
    '',
    ...verdict(report).map((line) => line.replace(/^ {2}/, '- ')),
    '',
    ...metaLines(report).map((line) => `- ${line}`),
    '',
  ].join('\n')
}

export function legendLines(report: CompareReport): string[] {
  const used = [...new Set(report.results.map(({ label }) => label))]
  return used.map((label) => `${label}: ${LEGEND[label] ?? ''}${label === 'dedicated' ? `, here ${report.meta.store}` : ''}`)
}

export function verdict({ meta, results }: CompareReport): string[] {
  const broken = brokenPromises(results)
  const failed = broken.length === 0 ? [] : ['Promises that did not hold:', ...broken.map((line) => `  ${line}`)]
  if (meta.partial) return ['Partial: it ended before all runs were made.', ...failed]
  return failed.length === 0 ? ['Every promise held.'] : failed
}

export function metaLines({ meta }: CompareReport): string[] {
  const { actionsPerSecond, fingerprint, secondsEach, sessionBytes, visitors, writeShare } = meta.workload
  return [
    `holdfast ${meta.version}, Node ${meta.node}, ${meta.machine}`,
    `seed ${meta.seed} (workload ${fingerprint}), ${visitors} visitors, ${actionsPerSecond} actions/s, ${Math.round(writeShare * 100)}% writes, ${sessionBytes} bytes a session, ${secondsEach} s a run`,
    `started ${meta.startedAt}, took ${meta.seconds} s`,
  ]
}
