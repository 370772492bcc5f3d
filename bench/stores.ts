/** The session servers that variants keep their sessions in, each started when a variant needs it. */
import { readFileSync } from 'node:fs'
import { startMemcached } from '../test/setup/memcached.ts'
import { startPostgres } from '../test/setup/postgres.ts'
import { startRedis } from '../test/setup/servers.ts'
import { redisCounts, type StoreCounts } from './store-counts.ts'

export type StoreKind = 'redis' | 'postgres' | 'memcached'

export interface BenchStore {
  readonly url: string
  /** Of the server and, where it makes one per connection, of all its processes. */
  pids(): number[]
  counts?(): Promise<StoreCounts>
  stop(): Promise<void>
}

export async function startStores(kinds: ReadonlySet<StoreKind>): Promise<ReadonlyMap<StoreKind, BenchStore>> {
  const stores = new Map<StoreKind, BenchStore>()
  for (const kind of kinds) stores.set(kind, await START[kind]())
  return stores
}

const START: Readonly<Record<StoreKind, () => Promise<BenchStore>>> = {
  async redis() {
    const { url, pid, port, stop } = await startRedis()
    return { url, pids: () => [pid], counts: () => redisCounts(port), stop }
  },
  async postgres() {
    const { url, pid, stop } = await startPostgres()
    return { url, pids: () => [pid, ...childrenOf(pid)], stop: () => stop() }
  },
  async memcached() {
    const { address, pid, stop } = await startMemcached()
    return { url: `memcached://${address}`, pids: () => [pid], stop }
  },
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number)
}
