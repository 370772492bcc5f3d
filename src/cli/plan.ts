/** `holdfast compare --plan`: what each strategy would cost, and which to begin with. */
import { readFileSync } from 'node:fs'
import { calibrated, type Calibration, type Demand, estimate, MEASURED } from '../lab/compare/capacity.ts'
import { planText } from '../lab/compare/plan-text.ts'
import { recommend } from '../lab/compare/recommend.ts'
import type { CompareReport } from '../lab/compare/result.ts'
import { labError } from '../lab/lab-error.ts'
import { wholeNumber } from '../lab/choice.ts'
import { type Environment, type FlagHelp, flagsOf } from './flags.ts'
import { usageError } from './usage-error.ts'

interface Question {
  readonly name: string
  readonly asks: string
  readonly fallback: number
  readonly min: number
  readonly max: number
}

const QUESTIONS: readonly Question[] = [
  { name: 'sessions', asks: 'Sessions live at once', fallback: 100_000, min: 1, max: 999_999_999 },
  { name: 'session-bytes', asks: 'Bytes in a session', fallback: 1_000, min: 1, max: 65_536 },
  { name: 'rps', asks: 'Requests a second, of all visitors', fallback: 1_000, min: 1, max: 999_999 },
  { name: 'writes', asks: 'Percent of the requests that write', fallback: 20, min: 0, max: 100 },
  { name: 'servers', asks: 'Servers', fallback: 4, min: 1, max: 1_000 },
  { name: 'deaths', asks: 'Servers that may die at once without a session being lost (0, 1, 2)', fallback: 1, min: 0, max: 2 },
]

export const PLAN_FLAGS: readonly FlagHelp[] = [
  { name: 'plan', help: 'Estimates instead of measuring, and recommends: asks, or takes the flags below' },
  ...QUESTIONS.map(({ asks, fallback, name }) => ({ name, value: '<n>', help: `--plan: ${asks} (default ${fallback})` })),
  { name: 'from', value: '<file>', help: '--plan: calibrate by this report of compare --json' },
]

/** Asks on a terminal for what no flag says. */
export async function planCommand(given: Readonly<Record<string, unknown>>, env: Environment): Promise<number> {
  const flags = flagsOf(given, env)
  const answers = usageError(() => new Map(QUESTIONS.map((question) => [question.name, answerOf(flags.value(question.name), question)])))
  const calibration = usageError(() => calibrationFrom(flags.text('from')))
  const isAsked = [...answers.values()].every((answer) => answer === undefined)
  if (isAsked && process.stdin.isTTY && process.stdout.isTTY && !(await ask(answers))) return 1
  const number = ({ fallback, name }: Question): number => answers.get(name) ?? fallback
  const [sessions, sessionBytes, requestsPerSecond, writes, servers, deaths] = QUESTIONS.map(number) as [
    number,
    number,
    number,
    number,
    number,
    0 | 1 | 2,
  ]
  const demand: Demand = { sessions, sessionBytes, requestsPerSecond, writeShare: writes / 100, servers, deaths }
  const estimates = estimate(demand, calibration)
  process.stdout.write(`${planText(demand, estimates, recommend(demand, estimates))}\n`)
  return 0
}

function answerOf(raw: unknown, { max, min, name }: Question): number | undefined {
  if (raw === undefined) return undefined
  return wholeNumber(typeof raw === 'string' && /^\d{1,9}$/.test(raw) ? Number(raw) : raw, `--${name}`, min, max)
}

/** False: the visitor of the terminal has had enough. */
async function ask(answers: Map<string, number | undefined>): Promise<boolean> {
  const { isCancel, text } = await import('../vendor/clack.ts')
  for (const question of QUESTIONS) {
    const answer = await text({
      message: question.asks,
      initialValue: String(question.fallback),
      validate: (value) => {
        const number = Number(value)
        const fits = Number.isInteger(number) && number >= question.min && number <= question.max
        return fits ? undefined : `A whole number from ${question.min} to ${question.max}, please`
      },
    })
    if (isCancel(answer)) return false
    answers.set(question.name, Number(answer))
  }
  return true
}

function calibrationFrom(file: string | undefined): Calibration {
  if (file === undefined) return MEASURED
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as CompareReport
    if (!Array.isArray(report.results) || typeof report.meta.workload.sessionBytes !== 'number') throw new Error('no results')
    return calibrated(report)
  } catch {
    throw labError(400, 'OPTION_INVALID', `--from: ${file} is no report: make one with holdfast compare --json ${file}`)
  }
}
