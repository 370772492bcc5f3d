import { SessionError } from '../errors.ts'
import type { FieldCodec } from '../types.ts'

const DEPTH_MAX = 64

/** JSON that refuses what JSON would drop or change in silence: functions, dates, maps, BigInt, NaN, cycles. */
export const jsonCodec: FieldCodec = {
  encode(value: unknown, field: string): string {
    refuseLossy(value, field, 0)
    return JSON.stringify(value)
  },
  decode: (encoded: string): unknown => JSON.parse(encoded),
}

function refuseLossy(value: unknown, path: string, depth: number): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value)) throw lossy(path, String(value))
      return
    case 'object':
      if (value !== null) refuseLossyObject(value, path, depth)
      return
    default:
      throw lossy(path, typeof value)
  }
}

function refuseLossyObject(value: object, path: string, depth: number): void {
  if (depth >= DEPTH_MAX) throw lossy(path, `a value nested deeper than ${DEPTH_MAX} levels, or a cycle`)
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) refuseLossy(value[index], `${path}[${index}]`, depth + 1)
    return
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw lossy(path, `a ${value.constructor?.name ?? 'class instance'}`)
  for (const name of Object.keys(value)) {
    const inner: unknown = (value as Record<string, unknown>)[name]
    if (inner !== undefined) refuseLossy(inner, `${path}.${name}`, depth + 1)
  }
}

function lossy(path: string, what: string): SessionError {
  return new SessionError(
    'FIELD_INVALID',
    `session.data.${path} holds ${what}, which JSON cannot carry: store text, numbers, booleans, null, arrays and plain objects, or set the codec option.`,
  )
}
