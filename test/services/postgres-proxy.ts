/** Stands between a store and its server, and loses or holds back what the server answers. */
import { createConnection, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tracked } from './postgres-harness.ts'

export interface Proxy {
  readonly port: number
  /** How many answers were lost so far. */
  readonly swallowed: number
  /** The connection ends in place of the next answer to a prepared statement of the store. */
  swallowNextReply(): void
  /** From now on what the server sends is kept. */
  hold(): void
  /** What is kept: pieces as they came. */
  readonly held: number
  /** Passes the oldest pieces on, all of them by default, and then no longer holds anything. */
  pass(count?: number): void
  close(): Promise<void>
}

export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const kept: (() => void)[] = []
  let isHolding = false
  let isArmed = false
  let swallowed = 0

  const server = createServer((client) => {
    const upstream = createConnection({ port: target, host: '127.0.0.1' })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    let hasAsked = false
    client.on('data', (chunk) => {
      // Only what carries a statement is answered by a reply that can be lost.
      hasAsked = isArmed && chunk.includes('holdfast_')
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (isHolding) return void kept.push(() => client.write(chunk))
      if (!isArmed || !hasAsked) return void client.write(chunk)
      isArmed = false
      swallowed += 1
      client.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  return tracked({
    port: (server.address() as AddressInfo).port,
    get swallowed(): number {
      return swallowed
    },
    swallowNextReply: () => {
      isArmed = true
    },
    hold: () => {
      isHolding = true
    },
    get held(): number {
      return kept.length
    },
    pass: (count = Number.POSITIVE_INFINITY) => {
      for (const send of kept.splice(0, count)) send()
      isHolding = Number.isFinite(count)
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
}
