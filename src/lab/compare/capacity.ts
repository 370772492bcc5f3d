/** What each strategy will cost at a given size: arithmetic on figures that were measured. */
import type { StrategyName } from '../choice.ts'
import type { CompareReport } from './result.ts'

export interface Demand {
  /** Live at once. */
  readonly sessions: number
  readonly sessionBytes: number
  readonly requestsPerSecond: number
  /** 0 to 1. */
  readonly writeShare: number
  readonly servers: number
  /** Servers that may die at once without a session being lost. */
  readonly deaths: 0 | 1 | 2
}

/** What the arithmetic rests on. */
export interface Calibration {
  /** Between servers, for one field of about 120 bytes, to one copy: frame, key, dots, acknowledgement. */
  readonly deltaBytes: number
  /** Held in a server's memory beside the session's own bytes. */
  readonly copyBytes: number
  /** To and from the session server for one write, beside the session's own bytes. */
  readonly storeWriteBytes: number
  readonly storeReadBytes: number
  /** In the session server, as a factor of the session's bytes. */
  readonly storeFactor: number
  /** Root and note, where the session is not in the cookies. */
  readonly jarBytes: number
  /** Sealed, encoded: as a factor of the session's bytes, and for itself. */
  readonly sealFactor: number
  readonly sealBytes: number
}

/** Measured with this project's own benchmark and tests (docs/choosing.md names the commands). */
export const MEASURED: Calibration = {
  deltaBytes: 280,
  copyBytes: 300,
  storeWriteBytes: 630,
  storeReadBytes: 150,
  storeFactor: 1.45,
  jarBytes: 170,
  sealFactor: 1.4,
  sealBytes: 270,
}

/** The same, from a report of `holdfast compare --json` made on the machine that matters. */
export function calibrated({ meta, results }: CompareReport): Calibration {
  const { sessionBytes, writeShare } = meta.workload
  const all = results.filter(({ label, betweenNodesBytesPerWrite }) => label === 'replication all' && betweenNodesBytesPerWrite > 0)
  const sealed = results.find(({ strategy }) => strategy === 'cookieBased')
  const stored = results.find(({ strategy, storeBytesPerRequest }) => strategy === 'dedicated' && storeBytesPerRequest !== null)
  const plain = results.find(({ strategy }) => strategy === 'replication')
  return {
    ...MEASURED,
    ...(all.length > 0 && { deltaBytes: mean(all.map((result) => result.betweenNodesBytesPerWrite / (result.nodes - 1))) }),
    ...(sealed !== undefined && { sealFactor: Math.max(1, (sealed.cookieBytesPerRequest - MEASURED.sealBytes) / sessionBytes) }),
    ...(stored !== undefined && {
      storeWriteBytes: storeOverhead(stored.storeBytesPerRequest as number, sessionBytes, writeShare, stored.nodes),
    }),
    ...(plain !== undefined && { jarBytes: plain.cookieBytesPerRequest }),
  }
}

function storeOverhead(perRequest: number, sessionBytes: number, writeShare: number, servers: number): number {
  const misses = Math.min(1 - writeShare, writeShare * (servers - 1))
  return Math.max(0, (perRequest - misses * (sessionBytes + MEASURED.storeReadBytes)) / writeShare - sessionBytes)
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

export interface Estimate {
  readonly strategy: Exclude<StrategyName, 'isolated'>
  /** As one would write it. */
  readonly options: string
  /** Of all servers together, bytes a second. */
  readonly meshBytesPerSecond: number
  /** Of sessions, in each server. */
  readonly memoryBytesPerServer: number
  readonly storeBytesPerSecond: number
  readonly storeMemoryBytes: number
  readonly cookieBytesPerRequest: number
}

export function estimate(demand: Demand, by: Calibration = MEASURED): Estimate[] {
  const { deaths, requestsPerSecond, servers, sessionBytes, sessions, writeShare } = demand
  const writes = requestsPerSecond * writeShare
  const reads = requestsPerSecond - writes
  const copies = Math.min(servers, deaths + 1)
  const held = (count: number): number => (sessions * Math.min(count, servers) * (sessionBytes + by.copyBytes)) / servers
  const none = {
    meshBytesPerSecond: 0,
    memoryBytesPerServer: 0,
    storeBytesPerSecond: 0,
    storeMemoryBytes: 0,
    cookieBytesPerRequest: by.jarBytes,
  }
  // A write at one server makes the others' near copies old: each fetches again with the visitor's next read there, at most.
  const misses = Math.min(reads, writes * (servers - 1))
  const stranger = 1 - copies / servers
  return [
    {
      ...none,
      strategy: 'replication',
      options: "copies: 'all'",
      meshBytesPerSecond: writes * (servers - 1) * by.deltaBytes,
      memoryBytesPerServer: held(servers),
    },
    {
      ...none,
      strategy: 'replication',
      options: `copies: ${copies}`,
      meshBytesPerSecond:
        writes * (copies - 1 + stranger) * by.deltaBytes + Math.min(reads, writes) * stranger * (sessionBytes + by.deltaBytes),
      memoryBytesPerServer: held(copies),
    },
    {
      ...none,
      strategy: 'affinity',
      options: `backups: ${copies - 1}`,
      meshBytesPerSecond: writes * (copies - 1) * by.deltaBytes,
      memoryBytesPerServer: held(copies),
    },
    { ...none, strategy: 'cookieBased', options: '', cookieBytesPerRequest: sessionBytes * by.sealFactor + by.sealBytes },
    {
      ...none,
      strategy: 'dedicated',
      options: servers === 1 ? 'SQLite' : 'Redis',
      storeBytesPerSecond: writes * (sessionBytes + by.storeWriteBytes) + misses * (sessionBytes + by.storeReadBytes),
      storeMemoryBytes: sessions * sessionBytes * by.storeFactor,
    },
  ]
}
