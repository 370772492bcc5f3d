/** What the lab's flags and `HOLDFAST_*` variables mean. */
import {
  checkChoice,
  checkOptions,
  NODES_MAX,
  NODES_MIN,
  optionsFor,
  type StrategyChoice,
  type StrategyOptions,
  strategyName,
  wholeNumber,
} from '../lab/choice.ts'
import { labError } from '../lab/lab-error.ts'
import { type Environment, type FlagHelp, flagsOf } from './flags.ts'

export const LAB_FLAGS: readonly FlagHelp[] = [
  { name: 'strategy', value: '<name>', help: 'replication (default), affinity, cookie-based, dedicated or isolated' },
  { name: 'nodes', value: '<n>', help: 'How many servers (default 3, from 2 to 16)' },
  { name: 'port', value: '<port>', help: 'Port of the gateway (default 8080; 0 takes a free one)' },
  { name: 'control-port', value: '<port>', help: 'Port of the control page (default 8081)' },
  { name: 'policy', value: '<name>', help: 'round-robin, least-connections, ip-hash, consistent-hash or sticky' },
  { name: 'store', value: '<url>', help: 'dedicated: sqlite:FILE, redis://HOST:PORT, … (default: SQLite in a temporary folder)' },
  { name: 'transport', value: '<name>', help: 'replication, affinity: tcp (default) or nats://HOST:PORT' },
  { name: 'copies', value: '<k>', help: 'replication: all (default) or how many copies of each session' },
  { name: 'acks', value: '<a>', help: 'replication, affinity: copies confirmed before the answer' },
  { name: 'backups', value: '<k>', help: 'affinity: backups of each session (default 1)' },
  { name: 'headless', help: 'Plain lines only' },
  { name: 'open', help: 'Open the control page in a browser' },
]

export interface LabSettings {
  readonly choice: StrategyChoice
  readonly defaults: StrategyOptions
  readonly nodes: number
  readonly port: number
  readonly controlPort: number
  readonly headless: boolean
  readonly open: boolean
}

/** `flags` in camel case, as the parser gives them. Throws a usage error for any value that does not fit. */
export function labSettings(flags: Readonly<Record<string, unknown>>, env: Environment): LabSettings {
  const { has, value, isOn } = flagsOf(flags, env)
  const number = (name: string, fallback: number, min: number, max: number): number => {
    const raw = value(name)
    return raw === undefined ? fallback : wholeNumber(raw, `--${name}`, min, max)
  }
  const strategy = strategyName(value('strategy') ?? 'replication')
  const names = ['store', 'transport', 'copies', 'acks', 'backups', 'policy']
  const defaults = checkOptions(Object.fromEntries(names.map((name) => [name, value(name)])))
  // A variable may stand for a strategy that is chosen later, on the control page; a flag is for this one.
  checkChoice(strategy, Object.fromEntries(names.filter(has).map((name) => [name, value(name)])))
  const port = number('port', 8080, 0, 65_535)
  const controlPort = number('control-port', 8081, 0, 65_535)
  if (port !== 0 && port === controlPort) throw labError(400, 'OPTION_INVALID', '--port and --control-port must differ.')
  return {
    choice: { strategy, options: optionsFor(strategy, defaults) },
    defaults,
    nodes: number('nodes', 3, NODES_MIN, NODES_MAX),
    port,
    controlPort,
    headless: isOn('headless'),
    open: isOn('open'),
  }
}
