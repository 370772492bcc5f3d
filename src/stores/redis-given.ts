import type { ConnectionListener, RedisConnection } from './redis-connection.ts'
import { problemOf } from './redis-driver.ts'
import type { RedisClientLike } from './redis-driver.ts'
import { waitingList } from './redis-waiting.ts'

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
    renew(): void {},
    missed(_client, waitedMs): void {
      if (waitedMs >= listener.deadlineMs / 2) listener.down('no answer')
    },
    track(): void {},
    confirm: () => Promise.resolve(undefined),
    expectEcho: () => undefined,
    close(): void {
      closed = true
      client.off('error', onError)
      client.off('ready', onReady)
      waiting.wake()
    },
  }
}
