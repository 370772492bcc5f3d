import type * as Driver from '@redis/client'
import { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'

/** The part of a `@redis/client` client that the store uses. */
export interface RedisClientLike {
  readonly isOpen: boolean
  readonly isReady: boolean
  connect(): Promise<unknown>
  sendCommand(args: string[]): Promise<unknown>
  on(event: string, listener: (...args: any[]) => void): unknown
  off(event: string, listener: (...args: any[]) => void): unknown
}

export interface RedisConnection {
  /** The last problem, as a word without anything secret. */
  readonly problem: string
  /** It was closed a moment ago and the first attempt to replace it is under way. */
  readonly isReplacing: boolean
  /** Undefined while there is no usable connection. */
  client(): RedisClientLike | undefined
  /** True once usable; false when that took longer. */
  whenReady(ms: number): Promise<boolean>
  /** A command got no answer within the deadline: this connection may be dead. */
  stalled(client: RedisClientLike): void
  close(): void
}

export interface ConnectionListener {
  readonly runtime: Runtime
  readonly deadlineMs: number
  up(): void
  down(problem: string): void
}

const REPLACE_WITHIN_MS = 25
const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 2_000
const HANDSHAKE_MS = 5_000
const COMMANDS_QUEUED_MOST = 20_000

/** The driver takes 120 ms to load: only a store that is used pays for it. */
export async function loadDriver(): Promise<typeof Driver> {
  try {
    return await import('@redis/client')
  } catch {
    throw new SessionError(
      'DEPENDENCY_MISSING',
      'redisStore needs the package @redis/client, which is not installed: npm install @redis/client',
    )
  }
}

/**
 * One client per connection, and reconnecting is ours: the driver neither bounds a command in flight nor its handshake, and
 * its idle timer closes a client for good.
 */
export function ownConnection(driver: typeof Driver, url: string, listener: ConnectionListener): RedisConnection {
  const { runtime } = listener
  const waiting = waitingList(runtime)
  let current: ReturnType<typeof create> | undefined
  let problem = 'not connected yet'
  let failures = 0
  let next: Timer | undefined
  let handshake: Timer | undefined
  let closed = false
  let wasReady = false
  let isReplacing = false

  function create(): ReturnType<(typeof Driver)['createClient']> {
    return driver.createClient({
      url,
      disableOfflineQueue: true,
      commandsQueueMaxLength: COMMANDS_QUEUED_MOST,
      maintNotifications: 'disabled',
      socket: { reconnectStrategy: false, connectTimeout: Math.min(listener.deadlineMs, HANDSHAKE_MS) },
    }) as ReturnType<(typeof Driver)['createClient']>
  }

  function connect(): void {
    next = undefined
    const mine = create()
    current = mine
    mine.on('error', (error: unknown) => lost(mine, problemOf(error)))
    mine.on('end', () => lost(mine, 'connection closed'))
    handshake = runtime.setTimer(HANDSHAKE_MS, () => lost(mine, 'no answer'))
    mine.connect().then(
      () => (mine === current && !closed ? ready() : discard(mine)),
      (error: unknown) => {
        lost(mine, problemOf(error))
        discard(mine)
      },
    )
  }

  function ready(): void {
    handshake?.cancel()
    failures = 0
    wasReady = true
    isReplacing = false
    listener.up()
    waiting.wake()
  }

  function lost(mine: typeof current, why: string, isStalled = false): void {
    if (mine !== current || mine === undefined || closed) return
    current = undefined
    problem = why
    handshake?.cancel()
    // A closed connection is no outage yet; one that cannot be replaced, or does not answer, is.
    isReplacing = wasReady && !isStalled
    wasReady = false
    if (!isReplacing) listener.down(why)
    next = runtime.setTimer(backoff(), connect)
    waiting.wake()
    // Last, because it rejects what was in flight.
    discard(mine)
  }

  function backoff(): number {
    const jitter = (runtime.randomBytes(1)[0] as number) / 256
    if (isReplacing) return jitter * REPLACE_WITHIN_MS
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    return most * (0.5 + jitter / 2)
  }

  connect()
  return {
    get problem(): string {
      return problem
    },
    get isReplacing(): boolean {
      return isReplacing
    },
    client: () => (current?.isReady === true ? current : undefined),
    whenReady: (ms) => waiting.wait(ms, () => current?.isReady === true),
    stalled(client): void {
      if ((client as unknown) === current) lost(current, 'no answer', true)
    },
    close(): void {
      closed = true
      next?.cancel()
      handshake?.cancel()
      if (current !== undefined) discard(current)
      current = undefined
      waiting.wake()
    },
  }
}

/** The application's own client: it connects and reconnects as the application configured it, and stays open. */
export function givenConnection(client: RedisClientLike, listener: ConnectionListener): RedisConnection {
  const waiting = waitingList(listener.runtime)
  let problem = 'not connected yet'
  let closed = false
  const onError = (error: unknown): void => {
    problem = problemOf(error)
    if (!client.isReady) listener.down(problem)
  }
  const onReady = (): void => {
    listener.up()
    waiting.wake()
  }
  client.on('error', onError)
  client.on('ready', onReady)
  if (client.isReady) onReady()
  else if (!client.isOpen) client.connect().then(onReady, onError)
  return {
    get problem(): string {
      return problem
    },
    isReplacing: false,
    client: () => (client.isReady && !closed ? client : undefined),
    whenReady: (ms) => waiting.wait(ms, () => client.isReady),
    stalled: () => listener.down('no answer'),
    close(): void {
      closed = true
      client.off('error', onError)
      client.off('ready', onReady)
      waiting.wake()
    },
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
  const { code, message, constructor, errors } = (error ?? {}) as {
    code?: unknown
    message?: unknown
    constructor?: { name?: unknown }
    errors?: unknown
  }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code)) return code
  if (Array.isArray(errors) && errors.length > 0) return problemOf(errors[0])
  const word = typeof message === 'string' ? /^[A-Z][A-Z0-9]+(?= )/.exec(message)?.[0] : undefined
  if (word !== undefined && word !== 'ERR') return word
  const name = typeof constructor?.name === 'string' ? constructor.name : 'error'
  return CLOSED.has(name) ? 'connection closed' : name
}

function discard(client: { destroy(): unknown }): void {
  try {
    client.destroy()
  } catch {
    // It was closed already.
  }
}

function waitingList(runtime: Runtime): { wait(ms: number, isReady: () => boolean): Promise<boolean>; wake(): void } {
  const waiters = new Set<() => void>()
  return {
    wait(ms, isReady): Promise<boolean> {
      if (isReady()) return Promise.resolve(true)
      return new Promise((resolve) => {
        const end = (): void => {
          timer.cancel()
          waiters.delete(end)
          resolve(isReady())
        }
        const timer = runtime.setTimer(ms, end)
        waiters.add(end)
      })
    },
    wake(): void {
      for (const end of [...waiters]) end()
    },
  }
}
