/** Every option of `createSessions`, its default and its check, in one place. */
import { hostname } from 'node:os'
import * as v from 'valibot'
import { type CookieSettings, cookieProblems, cookieSettings } from './core/cookie.ts'
import { jsonCodec } from './core/codec.ts'
import { SessionError } from './errors.ts'
import { problemOf } from './key-file.ts'
import type { SessionStrategy } from './seam.ts'
import type { BaseOptions, Capability, FieldCodec, Lifetime, Limits, SecretSource, SessionEvent } from './types.ts'

export const DEFAULT_IDLE_MS: number = 30 * 60_000
export const DEFAULT_ABSOLUTE_MS: number = 12 * 3_600_000
export const DEFAULT_SESSION_BYTES = 65_536
export const SECRET_BYTES_MIN = 32
/** Touches per idle time. */
const TOUCHES = 20
/** Roots state their absolute end in 48 bits of milliseconds; no session needs a thousand years. */
const LIFETIME_MAX_MS = 1000 * 365 * 86_400_000

const duration = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIFETIME_MAX_MS))
const callable = v.custom<(...args: unknown[]) => unknown>((value) => typeof value === 'function', 'Give a function.')
const record = v.custom<object>((value) => typeof value === 'object' && value !== null, 'Give an object.')

const lifetimeSchema = v.strictObject({
  idleMs: v.optional(duration),
  absoluteMs: v.optional(duration),
  touchEveryMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(LIFETIME_MAX_MS))),
})

const optionsSchema = v.strictObject({
  secrets: v.any(),
  strategy: v.custom<SessionStrategy>(
    (value) => typeof (value as SessionStrategy | undefined)?.start === 'function',
    'Give a strategy: replication(…), affinity(…), cookieBased(…), dedicated(…) or isolated().',
  ),
  node: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9._-]{1,64}$/, 'Use 1 to 64 letters, digits, ".", "_" and "-".'))),
  lifetime: v.optional(lifetimeSchema),
  cookie: v.optional(
    v.strictObject({
      name: v.optional(v.string()),
      path: v.optional(v.string()),
      domain: v.optional(v.string()),
      sameSite: v.optional(v.picklist(['lax', 'strict', 'none'])),
      secure: v.optional(v.boolean()),
      partitioned: v.optional(v.boolean()),
      priority: v.optional(v.picklist(['low', 'medium', 'high'])),
      persistent: v.optional(v.boolean()),
    }),
  ),
  carrier: v.optional(v.picklist(['cookie', 'header', 'both'])),
  crossSite: v.optional(v.picklist(['refuse', 'allow'])),
  onInvalid: v.optional(v.union([v.picklist(['fail', 'new']), callable])),
  requires: v.optional(v.array(v.picklist(['update', 'list', 'revoke', 'revokeUser']))),
  limits: v.optional(v.strictObject({ sessionBytes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(256))) })),
  codec: v.optional(record),
  logger: v.optional(record),
  onEvent: v.optional(callable),
  initial: v.optional(callable),
  schema: v.optional(
    v.custom<object>((value) => value !== null && typeof value === 'object' && '~standard' in value, 'Give a Standard Schema.'),
  ),
})

export interface Settings {
  readonly secrets: readonly string[]
  readonly secretSource: SecretSource | undefined
  readonly strategy: SessionStrategy
  readonly node: string
  readonly lifetime: Required<Lifetime>
  readonly cookie: CookieSettings
  readonly carrier: 'cookie' | 'header' | 'both'
  readonly crossSite: 'refuse' | 'allow'
  readonly onInvalid: 'fail' | 'new' | ((raw: unknown) => unknown)
  readonly limits: Required<Limits>
  readonly codec: FieldCodec
  readonly logger: Pick<Console, 'warn' | 'error'>
  readonly onEvent: ((event: SessionEvent) => void) | undefined
}

/** Checks everything at once and fills in the defaults. Throws CONFIG_INVALID with all problems. */
export function settingsOf(options: BaseOptions<any>, environment: NodeJS.ProcessEnv): Settings {
  const checked = v.safeParse(optionsSchema, options)
  const problems = checked.success ? [] : checked.issues.map(describe)
  const given = options?.secrets
  const secrets = secretsOf(given, problems)
  const cookie = cookieSettings(typeof options?.cookie === 'object' ? options.cookie : {}, environment.NODE_ENV)
  problems.push(...cookieProblems(cookie))
  problems.push(...missingCapabilities(options))
  if (problems.length > 0) {
    throw new SessionError(
      'CONFIG_INVALID',
      `createSessions: ${problems.length > 1 ? `${problems.length} problems. ` : ''}${problems.join(' ')}`,
    )
  }
  return {
    secrets,
    secretSource: isSource(given) ? given : undefined,
    strategy: options.strategy,
    node: options.node ?? nodeName(environment),
    lifetime: lifetimeOf(options.lifetime ?? {}),
    cookie,
    carrier: options.carrier ?? 'cookie',
    crossSite: options.crossSite ?? 'refuse',
    onInvalid: options.onInvalid ?? 'fail',
    limits: { sessionBytes: options.limits?.sessionBytes ?? DEFAULT_SESSION_BYTES },
    codec: options.codec ?? jsonCodec,
    logger: options.logger ?? console,
    onEvent: options.onEvent,
  }
}

/** Checked and completed. Also for `setLifetime` and `login`. */
export function lifetimeOf(lifetime: Lifetime, base?: Required<Lifetime>): Required<Lifetime> {
  const checked = v.safeParse(lifetimeSchema, lifetime)
  if (!checked.success) throw new SessionError('CONFIG_INVALID', checked.issues.map(describe).join(' '))
  const idleMs = lifetime.idleMs ?? base?.idleMs ?? DEFAULT_IDLE_MS
  return {
    idleMs,
    absoluteMs: lifetime.absoluteMs ?? base?.absoluteMs ?? DEFAULT_ABSOLUTE_MS,
    touchEveryMs: Math.min(lifetime.touchEveryMs ?? Math.floor(idleMs / TOUCHES), idleMs),
  }
}

function nodeName(environment: NodeJS.ProcessEnv): string {
  return (environment.HOLDFAST_NODE ?? hostname()).replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 64) || 'node'
}

function describe(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'options'
  if (issue.type === 'strict_object') return `${path}: unknown option, remove it or check its spelling.`
  return `${path}: ${issue.message}${/[.!]$/.test(issue.message) ? '' : '.'}`
}

function isSource(given: BaseOptions<unknown>['secrets']): given is SecretSource {
  return typeof (given as Partial<SecretSource> | undefined)?.watch === 'function'
}

function secretsIn(source: SecretSource, problems: string[]): readonly string[] {
  try {
    return source.read()
  } catch (error) {
    problems.push(`secrets: the key file cannot be used (${problemOf(error)}): make one with "holdfast keys generate FILE".`)
    return []
  }
}

function secretsOf(given: BaseOptions<unknown>['secrets'], problems: string[]): readonly string[] {
  if (isSource(given)) return secretsIn(given, problems)
  const list: unknown[] = Array.isArray(given) ? given : [given]
  const secrets = list.filter((secret): secret is string => typeof secret === 'string' && secret.length > 0)
  if (secrets.length === 0) {
    problems.push(
      `secrets: none given. Set SESSION_SECRET to at least ${SECRET_BYTES_MIN} random bytes, for example: openssl rand -base64 32.`,
    )
  } else if (secrets.some((secret) => Buffer.byteLength(secret) < SECRET_BYTES_MIN)) {
    problems.push(`secrets: each needs at least ${SECRET_BYTES_MIN} bytes, for example: openssl rand -base64 32.`)
  }
  return secrets
}

function missingCapabilities(options: BaseOptions<unknown>): string[] {
  const wanted: readonly Capability[] = Array.isArray(options?.requires) ? options.requires : []
  const able = options?.strategy?.capabilities
  return wanted
    .filter((capability) => able !== undefined && !able.has(capability))
    .map(
      (capability) => `requires: the strategy ${options.strategy.name} cannot ${capability}; choose another strategy or do not require it.`,
    )
}
