/**
 * The parser takes `007` for the number 7, `""` for 0, and a session's key that begins with a dash for flags. Such arguments pass
 * through it behind a character that no argument can hold.
 */
const SHIELD = '\0'

const KEY_WITH_DASH = /^-[\w-]{42}$/
const FLAG_WITH_VALUE = /^(--[\w-]+=)([^]*)$/

export function shielded(argv: readonly string[]): string[] {
  return argv.map((argument) => {
    if (KEY_WITH_DASH.test(argument)) return SHIELD + argument
    const [, flag, value] = FLAG_WITH_VALUE.exec(argument) ?? []
    if (flag !== undefined && value !== undefined) return isNumeric(value) ? `${flag}${SHIELD}${value}` : argument
    return !argument.startsWith('-') && isNumeric(argument) ? SHIELD + argument : argument
  })
}

export function unshielded<T>(value: T): T {
  if (typeof value === 'string') return (value.startsWith(SHIELD) ? value.slice(SHIELD.length) : value) as T
  return Array.isArray(value) ? (value.map(unshielded) as T) : value
}

/** The empty text and white space count as 0. */
function isNumeric(text: string): boolean {
  return !Number.isNaN(Number(text))
}
