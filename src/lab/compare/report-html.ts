/** The report as one page that needs nothing else: tables, and cost against the number of servers as charts. */
import { chart } from './chart.ts'
import { escapeHtml } from './escape-html.ts'
import { figure, METRICS, titleOf } from './metrics.ts'
import { legendLines, metaLines, verdict } from './report-text.ts'
import type { CompareReport } from './result.ts'

const CHARTED = [
  'cpuMicrosPerRequest',
  'betweenNodesBytesPerWrite',
  'storeBytesPerRequest',
  'cookieBytesPerRequest',
  'p99Ms',
  'rssBytesPerNode',
]

const STYLE = `
:root { color-scheme: light dark; --text: light-dark(#1d2a2f, #e6eef0); --back: light-dark(#fbfaf6, #10191c); --rule: light-dark(#d8dcd8, #2c3a3f);
  --c0: light-dark(#b3261e, #ff8a80); --c1: light-dark(#0b57a4, #7db7ff); --c2: light-dark(#5a3ea6, #c0a8ff); --c3: light-dark(#8a5a00, #ffc266);
  --c4: light-dark(#00695c, #5fd9c5); --c5: light-dark(#a0207a, #ff9bd9); --c6: light-dark(#3d5a00, #b7dd6a) }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back) }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap } th:first-child { text-align: left; font-weight: 500 }
td.loss { color: var(--c0); font-weight: 700 }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem } figure { margin: 0 } figcaption { font-weight: 600 }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: var(--text) } .grid { stroke: var(--rule) }
.line { fill: none; stroke-width: 2 } .line circle { stroke: none }
${[0, 1, 2, 3, 4, 5, 6].map((index) => `.c${index} { stroke: var(--c${index}) } .c${index} circle { fill: var(--c${index}) } .k${index} { color: var(--c${index}) }`).join('\n')}
ul.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem }
.meta { color: color-mix(in srgb, var(--text) 70%, transparent); font-size: .85rem }
`

export function htmlReport(report: CompareReport): string {
  const labels = [...new Set(report.results.map(({ label }) => label))]
  const nodes = [...new Set(report.results.map((result) => result.nodes))]
  const charts = METRICS.filter(({ name }) => CHARTED.includes(name)).map((metric) => chart(metric, report.results, labels))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Session strategies, measured</title><style>${STYLE}</style></head><body><main>
<h1>Session strategies, measured</h1>
${verdict(report)
  .map((text) => `<p>${escapeHtml(text)}</p>`)
  .join('\n')}
<ul class="legend">${legendLines(report)
    .map((text, index) => `<li><strong class="k${index}">●</strong> ${escapeHtml(text)}</li>`)
    .join('')}</ul>
<h2>Cost against the number of servers</h2>
<div class="charts">${charts.join('\n')}</div>
${nodes.map((count) => table(report, count)).join('\n')}
<ul class="meta">${metaLines(report)
    .map((text) => `<li>${escapeHtml(text)}</li>`)
    .join('')}</ul>
</main></body></html>
`
}

function table(report: CompareReport, nodes: number): string {
  const results = report.results.filter((result) => result.nodes === nodes)
  const head = results.map(({ label }) => `<th scope="col">${escapeHtml(label)}</th>`).join('')
  const rows = METRICS.map((metric) => {
    const cells = results.map(
      (result) => `<td${metric.isLoss === true && result[metric.name] !== 0 ? ' class="loss"' : ''}>${figure(metric, result)}</td>`,
    )
    return `<tr><th scope="row">${escapeHtml(titleOf(metric).trim())}</th>${cells.join('')}</tr>`
  })
  return `<h2>${nodes} servers</h2><div class="scroll" tabindex="0" role="region" aria-label="${nodes} servers"><table><thead><tr><td></td>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`
}
