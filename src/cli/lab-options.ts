/** What the lab's flags and `HOLDFAST_*` variables mean. A flag wins over its variable. */
import { checkOptions, NODES_MAX, optionsFor, type StrategyChoice, type StrategyOptions, strategyName, wholeNumber } from '../lab/choice.ts'
import { labError } from '../lab/lab-error.ts'

export interface LabFlag {
  /** As written on the command line, without the dashes. */
  readonly name: string
  readonly value?: string
  readonly help: string
}

export const LAB_FLAGS: readonly LabFlag[] = [
  { name: 'strategy', value: '<name>', help: 'replication (default), affinity, cookie-based, dedicated or isolated' },
  { name: 'nodes', value: '<n>', help: 'How many servers (default 3)' },
  { name: 'port', value: '<port>', help: 'Port of the gateway (default 8080; 0 takes a free one)' },
  { name: 'control-port', value: '<port>', help: 'Port of the control page (default 8081)' },
  { name: 'policy', value: '<name>', help: 'round-robin, least-connections, ip-hash, consistent-hash or sticky' },
  { name: 'store', value: '<url>', help: 'dedicated: sqlite:FILE or redis://HOST:PORT (default: SQLite in a temporary folder)' },
  { name: 'transport', value: '<name>', help: 'replication, affinity: tcp (default)' },
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
export function labSettings(flags: Readonly<Record<string, unknown>>, env: Readonly<Record<string, string | undefined>>): LabSettings {
  const given = (name: string): unknown => {
    const flag = flags[camelCase(name)]
    if (Array.isArray(flag)) throw labError(400, 'OPTION_INVALID', `--${name} may be given once.`)
    if (flag === '' || flag === true) throw labError(400, 'OPTION_INVALID', `--${name} needs a value.`)
    return flag ?? env[environmentName(name)]
  }
  const number = (name: string, fallback: number, min: number, max: number): number => {
    const raw = given(name)
    return raw === undefined ? fallback : wholeNumber(raw, `--${name}`, min, max)
  }
  const strategy = strategyName(given('strategy') ?? 'replication')
  const names = ['store', 'transport', 'copies', 'acks', 'backups', 'policy']
  const defaults = checkOptions(Object.fromEntries(names.map((name) => [name, given(name)])))
  const port = number('port', 8080, 0, 65_535)
  const controlPort = number('control-port', 8081, 0, 65_535)
  if (port !== 0 && port === controlPort) throw labError(400, 'OPTION_INVALID', '--port and --control-port must differ.')
  return {
    choice: { strategy, options: optionsFor(strategy, defaults) },
    defaults,
    nodes: number('nodes', 3, 1, NODES_MAX),
    port,
    controlPort,
    headless: switchOf(flags['headless'], env['HOLDFAST_HEADLESS'], '--headless'),
    open: switchOf(flags['open'], env['HOLDFAST_OPEN'], '--open'),
  }
}

function switchOf(flag: unknown, variable: string | undefined, name: string): boolean {
  if (flag !== undefined && typeof flag !== 'boolean') throw labError(400, 'OPTION_INVALID', `${name} takes no value.`)
  if (flag !== undefined) return flag
  if (variable === undefined || ['', '0', 'false'].includes(variable)) return false
  if (['1', 'true'].includes(variable)) return true
  throw labError(400, 'OPTION_INVALID', `${environmentName(name.slice(2))} must be 1 or 0.`)
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

function environmentName(name: string): string {
  return `HOLDFAST_${name.replaceAll('-', '_').toUpperCase()}`
}
