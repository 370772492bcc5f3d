/**
 * One server's table over real links, a process of its own: for tests and benchmarks of sizes that requests over HTTP would take too long to
 * reach. Its one argument is a JSON `TableServerConfig`. Prints `READY`; each line of standard input is a `Command` in JSON,
 * answered by a line `DONE RESULT`, in turn.
 */
import { createHash, hash } from 'node:crypto'
import { createInterface } from 'node:readline'
import type { Policy } from '../../src/cluster/placement.ts'
import { createTable } from '../../src/cluster/table.ts'
import { deriveKeys } from '../../src/core/keys.ts'
import { systemRuntime } from '../../src/core/runtime.ts'
import type { Draft } from '../../src/seam.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'
import { pauseMeter } from './pause-meter.ts'

export interface TableServerConfig {
  readonly node: string
  /** Default 127.0.0.1. */
  readonly host?: string
  readonly port: number
  readonly peers: readonly string[]
  /** Where others reach it: a proxy. */
  readonly advertisedPort?: number
  readonly policy: Policy
  readonly acks: number
}

export type Command =
  /** Creates the sessions of these numbers, `atOnce` under way. */
  | { readonly do: 'create'; readonly from: number; readonly to: number; readonly fields: number; readonly idleMs?: number }
  /** Writes one field of each; the numbers of those acknowledged come back as a count. */
  | { readonly do: 'write'; readonly from: number; readonly to: number; readonly field: string; readonly value: string }
  | { readonly do: 'end'; readonly from: number; readonly to: number }
  /** Waits until so many sessions are held, then says how. */
  | { readonly do: 'wait'; readonly sessions: number; readonly withinMs: number }
  /** The contents of the sessions of these numbers, as one hash. */
  | { readonly do: 'hash'; readonly from: number; readonly to: number }
  /** When each session had each of these fields as `value`, all at once or one after the other: Unix ms; null: never. */
  | { readonly do: 'until'; readonly from: number; readonly to: number; readonly fields: readonly string[]; readonly value: string }
  /** `collect`: so many collections of garbage first. */
  | { readonly do: 'status'; readonly collect: number }
  | { readonly do: 'peers'; readonly count: number }
  /** When the field `series` of a session first showed each of so many values: Unix ms with fractions. */
  | { readonly do: 'watch'; readonly session: number; readonly values: number }
  /** Writes them, and says when. */
  | { readonly do: 'series'; readonly session: number; readonly values: number; readonly everyMs: number }
  | { readonly do: 'close' }

const AT_ONCE = 128
const HOUR_MS = 3_600_000
const SECRET = 'a secret for tests of at least 32 bytes'

const config = JSON.parse(process.argv[2] as string) as TableServerConfig
const runtime = systemRuntime()
const { advertisedPort, host = '127.0.0.1', node, peers, port } = config
let expired = 0
const startedAt = performance.now()
const meter = pauseMeter()
const table = createTable(
  {
    transport: tcpTransport({
      cluster: 'scale',
      secrets: SECRET,
      host,
      port,
      peers: [...peers],
      ...(advertisedPort !== undefined && { advertise: { host, port: advertisedPort } }),
    }),
    policy: config.policy,
    acks: config.acks,
    onDegraded: 'continue',
    whenCutOff: 'continue',
  },
  {
    node,
    runtime,
    keys: deriveKeys([SECRET], 'session'),
    cookieName: 'session',
    limits: { sessionBytes: 65_536 },
    emit: (type) => void (type === 'expired' && expired++),
    ended: () => undefined,
    logger: console,
  },
)

/** The same at every server. */
function keyOf(number: number): string {
  // In one call: objects of hashes would hold memory outside of the heap, and live until all of it is collected.
  return hash('sha256', `session ${number}`, 'base64url')
}

function draft(number: number, fields: number, idleMs: number): Draft {
  const now = runtime.now()
  const value = (field: number): string =>
    JSON.stringify({ id: field, turn: number % 10, items: ['kelp', 'limpet', 'barnacle'], note: 'holdfast '.repeat(fields === 1 ? 12 : 6) })
  return {
    meta: {
      userId: undefined,
      createdAt: now,
      lastActiveAt: now,
      idleMs,
      touchEveryMs: idleMs / 20,
      absoluteAt: now + 24 * HOUR_MS,
      persistent: false,
    },
    fields: new Map(Array.from({ length: fields }, (_, field) => [`field${field}`, value(field)])),
  }
}

/** Numbers in order, so many at once; true: it is counted. */
async function forEach(from: number, to: number, work: (key: string, number: number) => unknown): Promise<number> {
  let next = from
  let done = 0
  const lane = async (): Promise<void> => {
    while (next < to) {
      const number = next++
      const result = work(keyOf(number), number)
      if ((result instanceof Promise ? await result : result) !== false) done++
      // A turn of the event loop makes a few only: its pauses are measured.
      if (!(result instanceof Promise)) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return done
}

async function until(condition: () => boolean, withinMs: number): Promise<boolean> {
  const endsAt = performance.now() + withinMs
  while (!condition() && performance.now() < endsAt) await new Promise((resolve) => setTimeout(resolve, 10))
  return condition()
}

const change = (field: string, value: string) => ({ set: new Map([[field, value]]), add: new Map(), touchAt: runtime.now() })

function contents(key: string): string {
  const record = table.find(key)?.peek()
  if (record === undefined) return `${key} ${table.ended(key)?.reason ?? 'none'}`
  const fields = [...record.fields()].sort().map((field) => `${field}=${record.get(field)}`)
  return `${key} ${JSON.stringify(record.heads)} ${fields.join(' ')}`
}

function cpuMs(): number {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/** The first round ends a collection that is under way, which spares what died meanwhile. More than two give memory back to the machine. */
async function collect(rounds: number): Promise<void> {
  const flavor = rounds > 2 ? 'last-resort' : 'regular'
  for (let round = 0; round < rounds; round++) {
    ;(globalThis as { gc?: (options: object) => void }).gc?.({ type: 'major', execution: 'sync', flavor })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function run(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'create':
      return forEach(command.from, command.to, (key, number) =>
        table.create(key, draft(number, command.fields, command.idleMs ?? 24 * HOUR_MS)),
      )
    case 'write':
      return forEach(command.from, command.to, (key) => {
        const entry = table.find(key)
        return entry === undefined ? false : table.write(entry, change(command.field, command.value))
      })
    case 'end':
      return forEach(command.from, command.to, (key) => table.end(key, 'destroyed', runtime.now() + HOUR_MS))
    case 'wait':
      return until(() => table.status().sessions === command.sessions, command.withinMs)
    case 'hash': {
      const all = createHash('sha256')
      for (let number = command.from; number < command.to; number++) all.update(contents(keyOf(number)))
      return all.digest('hex')
    }
    case 'until': {
      let number = command.from
      const isThere = (): boolean => {
        while (number < command.to) {
          const record = table.find(keyOf(number))?.peek()
          if (record === undefined || command.fields.some((field) => record.get(field) !== command.value)) return false
          number++
        }
        return true
      }
      return (await until(isThere, 60_000)) ? wallNow() : null
    }
    case 'peers':
      return until(() => (table.status().peers ?? []).filter(({ state }) => state === 'up').length === command.count, 60_000)
    case 'status': {
      await collect(command.collect)
      const { heapUsed, rss, heapTotal, external, arrayBuffers } = process.memoryUsage()
      return {
        ...table.status(),
        heapUsed,
        rss,
        heapTotal,
        external,
        arrayBuffers,
        expired,
        ...meter.take(),
        cpuMs: cpuMs(),
      }
    }
    case 'watch':
      return watch(keyOf(command.session), command.values)
    case 'series':
      return series(keyOf(command.session), command.values, command.everyMs)
    case 'close':
      await table.close()
      return true
  }
}

const wallNow = (): number => performance.timeOrigin + performance.now()

/** When each value of `series` was first seen here. */
async function watch(key: string, values: number): Promise<number[]> {
  const seenAt: number[] = []
  const endsAt = performance.now() + 60_000
  while (seenAt.length < values && performance.now() < endsAt) {
    const value = Number(table.find(key)?.record.get('series') ?? -1)
    while (seenAt.length <= value) seenAt.push(wallNow())
    // Without a rest, the ones who watch would take the processor from the one who writes.
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
  return seenAt
}

/** When each value was written. */
async function series(key: string, values: number, everyMs: number): Promise<number[]> {
  const writtenAt: number[] = []
  for (let value = 0; value < values; value++) {
    const entry = table.find(key)
    if (entry === undefined) throw new Error('no such session')
    writtenAt.push(wallNow())
    await table.write(entry, change('series', String(value)))
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
  return writtenAt
}

process.once('SIGTERM', () => void table.close().then(() => process.exit(0)))
await table.ready()
console.log(`READY ${Math.round(performance.now() - startedAt)}`)
let turn: Promise<unknown> = Promise.resolve()
const input = createInterface({ input: process.stdin })
input.on('close', () => process.exit(1))
input.on('line', (line) => {
  turn = turn
    .then(() => run(JSON.parse(line) as Command))
    .then(
      (result) => console.log(`DONE ${JSON.stringify(result)}`),
      (error: unknown) => console.log(`FAILED ${String(error)}`),
    )
})
