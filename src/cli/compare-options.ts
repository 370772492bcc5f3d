/** What the flags of `holdfast compare` and `HOLDFAST_*` variables mean. */
import { NODES_MAX, NODES_MIN, strategyName, wholeNumber } from '../lab/choice.ts'
import { VARIANTS, type Variant } from '../lab/compare/variants.ts'
import type { WorkloadOptions } from '../lab/compare/workload.ts'
import { labError } from '../lab/lab-error.ts'
import { checkStoreUrl } from '../lab/store-url.ts'
import { type Environment, type FlagHelp, type Flags, flagsOf } from './flags.ts'
import { PLAN_FLAGS } from './plan.ts'

export const COMPARE_FLAGS: readonly FlagHelp[] = [
  { name: 'nodes', value: '<list>', help: 'Numbers of servers (default 2,4,8)' },
  { name: 'visitors', value: '<n>', help: 'How many visitors (default 100)' },
  { name: 'seconds', value: '<s>', help: 'How long each run lasts, faults included (default 20)' },
  { name: 'strategies', value: '<list>', help: 'Only these: isolated, replication, affinity, cookie-based, dedicated' },
  { name: 'seed', value: '<n>', help: 'Draws the workload (default 1): equal seeds, equal workloads' },
  { name: 'store', value: '<url>', help: 'dedicated: a session server of yours (default: an own Redis where installed, else SQLite)' },
  { name: 'quick', help: 'Short runs with 2 and 4 servers: under 90 seconds on two cores' },
  { name: 'json', value: '<file>', help: 'Writes the results as JSON' },
  { name: 'markdown', value: '<file>', help: 'Writes the tables as Markdown' },
  { name: 'html', value: '<file>', help: 'Writes one page with charts' },
  ...PLAN_FLAGS,
]

export interface CompareSettings {
  readonly nodes: readonly number[]
  readonly variants: readonly Variant[]
  readonly workload: WorkloadOptions
  readonly storeUrl: string | undefined
  readonly files: { readonly json: string | undefined; readonly markdown: string | undefined; readonly html: string | undefined }
}

const ACTIONS_PER_VISITOR = 5
const QUICK = { nodes: '2,4', visitors: 40, seconds: 3 }
const FULL = { nodes: '2,4,8', visitors: 100, seconds: 20 }

/** `flags` in camel case, as the parser gives them. Throws a usage error for any value that does not fit. */
export function compareSettings(given: Readonly<Record<string, unknown>>, env: Environment): CompareSettings {
  const flags = flagsOf(given, env)
  const { text, value, isOn } = flags
  const defaults = isOn('quick') ? QUICK : FULL
  const number = (name: string, fallback: number, min: number, max: number): number => {
    const raw = value(name)
    return raw === undefined ? fallback : wholeNumber(raw, `--${name}`, min, max)
  }
  const visitors = number('visitors', defaults.visitors, 2, 2_000)
  const store = text('store')
  return {
    nodes: nodesOf(text('nodes') ?? defaults.nodes),
    variants: variantsOf(flags),
    workload: {
      seed: number('seed', 1, 0, 999_999),
      visitors,
      seconds: number('seconds', defaults.seconds, 3, 600),
      actionsPerSecond: visitors * ACTIONS_PER_VISITOR,
      writeShare: 0.3,
      fields: 8,
      fieldBytes: 120,
    },
    storeUrl: store === undefined ? undefined : checkStoreUrl(store),
    files: { json: text('json'), markdown: text('markdown'), html: text('html') },
  }
}

function nodesOf(list: string): number[] {
  const nodes = list.split(',').map((one) => wholeNumber(one.trim(), '--nodes', NODES_MIN, NODES_MAX))
  return [...new Set(nodes)].toSorted((a, b) => a - b)
}

function variantsOf({ text }: Flags): readonly Variant[] {
  const list = text('strategies')
  if (list === undefined) return VARIANTS
  const wanted = new Set(list.split(',').map((one) => strategyName(one.trim())))
  if (wanted.size === 0) throw labError(400, 'OPTION_INVALID', '--strategies needs at least one name.')
  return VARIANTS.filter(({ strategy }) => wanted.has(strategy))
}
