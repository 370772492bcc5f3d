/**
 * `npm run simulate -- [--seeds N] [--seed S] [--from S] [--servers N] [--minutes M] [--strategy S] [--profile P] [--mutation M] [--trace]`
 *
 * Runs seeds until one breaks a promise, prints it and how to replay it, and ends with 1. `--seed S` replays one seed exactly;
 * `--trace` prints everything that happened in it. 0: every promise held. 2: wrong usage.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { MUTATIONS } from './mutations.ts'
import { describePlan, drawPlan, type Plan, type PlanOptions, PROFILES, STRATEGIES } from './plan.ts'
import { type Run, simulate } from './run.ts'

const FLAGS = {
  seeds: { type: 'string' },
  seed: { type: 'string' },
  from: { type: 'string' },
  servers: { type: 'string' },
  minutes: { type: 'string' },
  strategy: { type: 'string' },
  profile: { type: 'string' },
  mutation: { type: 'string' },
  trace: { type: 'boolean' },
} as const

const MOST_SHOWN = 12

class Usage extends Error {}

interface Wanted {
  readonly seeds: readonly number[]
  readonly options: PlanOptions
  readonly mutation: string | undefined
  readonly trace: boolean
  /** The flags that a replay needs. */
  readonly same: string
}

function wantedOf(args: readonly string[]): Wanted {
  const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true })
  const number = (name: 'seeds' | 'seed' | 'from' | 'servers' | 'minutes', least: number): number | undefined => {
    const text = values[name]
    if (text === undefined) return undefined
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || value < least)
      throw new Usage(`--${name} wants a number of at least ${least}, not "${text}".`)
    return value
  }
  const one = <T extends string>(name: 'strategy' | 'profile', all: readonly T[]): T | undefined => {
    const found = all.find((item) => item === values[name])
    if (found === undefined && values[name] !== undefined) throw new Usage(`--${name} is one of ${all.join(', ')}.`)
    return found
  }
  const from = number('from', 0) ?? 1
  const seed = number('seed', 0)
  const servers = number('servers', 2)
  const minutes = number('minutes', 0)
  const strategy = one('strategy', STRATEGIES)
  const profile = one('profile', PROFILES)
  const kept = ['servers', 'minutes', 'strategy', 'profile', 'mutation'] as const
  return {
    seeds: seed === undefined ? Array.from({ length: number('seeds', 1) ?? 100 }, (_, at) => from + at) : [seed],
    options: {
      ...(servers !== undefined && { servers }),
      ...(minutes !== undefined && { minutes }),
      ...(strategy !== undefined && { strategy }),
      ...(profile !== undefined && { profile }),
    },
    mutation: values.mutation,
    trace: values.trace === true,
    same: [...kept.flatMap((name) => (values[name] === undefined ? [] : [`--${name} '${values[name]}'`]))].join(' '),
  }
}

function show(plan: Plan, { history, violations }: Run, wanted: Wanted): void {
  console.error(describePlan(plan))
  for (const { promise, what } of violations.slice(0, MOST_SHOWN)) console.error(`  promise ${promise}: ${what}`)
  if (violations.length > MOST_SHOWN) console.error(`  and ${violations.length - MOST_SHOWN} more`)
  if (wanted.trace) console.log(history.trace().join('\n'))
  else console.error(`Replay it with: npm run simulate -- --seed ${plan.seed} ${wanted.same}${wanted.same === '' ? '' : ' '}--trace`)
}

async function main(wanted: Wanted): Promise<number> {
  const mutation = wanted.mutation === undefined ? undefined : MUTATIONS.find(({ name }) => name.includes(wanted.mutation ?? ''))
  if (wanted.mutation !== undefined && mutation === undefined)
    throw new Usage(`--mutation is a part of one of: ${MUTATIONS.map(({ name }) => name).join('; ')}.`)
  let done = 0
  let requests = 0
  for (const seed of wanted.seeds) {
    const drawn = drawPlan(seed, { ...(mutation !== undefined && { profile: mutation.profile }), ...wanted.options })
    const plan = mutation?.plan?.(drawn) ?? drawn
    const run = await simulate(plan, mutation)
    requests += run.history.requests.length
    done += 1
    if (run.violations.length > 0) {
      show(plan, run, wanted)
      return 1
    }
    if (wanted.trace) console.log(run.history.trace().join('\n'))
    if (done % 50 === 0) console.log(`${done} of ${wanted.seeds.length} seeds, ${requests} requests, all promises held`)
  }
  console.log(`${done} seeds, ${requests} requests: all promises held`)
  return 0
}

process.env.NODE_ENV ??= 'test'
try {
  process.exitCode = await main(wantedOf(process.argv.slice(2)))
} catch (error) {
  const isUsage = error instanceof Usage || (error instanceof TypeError && 'code' in error)
  console.error(isUsage ? (error as Error).message : error)
  process.exitCode = isUsage ? 2 : 1
}
