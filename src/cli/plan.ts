/** `holdfast compare --plan`: what each strategy would cost, and which to begin with. */
import { readFileSync } from 'node:fs'
import { calibrated, type Calibration, estimate, MEASURED } from '../lab/compare/capacity.ts'
import { planText } from '../lab/compare/plan-text.ts'
import { answered, demandOf, type Question, QUESTIONS, wish } from '../lab/compare/questions.ts'
import { recommend } from '../lab/compare/recommend.ts'
import type { CompareReport } from '../lab/compare/result.ts'
import { labError } from '../lab/lab-error.ts'
import { wholeNumber } from '../lab/choice.ts'
import { type Environment, type FlagHelp, flagsOf } from './flags.ts'
import { usageError } from './usage-error.ts'

export const PLAN_FLAGS: readonly FlagHelp[] = [
  { name: 'plan', help: 'Estimates instead of measuring, and recommends: asks, or takes the flags below' },
  ...QUESTIONS.map(({ asks, fallback, name }) => ({ name, value: '<n>', help: `--plan: ${asks} (default ${fallback})` })),
  { name: 'from', value: '<file>', help: '--plan: calibrate by this report of compare --json' },
]

/** Asks on a terminal, unless a flag answers something already: then the others have their defaults. */
export async function planCommand(given: Readonly<Record<string, unknown>>, env: Environment): Promise<number> {
  const flags = flagsOf(given, env)
  const answers = usageError(() => new Map(QUESTIONS.map((question) => [question.name, answerOf(flags.value(question.name), question)])))
  const calibration = usageError(() => calibrationFrom(flags.text('from')))
  const isAsked = [...answers.values()].every((answer) => answer === undefined)
  if (isAsked && process.stdin.isTTY && process.stdout.isTTY && !(await ask(answers))) return 1
  const demand = demandOf(answers)
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
      validate: (value) => (answered(question, value ?? '') === undefined ? wish(question) : undefined),
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
    const { sessionBytes, writeShare } = report.meta.workload
    if (!(sessionBytes > 0 && writeShare > 0)) throw new Error('no workload')
    const calibration = calibrated(report)
    if (!Object.values(calibration).every((value) => Number.isFinite(value) && value >= 0)) throw new Error('no figures')
    return calibration
  } catch {
    throw labError(400, 'OPTION_INVALID', `--from: ${file} is no report: make one with holdfast compare --json ${file}`)
  }
}
