/** The schema of `session.data` (Standard Schema 1): checked when a record is first decoded and at commit. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { FieldRules } from './core/fields.ts'
import { SessionError } from './errors.ts'
import type { EventHub } from './events.ts'
import type { Settings } from './options.ts'
import type { BaseOptions } from './types.ts'

const ISSUES_SHOWN = 5

export interface CheckedRules {
  rules: FieldRules
  checkForCommit: ((all: Record<string, unknown>) => void) | undefined
}

export function fieldRules(options: BaseOptions<any>, settings: Settings, emit: EventHub['emit']): CheckedRules {
  const { schema, initial } = options as { schema?: StandardSchemaV1<unknown, object>; initial?: () => object }
  const rules: FieldRules = {
    codec: settings.codec,
    initial,
    undecodable: (key, field, cause) => invalidRecord(emit, key, `field "${field}" does not decode`, cause),
    ...(schema !== undefined && {
      check(all: Record<string, unknown>, key: string): Record<string, unknown> {
        const result = validate(schema, all)
        if (result.issues === undefined) return result.value as Record<string, unknown>
        throw invalidRecord(emit, key, describeIssues(result.issues), undefined)
      },
    }),
  }
  const checkForCommit =
    schema === undefined
      ? undefined
      : (all: Record<string, unknown>): void => {
          const { issues } = validate(schema, all)
          if (issues !== undefined)
            throw new SessionError('FIELD_INVALID', `session.data does not pass the schema, nothing was stored: ${describeIssues(issues)}.`)
        }
  return { rules, checkForCommit }
}

function validate(schema: StandardSchemaV1<unknown, object>, all: Record<string, unknown>): StandardSchemaV1.Result<object> {
  const result = schema['~standard'].validate(all)
  if (result instanceof Promise) throw new SessionError('CONFIG_INVALID', 'schema: give one that validates without await.')
  return result
}

/** The record stays as it is for inspection, and nobody is logged out. */
function invalidRecord(emit: EventHub['emit'], key: string, why: string, cause: unknown): SessionError {
  emit('invalid', { key, detail: why })
  return new SessionError(
    'STORE_RECORD_INVALID',
    `The stored session ${key} cannot be used: ${why}. It was kept; repair it with onInvalid.`,
    { cause },
  )
}

/** Paths and rules only: an issue's message may quote the value. */
function describeIssues(issues: readonly StandardSchemaV1.Issue[]): string {
  const paths = issues.slice(0, ISSUES_SHOWN).map((issue) => {
    const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
    return `"${path || 'data'}" is not as the schema wants it`
  })
  return paths.join(', ')
}
