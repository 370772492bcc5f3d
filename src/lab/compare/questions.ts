/** What the decision aid asks, on the command line and on the control page: nothing here needs Node. */
import type { Demand } from './capacity.ts'

export interface Question {
  /** As a flag of `holdfast compare --plan`. */
  readonly name: string
  readonly asks: string
  readonly fallback: number
  readonly min: number
  readonly max: number
}

export const QUESTIONS: readonly Question[] = [
  { name: 'sessions', asks: 'Sessions live at once', fallback: 100_000, min: 1, max: 999_999_999 },
  { name: 'session-bytes', asks: 'Bytes in a session', fallback: 1_000, min: 1, max: 65_536 },
  { name: 'rps', asks: 'Requests a second, of all visitors', fallback: 1_000, min: 1, max: 999_999 },
  { name: 'writes', asks: 'Percent of the requests that write', fallback: 20, min: 0, max: 100 },
  { name: 'servers', asks: 'Servers', fallback: 4, min: 1, max: 1_000 },
  { name: 'deaths', asks: 'Servers that may die at once without a session being lost (0, 1, 2)', fallback: 1, min: 0, max: 2 },
]

/** Undefined: it is no answer to this question. */
export function answered({ max, min }: Question, text: string): number | undefined {
  const number = /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN
  return number >= min && number <= max ? number : undefined
}

export function wish({ max, min }: Question): string {
  return `A whole number from ${min} to ${max}, please`
}

/** Answers that fit; those left out are the fallbacks. */
export function demandOf(answers: ReadonlyMap<string, number | undefined>): Demand {
  const [sessions, sessionBytes, requestsPerSecond, writes, servers, deaths] = QUESTIONS.map(
    ({ fallback, name }) => answers.get(name) ?? fallback,
  ) as [number, number, number, number, number, Demand['deaths']]
  return { sessions, sessionBytes, requestsPerSecond, writeShare: writes / 100, servers, deaths }
}
