/** Server processes that hold one table, driven by commands. */
import { freePorts } from '../setup/ports.ts'
import { type RunningNode, spawnNode } from '../setup/servers.ts'
import type { Pauses } from './pause-meter.ts'
import type { Command, TableServerConfig } from './table-server.ts'

const SERVER = new URL('./table-server.ts', import.meta.url)
const IN_NAMESPACE = new URL('./in-namespace.ts', import.meta.url)
const COMMAND_MS = 600_000

export interface TableStatus extends Pauses {
  readonly sessions: number
  readonly bytes: number
  readonly heapUsed: number
  readonly rss: number
  readonly expired: number
  /** Processor time since the process began. */
  readonly cpuMs: number
  readonly details: Readonly<Record<string, unknown>>
}

export interface TableServer {
  readonly process: RunningNode
  /** `host:port` of its links. */
  readonly address: string
  /** How long it took from its start until it was ready. */
  readonly readyMs: number
  run<T = unknown>(command: Command): Promise<T>
  /** `collect`: after the garbage has been collected, thoroughly or once. */
  status(options?: { collect?: boolean; collectOnce?: boolean }): Promise<TableStatus>
}

export interface TableServerOptions extends Partial<TableServerConfig> {
  readonly nodeFlags?: readonly string[]
  /** A network namespace to run in. */
  readonly namespace?: string
}

export async function startTableServer(
  config: Pick<TableServerConfig, 'node' | 'port' | 'peers'> & TableServerOptions,
): Promise<TableServer> {
  const { namespace, nodeFlags = [], ...rest } = config
  const full: TableServerConfig = { policy: { kind: 'all' }, acks: 1, ...rest }
  const started = await spawnNode(namespace === undefined ? SERVER : IN_NAMESPACE, {
    args: [...(namespace === undefined ? [] : [namespace]), JSON.stringify(full)],
    execArgv: ['--expose-gc', ...nodeFlags],
    readyDeadlineMs: 120_000,
  })
  const run = async <T>(command: Command): Promise<T> => {
    started.tell(JSON.stringify(command))
    const line = await started.line(/^(DONE|FAILED)\b/, COMMAND_MS)
    if (line.startsWith('FAILED')) throw new Error(`${command.do}: ${line}\n${started.output()}`)
    const text = line.slice('DONE '.length)
    return (text === 'undefined' ? undefined : JSON.parse(text)) as T
  }
  return {
    process: started,
    address: `${full.host ?? '127.0.0.1'}:${config.port}`,
    readyMs: Number(started.ready.split(' ')[1]),
    run,
    status: ({ collect = false, collectOnce = false } = {}) => run({ do: 'status', collect: collect ? 6 : collectOnce ? 2 : 0 }),
  }
}

/** So many servers at once, that all know each other. */
export async function startTableServers(count: number, options: TableServerOptions = {}): Promise<TableServer[]> {
  const ports = await freePorts(count)
  const peers = ports.map((port) => `127.0.0.1:${port}`)
  const servers = await Promise.all(ports.map((port, index) => startTableServer({ ...options, node: `n${index + 1}`, port, peers })))
  await Promise.all(servers.map((server) => server.run({ do: 'peers', count: count - 1 })))
  return servers
}
