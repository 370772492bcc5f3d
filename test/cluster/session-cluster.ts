/** Three server processes that share sessions one way, for tests that kill, pause and restart them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../setup/ports.ts'
import { type RunningNode, spawnNode, startRedis, waitFor } from '../setup/servers.ts'
import type { ServerConfig } from './session-server.ts'

export type StrategyName = ServerConfig['strategy']

export const STRATEGIES: readonly StrategyName[] = ['replication', 'affinity', 'sqlite', 'redis', 'cookieBased']
/** As it stands in the names of tests. */
export const TITLES: Readonly<Record<StrategyName, string>> = {
  replication: 'replication, acks 1',
  affinity: 'affinity, 1 backup',
  sqlite: 'dedicated, SQLite',
  redis: 'dedicated, Redis',
  cookieBased: 'cookieBased',
}

const SERVERS = 3
const SERVER = new URL('./session-server.ts', import.meta.url)
const SECRET = 'a secret for tests, long enough to be one'
const START_DEADLINE_MS = 60_000

export interface Server {
  readonly url: string
  readonly process: RunningNode
}

export class SessionCluster {
  readonly strategy: StrategyName
  readonly #servers: Server[] = []
  readonly #ports: readonly number[]
  readonly #store: string
  readonly #release: () => Promise<void>

  private constructor(strategy: StrategyName, ports: readonly number[], store: string, release: () => Promise<void>) {
    this.strategy = strategy
    this.#ports = ports
    this.#store = store
    this.#release = release
  }

  static async start(strategy: StrategyName): Promise<SessionCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-cluster-'))
    const redis = strategy === 'redis' ? await startRedis() : undefined
    const cluster = new SessionCluster(strategy, await freePorts(SERVERS), redis?.url ?? join(folder, 'sessions.db'), async () => {
      await redis?.stop()
      await rm(folder, { recursive: true, force: true })
    })
    try {
      await Promise.all(cluster.#ports.map((_, index) => cluster.restart(index)))
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  get servers(): readonly Server[] {
    return this.#servers
  }

  server(index: number): Server {
    return this.#servers[index % SERVERS] as Server
  }

  /** Starts the server of that number, anew if it ran before; it keeps its name and the port of its links. */
  async restart(index: number): Promise<void> {
    const config: ServerConfig = {
      node: `n${index + 1}`,
      secret: SECRET,
      strategy: this.strategy,
      port: this.#ports[index] as number,
      peers: this.#ports.map((port) => `127.0.0.1:${port}`),
      store: this.#store,
    }
    const started = await spawnNode(SERVER, { args: [JSON.stringify(config)], readyDeadlineMs: START_DEADLINE_MS })
    this.#servers[index] = { url: `http://127.0.0.1:${started.ready.split(' ')[1]}`, process: started }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server?.process.stop()))
    await this.#release()
  }

  /** What the servers printed: for messages of failing tests. */
  output(): string {
    return this.#servers.map(({ process }, index) => `--- n${index + 1}\n${process.output()}`).join('\n')
  }
}

/** Resolves once a request waits at this gate of the server. */
export async function arrived(server: Server, gate: string): Promise<void> {
  await waitFor(async () => (await fetch(`${server.url}/gates/${gate}`)).ok, 30_000, `a request at gate ${gate}`)
}

export async function openGate(server: Server, gate: string): Promise<void> {
  await fetch(`${server.url}/gates/${gate}`, { method: 'POST' })
}
