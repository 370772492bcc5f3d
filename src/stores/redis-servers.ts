import { ask } from './redis-ask.ts'
import type { Wrote } from './redis-ask.ts'
import type { ClientOptions, ConnectionListener, RedisConnection } from './redis-connection.ts'
import type { RedisAddress, RedisPlace } from './redis-address.ts'
import { problemOf } from './redis-driver.ts'
import type { RedisTlsOptions } from './redis-options.ts'
import { probeName } from './redis-slots.ts'

/** One server, the master that Sentinel names, or a cluster. */
export interface RedisServers {
  /** The last problem, as a few words without anything secret. */
  readonly problem: string
  /** True once usable; false when that failed or took longer. */
  whenReady(ms: number): Promise<boolean>
  /** To the server that holds `name`, by `until` (monotonic ms). Rejects with the driver's error or a `RedisOutage`. */
  send(args: string[], name: string, until: number, wrote?: Wrote): Promise<unknown>
  /** The servers that together hold all sessions. */
  masters(until: number): Promise<readonly RedisMaster[]>
  /** From now on changes by others are announced. */
  track(): void
  /**
   * Not undefined once everything that was changed before has been announced: the reply to `command`, which a cluster is not asked.
   * Never rejects.
   */
  confirm(command?: string[]): Promise<unknown>
  close(): void
}

export interface RedisMaster {
  send(args: string[], until: number): Promise<unknown>
}

const COMMANDS_QUEUED_MOST = 20_000
const CONNECT_MS = 5_000
const REPLACING_MS = 250
const PING = ['PING']

export function clientOptions(place: RedisPlace, tls: RedisTlsOptions, deadlineMs: number): (address: RedisAddress) => ClientOptions {
  const { username, password, database, isEncrypted } = place
  const encryption = isEncrypted ? { ...tls, tls: true, rejectUnauthorized: true } : {}
  return ({ host, port }) =>
    ({
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(database !== 0 && { database }),
      disableOfflineQueue: true,
      commandsQueueMaxLength: COMMANDS_QUEUED_MOST,
      maintNotifications: 'disabled',
      // It covers the queue only, and costs a timer for each command.
      commandOptions: { timeout: 0 },
      socket: { host, port, ...encryption, reconnectStrategy: false, connectTimeout: Math.min(deadlineMs, CONNECT_MS) },
    }) as ClientOptions
}

/** `mayMove`: another server may have taken over, and is to be looked for. */
export function oneServer(connection: RedisConnection, listener: ConnectionListener, prefix: string, mayMove: boolean): RedisServers {
  const { runtime } = listener

  async function send(args: string[], until: number, wrote?: Wrote): Promise<unknown> {
    // A connection that was just closed is replaced within milliseconds: worth a short wait, unlike an outage.
    if (connection.isReplacing) await connection.whenReady(Math.min(until - runtime.monotonic(), REPLACING_MS))
    const client = connection.client()
    try {
      const reply = await ask(connection, args, until - runtime.monotonic(), runtime, wrote)
      listener.up()
      return reply
    } catch (error) {
      if (mayMove && client !== undefined && problemOf(error) === 'READONLY') connection.renew(client, 'READONLY')
      throw error
    }
  }

  return {
    get problem(): string {
      return connection.problem
    },
    whenReady: (ms) => connection.whenReady(ms),
    send: (args, _name, until, wrote) => send(args, until, wrote),
    masters: async () => [{ send: (args, until) => send(args, until) }],
    track: () => connection.track(),
    confirm: (command = PING) => connection.confirm(command, probeName(prefix, 0)),
    close: () => connection.close(),
  }
}
