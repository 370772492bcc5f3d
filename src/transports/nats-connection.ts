import type { Msg, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'
import type * as Driver from '@nats-io/transport-node'
import { isIP } from 'node:net'
import { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'
import type { NatsSettings } from './nats-options.ts'

/** One server has so long before the next is tried as well. */
const NEXT_SERVER_MS = 2000
const FIRST_BACKOFF_MS = 100
const LONGEST_BACKOFF_MS = 2000
/** After a loss: servers of a cluster must not all dial at the same moment. */
const SPREAD_MS = 50
const WARN_EVERY_MS = 60_000
/** Smaller messages would not even hold a greeting. */
const LEAST_PAYLOAD_BYTES = 4096
const MAX_LEARNED = 100

export interface ConnectionOptions {
  readonly driver: typeof Driver
  readonly settings: NatsSettings
  readonly runtime: Runtime
  readonly logger: Pick<Console, 'warn' | 'error'>
  /** Subjects this server listens to. None of their handlers may throw. */
  readonly subscriptions: ReadonlyMap<string, (message: Msg) => void>
  connected(): void
}

/** One connection to any of the NATS servers, replaced for ever when it breaks. */
export interface NatsLine {
  isOpen(): boolean
  /** False when there is no connection, or the server does not take this. */
  publish(subject: string, message: Uint8Array, replyTo?: string): boolean
  /** What the server takes, or the last one took. */
  largestMessage(): number
  /** Each server has been tried once, or one of them has answered. */
  readonly tried: Promise<void>
  /** To be called once a heartbeat: a server that does not answer is left. `stalled`: this process was. */
  beat(stalled: boolean): void
  traffic(): { sentBytes: number; receivedBytes: number }
  close(): Promise<void>
}

export async function loadNatsDriver(): Promise<typeof Driver> {
  try {
    return await import('@nats-io/transport-node')
  } catch {
    throw new SessionError(
      'DEPENDENCY_MISSING',
      'natsTransport needs the package @nats-io/transport-node, which is not installed: npm install @nats-io/transport-node',
    )
  }
}

/**
 * Reconnecting is ours: the driver keeps what is published meanwhile without a bound, and waits for a stopped server's socket
 * to drain before it leaves it. An attempt that hangs is not given up but overtaken: the driver would leave its socket behind.
 */
export function openLine(options: ConnectionOptions): NatsLine {
  const { driver, settings, runtime, logger } = options
  let learned: string[] = []
  const dialling = new Set<string>()
  const warnedAt = new Map<string, number>()
  /** Since the last connection. */
  const failing = new Set<string>()
  let current: NatsConnection | undefined
  let pingedAt: number | undefined
  let next: Timer | undefined
  let position = 0
  let failures = 0
  let largest = LEAST_PAYLOAD_BYTES
  let closed = false
  let sentBytes = 0
  let receivedBytes = 0
  let markTried: () => void = () => undefined
  const tried = new Promise<void>((resolve) => {
    markTried = resolve
  })

  const random = (): number => (runtime.randomBytes(1)[0] as number) / 256
  const servers = settings.driver.noRandomize === true ? settings.servers : shuffled(settings.servers, random)

  function plan(ms: number): void {
    next?.cancel()
    next = closed || current !== undefined ? undefined : runtime.setTimer(ms, dialNext)
  }

  function dialNext(): void {
    const pool = [...servers, ...learned]
    for (let step = 0; step < pool.length; step++) {
      const server = pool[position++ % pool.length] as string
      if (dialling.has(server)) continue
      dial(server)
      return plan(NEXT_SERVER_MS)
    }
    // Attempts at all of them are under way, and take long.
    unreachable('no answer')
    plan(NEXT_SERVER_MS)
  }

  function unreachable(problem: string): void {
    markTried()
    warn('away', `NATS cannot be reached (${problem}): check servers, credentials and tls; it is tried until it can.`)
  }

  function dial(server: string): void {
    dialling.add(server)
    driver.connect({ ...(settings.driver as NodeConnectionOptions), servers: server, ...OURS }).then(
      (connection) => {
        dialling.delete(server)
        adopt(connection)
      },
      (error: unknown) => {
        dialling.delete(server)
        failed(server, problemOf(error))
      },
    )
  }

  function failed(server: string, problem: string): void {
    if (closed) return
    if (current !== undefined) return
    failing.add(server)
    if (servers.every((one) => failing.has(one) || dialling.has(one))) unreachable(problem)
    plan(backoff())
  }

  function backoff(): number {
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    return most * (0.5 + random() / 2)
  }

  function warn(about: 'away' | 'permissions', message: string): void {
    const now = runtime.monotonic()
    const last = warnedAt.get(about)
    if (last !== undefined && now - last < WARN_EVERY_MS) return
    warnedAt.set(about, now)
    logger.warn(`holdfast natsTransport: ${message}`)
  }

  // ---------------------------------------------------------------- one connection

  function adopt(connection: NatsConnection): void {
    if (closed || current !== undefined) return discard(connection)
    const payload = connection.info?.max_payload ?? 0
    if (payload < LEAST_PAYLOAD_BYTES) {
      discard(connection)
      return failed(connection.getServer(), `its max_payload of ${payload} is below ${LEAST_PAYLOAD_BYTES}`)
    }
    current = connection
    next?.cancel()
    failures = 0
    failing.clear()
    largest = payload
    pingedAt = undefined
    for (const [subject, handle] of options.subscriptions) subscribe(connection, subject, handle)
    void connection.closed().then((error) => lost(connection, error === undefined ? 'connection closed' : problemOf(error)))
    void watchErrors(connection)
    markTried()
    options.connected()
  }

  function subscribe(connection: NatsConnection, subject: string, handle: (message: Msg) => void): void {
    connection.subscribe(subject, {
      callback(error, message) {
        if (error !== null) return warn('permissions', `it may not listen to its subjects (${problemOf(error)}): ${PERMISSIONS}`)
        if (connection !== current) return
        receivedBytes += message.data.length
        handle(message)
      },
    })
  }

  async function watchErrors(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'error' && problemOf(status.error) === 'PermissionViolationError') {
        warn('permissions', `NATS refuses a subject of it: ${PERMISSIONS}`)
      }
    }
  }

  function lost(connection: NatsConnection, problem: string): void {
    if (connection !== current) return
    current = undefined
    learned = learnedFrom(connection)
    discard(connection)
    if (closed) return
    warn('away', `the connection to NATS is lost (${problem}); it is tried until it is back.`)
    plan(random() * SPREAD_MS)
  }

  function learnedFrom(connection: NatsConnection): string[] {
    const { info } = connection
    const byTls =
      settings.driver.tls !== null && (settings.driver.tls !== undefined || info?.tls_available === true || info?.tls_required === true)
    const found = connection.getServers().filter(({ gossiped, hostname }) => gossiped && !(byTls && isIP(hostname) !== 0))
    return found
      .map(({ listen }) => listen)
      .filter((listen) => !servers.includes(listen))
      .slice(0, MAX_LEARNED)
  }

  function ping(connection: NatsConnection): void {
    const at = runtime.monotonic()
    pingedAt = at
    const answered = (): void => {
      if (pingedAt === at) pingedAt = undefined
    }
    // A rejection means that it broke, which `closed` tells.
    connection.flush().then(answered, answered)
  }

  dialNext()
  return {
    tried,
    isOpen: () => current !== undefined,
    largestMessage: () => largest,
    publish(subject, message, replyTo) {
      if (current === undefined) return false
      try {
        current.publish(subject, message, replyTo === undefined ? undefined : { reply: replyTo })
        sentBytes += message.length
        return true
      } catch {
        // It closed in this moment.
        return false
      }
    },
    beat(stalled) {
      if (current === undefined) return
      const now = runtime.monotonic()
      if (pingedAt === undefined) return ping(current)
      if (stalled) pingedAt = now
      // Well before others lose patience.
      else if (now - pingedAt > settings.silenceMs / 2) lost(current, 'no answer')
    },
    traffic: () => ({ sentBytes, receivedBytes }),
    async close() {
      closed = true
      next?.cancel()
      markTried()
      const last = current
      current = undefined
      if (last === undefined) return
      const flushed = last.flush().catch(() => undefined)
      await Promise.race([flushed, new Promise<void>((resolve) => void runtime.setTimer(FLUSH_MS, resolve))])
      discard(last)
    },
  }
}

const FLUSH_MS = 500
/** What the user cannot choose. */
const OURS = { reconnect: false, noEcho: true, waitOnFirstConnect: false, pingInterval: 600_000, noAsyncTraces: true }
const PERMISSIONS = 'its NATS account must be allowed to publish and subscribe on "hf.>".'

function discard(connection: NatsConnection): void {
  connection.close().catch(() => undefined)
}

function shuffled(list: readonly string[], random: () => number): string[] {
  return list
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** Codes and class names only: messages can quote what was sent, credentials included. */
function problemOf(error: unknown): string {
  const { code, name, cause } = (error ?? {}) as { code?: unknown; name?: unknown; cause?: unknown }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code)) return code
  if (typeof cause === 'object' && cause !== null) return problemOf(cause)
  if (name === 'AuthorizationError' || name === 'UserAuthenticationExpiredError') return 'it refuses the credentials'
  if (name === 'TimeoutError') return 'no answer'
  return typeof name === 'string' && /^[A-Za-z]{1,40}$/.test(name) ? name : 'unknown error'
}
