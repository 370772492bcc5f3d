import type { Runtime } from '../seam.ts'
import type { RedisConnection } from './redis-connection.ts'
import { RedisOutage } from './redis-driver.ts'
import type { RedisClientLike } from './redis-driver.ts'

export type Wrote = (reply: unknown) => readonly string[]

/** One command, by the deadline. Rejects with the driver's error, or with a `RedisOutage`. `wrote`: which names, by its reply. */
export function ask(connection: RedisConnection, args: string[], ms: number, runtime: Runtime, wrote?: Wrote): Promise<unknown> {
  return exchange(connection, (client) => client.sendCommand(args), ms, runtime, wrote)
}

/** The deadline is ours: the driver's does not bound a command in flight. */
export function exchange(
  connection: RedisConnection,
  send: (client: RedisClientLike) => Promise<unknown>,
  ms: number,
  runtime: Runtime,
  wrote?: Wrote,
): Promise<unknown> {
  const client = connection.client()
  if (client === undefined) return Promise.reject(new RedisOutage(connection.problem))
  return new Promise((resolve, reject) => {
    const echo = wrote === undefined ? undefined : connection.expectEcho()
    let late = false
    const miss = (): void => {
      if (!late) return
      connection.missed(client, ms)
      reject(new RedisOutage('no answer'))
    }
    // A server that was itself stalled first reads what has arrived: the timer fires before the sockets are polled.
    const timer = runtime.setTimer(Math.max(0, ms), () => {
      late = true
      runtime.defer(miss)
    })
    const settle = (end: () => void): void => {
      timer.cancel()
      late = false
      end()
    }
    send(client).then(
      (reply) => {
        if (wrote !== undefined) echo?.(wrote(reply))
        settle(() => resolve(reply))
      },
      (error: Error) => settle(() => reject(error)),
    )
  })
}
