/**
 * NATS servers for tests: one, or a cluster of three with routes. 127.0.0.1 only, no JetStream, ended by pid: by `stop()`, else when the
 * test process exits, else by the kernel.
 */
import { existsSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, freePorts } from './ports.ts'
import { controlled, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'
import { waitFor } from './waiting.ts'

export interface RunningNats extends RunningProcess {
  readonly port: number
  /** `nats://127.0.0.1:PORT` */
  readonly url: string
  /** Starts it again on the same port after `kill()` or `stop()`. */
  restart(): Promise<RunningNats>
}

export interface NatsOptions {
  /** More arguments, e.g. `['--user', 'u', '--pass', 'p']`. */
  args?: readonly string[]
  /** Lines of a configuration file, e.g. `max_payload: 16384`. */
  config?: string
  /** Default: a free one. */
  port?: number
}

const INSTALL = 'install it: apt-get install nats-server (Debian), or put it into the PATH'
const PROGRAM = ['/usr/sbin/nats-server', '/usr/bin/nats-server', '/usr/local/bin/nats-server'].find((path) => existsSync(path))
const folders = new Set<string>()
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** Debian's nats-server. */
export async function startNats(options: NatsOptions = {}): Promise<RunningNats> {
  const args = [...(options.args ?? [])]
  if (options.config !== undefined) args.push('-c', await configFile(options.config))
  return launch(options.port ?? (await freePort()), args)
}

async function configFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-nats-'))
  folders.add(folder)
  // As root the server runs as another user, who has to read it.
  await chmod(folder, 0o755)
  const file = join(folder, 'nats.conf')
  await writeFile(file, text)
  return file
}

/** Three servers that forward to each other. */
export async function startNatsCluster(args: readonly string[] = []): Promise<[RunningNats, RunningNats, RunningNats]> {
  const routes = await freePorts(3)
  const urls = routes.map((port) => `nats://127.0.0.1:${port}`)
  const start = async (own: number): Promise<RunningNats> => {
    const route = ['--cluster_name', 'test', '--cluster', urls[own] as string, '--routes', urls.join(',')]
    return launch(await freePort(), [...route, ...args])
  }
  const cluster: [RunningNats, RunningNats, RunningNats] = [await start(0), await start(1), await start(2)]
  await waitFor(() => cluster.every((server) => routesOf(server) >= 2), 10_000, 'routes between the NATS servers')
  return cluster
}

function routesOf(server: RunningNats): number {
  return new Set(server.output().match(/rid:\d+(?= - Route connection created)/g)).size
}

async function launch(port: number, args: readonly string[]): Promise<RunningNats> {
  if (PROGRAM === undefined) throw new Error(`nats-server is missing: ${INSTALL}`)
  const server = controlled(spawnServer([PROGRAM, '-a', '127.0.0.1', '-p', String(port), ...args], '/', 'nobody'), 'nats-server')
  await untilUp(server, 'nats-server', () => greets(port))
  return { ...server, port, url: `nats://127.0.0.1:${port}`, restart: () => launch(port, args) }
}

/** A NATS server speaks first, before TLS too. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith('INFO '))
      socket.destroy()
    })
  })
}
