/** Which strategy the lab runs and with which options: checked the same way for the command line and the control API. */
import type { PolicyName } from '../gateway/options.ts'
import { type LabError, labError } from './lab-error.ts'
import { checkStoreUrl } from './store-url.ts'

export const STRATEGY_NAMES = ['replication', 'affinity', 'cookieBased', 'dedicated', 'isolated'] as const
export type StrategyName = (typeof STRATEGY_NAMES)[number]

export const POLICIES: readonly PolicyName[] = ['round-robin', 'least-connections', 'ip-hash', 'consistent-hash', 'sticky']
export type Policy = PolicyName

/** One server alone shows nothing: there is nobody to share with. It can be had by removing others. */
export const NODES_MIN = 2
/** Most servers of one lab. */
export const NODES_MAX = 16

export interface StrategyOptions {
  /** `dedicated`: where the records live. Default: SQLite in a temporary folder. */
  store?: string
  /** `tcp`, or the URL of a NATS server that all servers reach. */
  transport?: string
  copies?: 'all' | number
  acks?: number
  backups?: number
  policy?: Policy
}

export interface StrategyChoice {
  readonly strategy: StrategyName
  readonly options: StrategyOptions
}

const USED_BY: Readonly<Record<keyof StrategyOptions, readonly StrategyName[]>> = {
  store: ['dedicated'],
  transport: ['replication', 'affinity', 'cookieBased'],
  copies: ['replication'],
  acks: ['replication', 'affinity'],
  backups: ['affinity'],
  policy: STRATEGY_NAMES,
}
const OPTION_NAMES = Object.keys(USED_BY) as (keyof StrategyOptions)[]

function refuse(message: string): LabError {
  return labError(400, 'OPTION_INVALID', message)
}

/** Both spellings serve: `cookieBased` and `cookie-based`. */
export function strategyName(raw: unknown): StrategyName {
  const plain = String(raw).replaceAll('-', '').toLowerCase()
  const found = typeof raw === 'string' ? STRATEGY_NAMES.find((name) => name.toLowerCase() === plain) : undefined
  if (found === undefined) throw labError(400, 'STRATEGY_UNKNOWN', `Unknown strategy: choose one of ${STRATEGY_NAMES.join(', ')}.`)
  return found
}

export function checkPolicy(raw: unknown): Policy {
  const found = POLICIES.find((policy) => policy === raw)
  if (found === undefined) throw refuse(`Unknown policy: choose one of ${POLICIES.join(', ')}.`)
  return found
}

/** A whole number within bounds, given as number or text. */
export function wholeNumber(raw: unknown, name: string, min: number, max: number): number {
  const value = typeof raw === 'string' && /^\d{1,6}$/.test(raw) ? Number(raw) : raw
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw refuse(`${name} must be a whole number from ${min} to ${max}.`)
}

function checkTransport(raw: unknown): string {
  if (raw === 'tcp') return raw
  // Credentials would show in the process list: a NATS server that wants some is not one for a lab.
  if (typeof raw === 'string' && /^(nats|tls):\/\/[^/@\s]+$/.test(raw)) return raw
  throw refuse('transport must be tcp or nats://HOST:PORT.')
}

function checkCopies(raw: unknown): 'all' | number {
  return raw === 'all' ? raw : wholeNumber(raw, 'copies', 1, 64)
}

/** Checks options whatever the strategy: the lab can switch, and each strategy takes those it uses. */
export function checkOptions(raw: Readonly<Record<string, unknown>>): StrategyOptions {
  const options: StrategyOptions = {}
  for (const [name, value] of Object.entries(raw)) {
    if (value === undefined) continue
    const option = OPTION_NAMES.find((known) => known === name)
    if (option === undefined) throw refuse(`Unknown option: choose from ${OPTION_NAMES.join(', ')}.`)
    if (option === 'store') options.store = checkStoreUrl(value)
    else if (option === 'transport') options.transport = checkTransport(value)
    else if (option === 'copies') options.copies = checkCopies(value)
    else if (option === 'policy') options.policy = checkPolicy(value)
    else options[option] = wholeNumber(value, option, 0, 63)
  }
  return options
}

/** An option the strategy does not use is refused rather than ignored. */
export function checkChoice(rawStrategy: unknown, rawOptions: Readonly<Record<string, unknown>> = {}): StrategyChoice {
  const strategy = strategyName(rawStrategy)
  const options = checkOptions(rawOptions)
  for (const name of Object.keys(options) as (keyof StrategyOptions)[]) {
    const users = USED_BY[name]
    if (!users.includes(strategy))
      throw refuse(`${name} is an option of ${users.join(' and ')}, not of ${strategy}: choose another strategy, or leave it out.`)
  }
  return { strategy, options }
}

export function policyOf(choice: StrategyChoice): Policy {
  return choice.options.policy ?? (choice.strategy === 'affinity' ? 'sticky' : 'round-robin')
}

/** Those of the options that the strategy uses. */
export function optionsFor(strategy: StrategyName, options: StrategyOptions): StrategyOptions {
  const kept = OPTION_NAMES.filter((name) => options[name] !== undefined && USED_BY[name].includes(strategy))
  return Object.fromEntries(kept.map((name) => [name, options[name]])) as StrategyOptions
}
