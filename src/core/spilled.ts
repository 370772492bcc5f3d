/** What stands in a note in place of a value that lies in a store: `\0`, the store's key, `:`, the value's bytes. */
const REFERENCE = /^\0[\w-]{43}:\d{1,9}$/

export type SpilledValues = ReadonlyMap<string, string>

export function isSpilled(value: string | undefined): value is string {
  return value !== undefined && value.charCodeAt(0) === 0 && REFERENCE.test(value)
}
