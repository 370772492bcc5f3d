/** What the tests of `mysqlStore` share. */
import { createServer, createConnection as connectTcp } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { createConnection } from 'mysql2/promise'
import type { Connection } from 'mysql2/promise'
import { expect } from 'vitest'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { SessionStore, StoreContext, StorePatch, StoredRecord } from '../../src/seam.ts'
import { within } from '../setup/servers.ts'

export { DEADLINE_MS, draft, failure } from './store-common.ts'

/** Where a busy machine must not miss it. */
export const LONG_MS = 20_000

const open: (() => Promise<unknown>)[] = []

/** Closed by `closeAll()`. */
export function tracked<T extends { close(): Promise<unknown> }>(thing: T): T {
  open.push(() => thing.close())
  return thing
}

export async function closeAll(): Promise<void> {
  for (const close of open.splice(0).reverse()) await within(close(), 10_000, 'closing')
}

export function context(over: Partial<StoreContext> = {}): StoreContext {
  return { runtime: systemRuntime(), logger: console, deadlineMs: LONG_MS, stateChanged: () => {}, ...over }
}

export async function ready(store: SessionStore, over: Partial<StoreContext> = {}): Promise<SessionStore> {
  tracked(store)
  await store.ready(context(over))
  return store
}

let writes = 0
export const nextWriteId = (): string => `w${++writes}`

export function set(field: string, value: string | undefined, writeId: string = nextWriteId()): StorePatch {
  return { set: new Map([[field, value]]), add: new Map(), touchAt: 0, writeId }
}

export function add(field: string, by: number, from = 0, writeId: string = nextWriteId()): StorePatch {
  return { set: new Map(), add: new Map([[field, { by, from }]]), touchAt: 0, writeId }
}

export async function record(store: SessionStore, key: string): Promise<StoredRecord> {
  const found = await store.read(key)
  expect(found).toHaveProperty('fields')
  return found as StoredRecord
}

/** A connection beside the store's. */
export async function plain(url: string): Promise<Connection> {
  const connection = await createConnection({ uri: url, multipleStatements: true })
  open.push(async () => connection.destroy())
  return connection
}

export interface Proxy {
  readonly port: number
  /** Commands that clients have sent so far: each ends when the answer begins. */
  trips(): number
}

/** Counts round trips on the way to a server. */
export async function countingProxy(toPort: number): Promise<Proxy> {
  let trips = 0
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connectTcp(toPort, '127.0.0.1')
    let asked = false
    client.on('data', () => {
      if (!asked) trips += 1
      asked = true
    })
    upstream.on('data', () => {
      asked = false
    })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  open.push(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, trips: () => trips }
}

/** Everything that an error or a log could show. */
export function everything(error: unknown): string {
  const parts: string[] = []
  for (let at = error as Error | undefined; at !== undefined && at !== null; at = at.cause as Error | undefined) {
    parts.push(String(at), at.stack ?? '', JSON.stringify(at), JSON.stringify(Object.getOwnPropertyDescriptors(at)))
  }
  return parts.join('\n')
}
