/** A line chart as SVG: one metric against the number of servers, one line for each configuration. */
import { figure, type Metric, titleOf } from './metrics.ts'
import type { CompareResult } from './result.ts'
import { escapeHtml } from './escape-html.ts'

const WIDTH = 360
const HEIGHT = 220
const LEFT = 56
const RIGHT = 12
const TOP = 12
const BOTTOM = 34

/** Told apart by dashes too, not by colour alone. */
const DASHES = ['', '6 3', '2 3', '8 3 2 3', '', '6 3', '2 3']

interface Scale {
  x(nodes: number): number
  y(value: number): number
}

export function chart(metric: Metric, results: readonly CompareResult[], labels: readonly string[]): string {
  const nodes = [...new Set(results.map((result) => result.nodes))].toSorted((a, b) => a - b)
  const known = results.filter((result) => typeof result[metric.name] === 'number')
  const [fewest = 0, widest = 0] = [nodes.at(0), nodes.at(-1)]
  const most = Math.max(1, ...known.map((result) => result[metric.name] as number))
  const scale: Scale = {
    x: (count) => LEFT + (fewest === widest ? 0.5 : (count - fewest) / (widest - fewest)) * (WIDTH - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM),
  }
  const lines = labels.map((label, index) =>
    line(
      metric,
      known.filter((result) => result.label === label),
      index,
      scale,
    ),
  )
  const title = titleOf(metric).trim()
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${title} against the number of servers`)}">
${axis(metric, most, nodes, scale)}
${lines.join('\n')}
</svg></figure>`
}

function axis(metric: Metric, most: number, nodes: readonly number[], { x, y }: Scale): string {
  const levels = [0, most / 2, most].map((value) => {
    const text = figure(metric, { [metric.name]: value } as unknown as CompareResult)
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}"/><text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${text}</text>`
  })
  const ticks = nodes.map((count) => `<text x="${x(count)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${count}</text>`)
  return [...levels, ...ticks, `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">servers</text>`].join('')
}

function line(metric: Metric, results: readonly CompareResult[], index: number, { x, y }: Scale): string {
  const points = results.map((result) => [x(result.nodes), y(result[metric.name] as number)] as const)
  const dots = results.map((result, at) => {
    const [cx, cy] = points[at] as readonly [number, number]
    return `<circle cx="${cx}" cy="${cy}" r="3.5"><title>${escapeHtml(`${result.label}, ${result.nodes} servers: ${figure(metric, result)}`)}</title></circle>`
  })
  const path = points.map(([px, py]) => `${px},${py}`).join(' ')
  return `<g class="line c${index}"><polyline points="${path}" stroke-dasharray="${DASHES[index % DASHES.length]}"/>${dots.join('')}</g>`
}
