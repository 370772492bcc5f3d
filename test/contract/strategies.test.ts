import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import { replication } from '../../src/strategies/replication.ts'
import { strategyContract, type StrategyUnderTest } from '../../src/testing/strategy-contract.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'
import { freePorts } from '../setup/ports.ts'
import { runContract } from './run-contract.ts'
import { cluster, SECRET, SERVERS, times } from './strategy-cluster.ts'

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
    cannot: { end: 'no server remembers that a session ended, until a revocation table is configured', know: 'sessions lie in browsers' },
    start: (options) =>
      cluster(
        options,
        times(() => cookieBased()),
      ),
  }),
)

const CANNOT_KNOW = 'sessions lie in browsers: no server knows whose a key is, how many there are, or what another request stored'

runContract(
  'cookieBased, revocations over a transport',
  strategyContract({
    ...clustered((revocations) => cookieBased({ revocations }), 'memory'),
    cannot: { know: CANNOT_KNOW },
  }),
)

runContract(
  'cookieBased, revocations in a store',
  strategyContract({
    capabilities: cookieBased({ revocations: memoryStore() }).capabilities,
    cannot: { know: CANNOT_KNOW },
    start(options) {
      const revocations = memoryStore()
      return cluster(
        options,
        times(() => cookieBased({ revocations })),
      )
    },
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
