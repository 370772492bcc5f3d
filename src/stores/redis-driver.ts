import type * as Driver from '@redis/client'
import { SessionError } from '../errors.ts'

export type RedisDriver = typeof Driver

/** The part of a `@redis/client` client that the store uses. */
export interface RedisClientLike {
  readonly isOpen: boolean
  readonly isReady: boolean
  connect(): Promise<unknown>
  sendCommand(args: string[]): Promise<unknown>
  on(event: string, listener: (...args: any[]) => void): unknown
  off(event: string, listener: (...args: any[]) => void): unknown
}

/** The driver takes 120 ms to load: only a store that is used pays for it. */
export async function loadDriver(): Promise<RedisDriver> {
  try {
    return await import('@redis/client')
  } catch {
    throw new SessionError(
      'DEPENDENCY_MISSING',
      'redisStore needs the package @redis/client, which is not installed: npm install @redis/client',
    )
  }
}

/** Redis did not answer, in a few words without anything secret. */
export class RedisOutage extends Error {
  readonly problem: string

  constructor(problem: string) {
    super(problem)
    this.problem = problem
  }
}

const CLOSED: ReadonlySet<string> = new Set([
  'SocketClosedUnexpectedlyError',
  'DisconnectsClientError',
  'ClientClosedError',
  'ClientOfflineError',
])

/** Codes and class names only: messages can quote what was sent, credentials included. */
export function problemOf(error: unknown): string {
  if (error instanceof RedisOutage) return error.problem
  const { code, constructor, errors } = (error ?? {}) as {
    code?: unknown
    constructor?: { name?: unknown }
    errors?: unknown
  }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code)) return code
  if (Array.isArray(errors) && errors.length > 0) return problemOf(errors[0])
  if (/DB index is out of range/.test(messageOf(error))) return 'no such database'
  const word = wordOf(error)
  if (word !== undefined && word !== 'ERR') return word
  const name = typeof constructor?.name === 'string' ? constructor.name : 'error'
  return CLOSED.has(name) ? 'connection closed' : name
}

/** The first word of an error reply. Redis before 7 wraps what fails within a script. */
function wordOf(error: unknown): string | undefined {
  const message = messageOf(error)
  return /@user_script: ?\d+: -?([A-Z][A-Z0-9]+) /.exec(message)?.[1] ?? /^[A-Z][A-Z0-9]+(?= )/.exec(message)?.[0]
}

export function messageOf(error: unknown): string {
  const message: unknown = (error as { message?: unknown } | undefined)?.message
  return typeof message === 'string' ? message : ''
}

export function discard(client: { destroy(): unknown } | undefined): void {
  try {
    client?.destroy()
  } catch {
    // It was closed already.
  }
}
