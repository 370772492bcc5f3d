import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import { replication } from '../../src/strategies/replication.ts'
import { strategyContract, type StrategyCluster, type StrategyUnderTest } from '../../src/testing/strategy-contract.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'
import { freePorts } from '../setup/ports.ts'
import { startRedis } from '../setup/servers.ts'
import { runContract } from './run-contract.ts'

const SECRET = 'a secret for tests, long enough to be one'
const SERVERS = 3

type Options = Parameters<StrategyUnderTest['start']>[0]

/** Servers of one process, each with its own strategy; `release` ends what they shared. */
async function cluster(options: Options, strategies: readonly SessionStrategy[], release?: () => Promise<void>): Promise<StrategyCluster> {
  const servers = strategies.map((strategy, index) => createSessions({ secrets: SECRET, strategy, node: `n${index + 1}`, ...options }))
  await Promise.all(servers.map((server) => server.ready()))
  return {
    servers,
    async close() {
      await Promise.all(servers.map((server) => server.close()))
      await release?.()
    },
  }
}

const times = <T>(make: (index: number) => T): T[] => Array.from({ length: SERVERS }, (_, index) => make(index))

/** Three servers that share one network in memory, or three ports of this machine. */
function clustered(make: (transport: Transport) => SessionStrategy, over: 'memory' | 'tcp'): StrategyUnderTest {
  return {
    capabilities: make(memoryNetwork().join()).capabilities,
    async start(options) {
      if (over === 'memory') {
        const network = memoryNetwork()
        return cluster(
          options,
          times(() => make(network.join())),
        )
      }
      const ports = await freePorts(SERVERS)
      const peers = ports.map((port) => `127.0.0.1:${port}`)
      return cluster(
        options,
        ports.map((port) => make(tcpTransport({ cluster: 'test', secrets: SECRET, host: '127.0.0.1', port, peers }))),
      )
    },
  }
}

runContract(
  'isolated',
  strategyContract({
    capabilities: isolated().capabilities,
    cannot: { share: 'isolated shares nothing: that is what it is there to show' },
    start: (options) => cluster(options, [isolated()]),
  }),
)

for (const over of ['memory', 'tcp'] as const) {
  runContract(`replication over ${over}`, strategyContract(clustered((transport) => replication({ transport }), over)))
  runContract(`affinity over ${over}`, strategyContract(clustered((transport) => affinity({ transport, backups: 1 }), over)))
}

runContract(
  'cookieBased',
  strategyContract({
    capabilities: cookieBased().capabilities,
    cannot: { end: 'no server remembers that a session ended, until a revocation table is configured' },
    start: (options) =>
      cluster(
        options,
        times(() => cookieBased()),
      ),
  }),
)

runContract(
  'dedicated, memory store',
  strategyContract({
    capabilities: dedicated({ store: memoryStore() }).capabilities,
    async start(options) {
      const store = memoryStore()
      return cluster(
        options,
        times(() => dedicated({ store })),
      )
    },
  }),
)

runContract(
  'dedicated, SQLite',
  strategyContract({
    capabilities: dedicated({ store: sqliteStore({ file: 'unused' }) }).capabilities,
    async start(options) {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-strategies-'))
      const file = join(folder, 'sessions.db')
      return cluster(
        options,
        times(() => dedicated({ store: sqliteStore({ file }) })),
        () => rm(folder, { recursive: true }),
      )
    },
  }),
)

let redis: Awaited<ReturnType<typeof startRedis>> | undefined
beforeAll(async () => void (redis = await startRedis()))
afterAll(() => redis?.stop())
let prefixes = 0

runContract(
  'dedicated, Redis',
  strategyContract({
    capabilities: dedicated({ store: redisStore({ url: 'redis://127.0.0.1' }) }).capabilities,
    async start(options) {
      const prefix = `t${++prefixes}`
      const url = redis?.url as string
      return cluster(
        options,
        times(() => dedicated({ store: redisStore({ url }, { prefix }) })),
      )
    },
  }),
)
