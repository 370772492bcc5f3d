import type { Demand, Estimate } from './capacity.ts'
import { advice, nameOf, type Recommendation } from './recommend.ts'

const NAME_WIDTH = 26
const CELL_WIDTH = 14

/** Bytes for people: 1.2 kB, 34 MB. `–`: none. */
export function bytes(count: number): string {
  if (count === 0) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  let value = count
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000
    unit += 1
  }
  return `${value < 9.95 && unit > 0 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`
}

export const COLUMNS: readonly string[] = ['mesh / s', 'memory each', 'store / s', 'store memory', 'cookies / req']

/** One for each of the columns. */
export function cells(one: Estimate): string[] {
  return [one.meshBytesPerSecond, one.memoryBytesPerServer, one.storeBytesPerSecond, one.storeMemoryBytes, one.cookieBytesPerRequest].map(
    bytes,
  )
}

export function planText(demand: Demand, estimates: readonly Estimate[], recommendation: Recommendation): string {
  const row = (name: string, texts: readonly string[]): string =>
    name.padEnd(NAME_WIDTH) + texts.map((cell) => cell.padStart(CELL_WIDTH)).join('')
  const { deaths, requestsPerSecond, servers, sessionBytes, sessions, writeShare } = demand
  return [
    `${sessions} sessions of ${sessionBytes} bytes, ${requestsPerSecond} requests/s with ${Math.round(writeShare * 100)}% writes, ${servers} servers, of which ${deaths} may die at once`,
    '',
    row('', COLUMNS),
    ...estimates.map((one) => row(nameOf(one), cells(one))),
    '',
    ...advice(recommendation),
    'Arithmetic on measured figures, not a measurement: try it with holdfast compare.',
  ].join('\n')
}
