/** The connections to one server: kept between requests, made when all are in use. */
import type { Socket } from 'node:net'
import { Connection, type ConnectionTimes } from './connection.ts'
import { dialServer } from './server-socket.ts'

export interface PoolSettings extends ConnectionTimes {
  readonly connectTimeoutMs: number
}

/** Who waits for a connection. */
export interface PoolUser {
  connected(connection: Connection): void
  /** There is none to be had. */
  unconnected(): void
}

export interface Pool {
  /**
   * Calls `connected` at once when a kept connection is there; with `isCareful` once its end, should it have come, was seen: a request that
   * must not be sent twice is not lost to it. Returns what gives up the wait.
   */
  take(user: PoolUser, isCareful: boolean): () => void
  /** Makes a new connection. Returns what gives up the wait. */
  dial(user: PoolUser): () => void
  /** Ends every connection. */
  destroy(): void
}

const IDLE_MAX = 256
const nothing = (): void => undefined

export function createPool(url: string, settings: PoolSettings): Pool {
  const { hostname, port } = new URL(url)
  const address = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80), noDelay: true, keepAlive: true }
  const idle: Connection[] = []
  const all = new Set<Connection>()
  const dialling = new Set<Socket>()
  const everyMs = Math.min(
    1_000,
    Math.max(10, Math.min(settings.headersTimeoutMs, settings.idleTimeoutMs, settings.clientBodyTimeoutMs) / 10),
  )
  const clock = setInterval(sweep, everyMs)
  clock.unref()

  function released(connection: Connection, alive: boolean): void {
    if (alive && idle.length < IDLE_MAX) return void idle.push(connection)
    if (alive) connection.destroy()
    all.delete(connection)
    const at = idle.indexOf(connection)
    if (at >= 0) idle.splice(at, 1)
  }

  function sweep(): void {
    const now = performance.now()
    for (const connection of all) connection.check(now)
    // The one that was used longest ago lies first.
    while (idle.length > 0 && (idle[0] as Connection).idleUntil < now) drop(idle.shift() as Connection)
  }

  function drop(connection: Connection): void {
    all.delete(connection)
    connection.destroy()
  }

  function dial(user: PoolUser): () => void {
    const socket = dialServer(address)
    dialling.add(socket)
    const timer = setTimeout(() => socket.destroy(), settings.connectTimeoutMs)
    function settled(): void {
      clearTimeout(timer)
      dialling.delete(socket)
      socket.off('close', closed)
    }
    function closed(): void {
      settled()
      user.unconnected()
    }
    socket.once('error', nothing).once('close', closed)
    socket.once('connect', () => {
      settled()
      const connection = new Connection(socket, settings, released)
      all.add(connection)
      user.connected(connection)
    })
    return () => {
      settled()
      socket.destroy()
    }
  }

  function kept(): Connection | undefined {
    const now = performance.now()
    for (let connection = idle.pop(); connection !== undefined; connection = idle.pop()) {
      if (connection.isAlive && connection.idleUntil >= now) return connection
      drop(connection)
    }
    return undefined
  }

  /** What has already arrived is read before the next turn of the event loop. */
  function afterReading(connection: Connection, user: PoolUser): () => void {
    let giveUp = (): void => drop(connection)
    const turn = setImmediate(() => {
      if (connection.isAlive) user.connected(connection)
      else giveUp = dial(user)
    })
    return () => {
      clearImmediate(turn)
      giveUp()
    }
  }

  return {
    dial,
    take(user, isCareful) {
      const connection = kept()
      if (connection === undefined) return dial(user)
      if (isCareful) return afterReading(connection, user)
      user.connected(connection)
      return nothing
    },
    destroy() {
      clearInterval(clock)
      for (const socket of dialling) socket.destroy()
      for (const connection of all) drop(connection)
    },
  }
}
