/** Redis with TLS, with Sentinel and as a cluster, and Valkey: real servers, as in `servers.ts`. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createClient } from '@redis/client'
import { freePort, freePorts } from './ports.ts'
import { controlled, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'
import { answersPing, startRedis, waitFor } from './servers.ts'
import type { RedisProgram, RunningRedis } from './servers.ts'

/** Sends commands to one server, outside of what is tested. */
export async function askServer(port: number, ...commands: readonly (readonly string[])[]): Promise<unknown> {
  const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } })
  client.on('error', () => {})
  try {
    await client.connect()
    let reply: unknown
    for (const command of commands) reply = await client.sendCommand([...command])
    return reply
  } finally {
    client.destroy()
  }
}

export interface Started {
  readonly url: string
  stop(): Promise<void>
}

export function startValkey(): Promise<RunningRedis> {
  return startRedis({ program: 'valkey-server' })
}

// ---------------------------------------------------------------- TLS

export interface TlsRedis extends Started {
  /** PEM of the authority that signed its certificate, and of one that did not. */
  readonly ca: string
  readonly otherCa: string
  /** The port that speaks TLS, and the one that does not. */
  readonly tlsPort: number
  readonly port: number
}

export async function startTlsRedis(): Promise<TlsRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'))
  const openssl = (...args: string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: folder })
  for (const name of ['ca', 'other']) {
    await openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
    )
  }
  await openssl(
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
    ],
    ...['-subj', '/CN=redis', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'server.key', '-out', 'server.pem'],
  )
  const tlsPort = await freePort()
  const redis = await startRedis({
    args: [
      ...['--tls-port', String(tlsPort), '--tls-cert-file', join(folder, 'server.pem'), '--tls-key-file', join(folder, 'server.key')],
      ...['--tls-ca-cert-file', join(folder, 'ca.pem'), '--tls-auth-clients', 'no'],
    ],
  })
  const [ca, otherCa] = await Promise.all(['ca.pem', 'other.pem'].map((name) => readFile(join(folder, name), 'utf8')))
  const stop = async (): Promise<void> => {
    await redis.stop()
    await rm(folder, { recursive: true, force: true })
  }
  return { url: `rediss://127.0.0.1:${tlsPort}`, tlsPort, port: redis.port, ca: ca as string, otherCa: otherCa as string, stop }
}

// ---------------------------------------------------------------- Sentinel

export interface SentinelRedis extends Started {
  readonly master: RunningRedis
  readonly replica: RunningRedis
  readonly sentinel: RunningProcess & { readonly port: number }
}

const MASTER_NAME = 'sessions'
/** Short, so that tests need not wait: in production seconds. */
/** When Sentinel gives up a master that is silent: for tests of that, and for all others longer than a machine under load stalls. */
export const SOON_DOWN_MS = 600
const LATE_DOWN_MS = 60_000

/** One master with one replica, and a Sentinel that alone decides. */
export async function startSentinel(program: RedisProgram = 'redis-server', downAfterMs: number = LATE_DOWN_MS): Promise<SentinelRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-sentinel-'))
  const master = await startRedis({ program })
  const replica = await startRedis({ program, args: ['--replicaof', '127.0.0.1', String(master.port)] })
  await waitFor(async () => String(await askServer(replica.port, ['INFO', 'replication'])).includes('master_link_status:up'))
  const port = await freePort()
  const file = join(folder, 'sentinel.conf')
  const monitor = `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} 1`
  const times = `sentinel down-after-milliseconds ${MASTER_NAME} ${downAfterMs}\nsentinel failover-timeout ${MASTER_NAME} 4000`
  await writeFile(file, `port ${port}\nbind 127.0.0.1\ndir ${folder}\n${monitor}\n${times}\n`)
  const sentinel = { ...controlled(spawnServer([program, file, '--sentinel'], folder), `${program} --sentinel`), port }
  await untilUp(sentinel, `${program} --sentinel`, () => answersPing(port))
  await waitFor(async () => ((await askServer(port, ['SENTINEL', 'REPLICAS', MASTER_NAME])) as unknown[]).length === 1)
  // What it has learnt is on disk: it does not stand still for that while a test runs.
  await askServer(port, ['SENTINEL', 'FLUSHCONFIG'])
  const stop = async (): Promise<void> => {
    for (const server of [sentinel, master, replica]) {
      server.resume()
      await server.stop()
    }
    await rm(folder, { recursive: true, force: true })
  }
  // The first one is dead: some always are when they are needed.
  const dead = await freePort()
  return { url: `redis+sentinel://127.0.0.1:${dead},127.0.0.1:${port}/${MASTER_NAME}`, master, replica, sentinel, stop }
}

// ---------------------------------------------------------------- cluster

export interface ClusterRedis extends Started {
  /** Three masters, each with a third of the slots. */
  readonly masters: readonly RunningRedis[]
  /** Of the first master. */
  readonly replica: RunningRedis
  /** Ids of all nodes by port. */
  readonly ids: ReadonlyMap<number, string>
}

const SLOTS = 16_384

export async function startCluster(program: RedisProgram = 'redis-server'): Promise<ClusterRedis> {
  const nodes: RunningRedis[] = []
  const buses = await freePorts(4)
  for (const bus of buses) {
    const args = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '1000']
    nodes.push(await startRedis({ program, args: [...args, '--cluster-require-full-coverage', 'no'] }))
  }
  const [first, second, third, replica] = nodes as [RunningRedis, RunningRedis, RunningRedis, RunningRedis]
  const masters = [first, second, third]
  const ids = new Map<number, string>()
  for (const { port } of nodes) ids.set(port, String(await askServer(port, ['CLUSTER', 'MYID'])))
  for (const [index, { port }] of masters.entries()) {
    const bounds = [index, index + 1].map((part) => Math.floor((part * SLOTS) / 3)) as [number, number]
    // Different epochs from the start: else they have to agree on them first.
    const epoch = ['CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1)]
    await askServer(port, epoch, ['CLUSTER', 'ADDSLOTSRANGE', String(bounds[0]), String(bounds[1] - 1)])
  }
  for (const [index, { port }] of nodes.entries()) {
    if (index > 0) await askServer(first.port, ['CLUSTER', 'MEET', '127.0.0.1', String(port), String(buses[index])])
  }
  await waitFor(async () => knowsAll(nodes), 20_000, 'the cluster')
  await askServer(replica.port, ['CLUSTER', 'REPLICATE', ids.get(first.port) as string])
  await waitFor(async () => String(await askServer(replica.port, ['INFO', 'replication'])).includes('master_link_status:up'), 20_000)
  await waitFor(async () => knowsReplica(masters, replica), 20_000, 'the replica')
  const stop = async (): Promise<void> => {
    for (const node of nodes) {
      node.resume()
      await node.stop()
    }
  }
  const url = `redis+cluster://127.0.0.1:${first.port},127.0.0.1:${second.port}`
  return { url, masters, replica, ids, stop }
}

async function knowsAll(nodes: readonly RunningRedis[]): Promise<boolean> {
  for (const { port } of nodes) {
    const info = String(await askServer(port, ['CLUSTER', 'INFO']))
    if (!info.includes('cluster_state:ok') || !info.includes(`cluster_known_nodes:${nodes.length}`)) return false
    if (String(await askServer(port, ['CLUSTER', 'NODES'])).includes('handshake')) return false
  }
  return true
}

async function knowsReplica(masters: readonly RunningRedis[], replica: RunningRedis): Promise<boolean> {
  for (const { port } of masters) {
    const lines = String(await askServer(port, ['CLUSTER', 'NODES'])).split('\n')
    if (!lines.some((line) => line.includes(`:${replica.port}@`) && line.includes('slave'))) return false
  }
  return true
}
