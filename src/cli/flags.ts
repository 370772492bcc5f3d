/** What flags and `HOLDFAST_*` variables say. A flag wins over its variable. */
import { labError } from '../lab/lab-error.ts'

export interface FlagHelp {
  /** As written on the command line, without the dashes. */
  readonly name: string
  readonly value?: string
  readonly help: string
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Whatever does not fit throws OPTION_INVALID. */
export interface Flags {
  /** Given on the command line. */
  has(name: string): boolean
  value(name: string): unknown
  text(name: string): string | undefined
  isOn(name: string): boolean
}

/** `flags` in camel case, as the parser gives them. */
export function flagsOf(flags: Readonly<Record<string, unknown>>, env: Environment): Flags {
  function value(name: string): unknown {
    const flag = flags[camelCase(name)]
    if (Array.isArray(flag)) throw refuse(`--${name} may be given once.`)
    if (flag === '' || flag === true || flag === false) throw refuse(`--${name} needs a value.`)
    return flag ?? (env[environmentName(name)] || undefined)
  }
  return {
    has: (name) => flags[camelCase(name)] !== undefined,
    value,
    text(name) {
      const given = value(name)
      return given === undefined ? undefined : String(given)
    },
    isOn(name) {
      const flag = flags[camelCase(name)]
      const variable = env[environmentName(name)]
      if (flag !== undefined && typeof flag !== 'boolean') throw refuse(`--${name} takes no value.`)
      if (flag !== undefined) return flag
      if (variable === undefined || ['', '0', 'false'].includes(variable)) return false
      if (['1', 'true'].includes(variable)) return true
      throw refuse(`${environmentName(name)} must be 1 or 0.`)
    },
  }
}

function refuse(message: string): Error {
  return labError(400, 'OPTION_INVALID', message)
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

function environmentName(name: string): string {
  return `HOLDFAST_${name.replaceAll('-', '_').toUpperCase()}`
}
