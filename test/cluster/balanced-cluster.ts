/** Servers with affinity behind a real balancer that `holdfast balancer` has configured. */
import { freePort, freePorts } from '../setup/ports.ts'
import type { RunningBalancer } from '../setup/balancer.ts'
import { type RunningNode, spawnNode, within } from '../setup/servers.ts'
import type { BalancedConfig } from './balanced-server.ts'

const SERVER = new URL('./balanced-server.ts', import.meta.url)
export const ROUTE_SECRET = 'the secret of the routes in tests'

export interface BalancedOptions extends Pick<BalancedConfig, 'backups' | 'route'> {
  readonly ring?: 'nginx' | 'haproxy'
  readonly noticeMs?: number
  /** Servers at the start, and all that may ever be. */
  readonly servers: number
  readonly most: number
  start(to: readonly string[], port: number): Promise<RunningBalancer>
  /** The configuration for so many servers. */
  config(to: readonly string[], port: number): string
}

export class BalancedCluster {
  readonly #options: BalancedOptions
  readonly #ports: readonly number[]
  readonly #links: readonly number[]
  readonly #port: number
  readonly #running: (RunningNode | undefined)[] = []
  #balancer: RunningBalancer | undefined
  #count: number

  private constructor(options: BalancedOptions, ports: readonly number[], links: readonly number[], port: number) {
    this.#options = options
    this.#ports = ports
    this.#links = links
    this.#port = port
    this.#count = options.servers
  }

  static async start(options: BalancedOptions): Promise<BalancedCluster> {
    const cluster = new BalancedCluster(options, await freePorts(options.most), await freePorts(options.most), await freePort())
    try {
      await Promise.all(Array.from({ length: options.servers }, (_, index) => cluster.launch(index)))
      cluster.#balancer = await options.start(cluster.#to(), cluster.#port)
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** The server's own address, past the balancer. */
  direct(index: number): string {
    return `http://127.0.0.1:${this.#ports[index]}`
  }

  #to(): string[] {
    return this.#ports.slice(0, this.#count).map((port) => `http://127.0.0.1:${port}`)
  }

  /** Starts the server of that number, anew if it ran before. */
  async launch(index: number): Promise<void> {
    const { backups, noticeMs = 0, ring, route } = this.#options
    const config: BalancedConfig = {
      node: `n${index + 1}`,
      secret: 'a secret for tests, long enough to be one',
      port: this.#ports[index] as number,
      linkPort: this.#links[index] as number,
      peers: this.#links.map((port) => `127.0.0.1:${port}`),
      backups,
      route,
      routeSecret: ROUTE_SECRET,
      addresses: Object.fromEntries(this.#ports.map((port, at) => [`n${at + 1}`, `127.0.0.1:${port}`])),
      noticeMs,
      ...(ring !== undefined && { ring }),
    }
    this.#running[index] = await spawnNode(SERVER, { args: [JSON.stringify(config)], readyDeadlineMs: 60_000 })
  }

  async kill(index: number): Promise<void> {
    await this.#running[index]?.kill()
  }

  /** SIGTERM; resolves once it has drained and ended. */
  async leave(index: number): Promise<void> {
    const server = this.#running[index]
    if (server === undefined) return
    process.kill(server.pid, 'SIGTERM')
    const { code } = await within(server.exited, 30_000, 'a server draining')
    if (code !== 0) throw new Error(`a server left with ${code}\n${server.output()}`)
  }

  /** One server more, and the balancer told. */
  async grow(): Promise<void> {
    await this.launch(this.#count)
    this.#count++
    await this.#balancer?.reload(this.#options.config(this.#to(), this.#port))
  }

  output(): string {
    return [this.#balancer?.output(), ...this.#running.map((server) => server?.output())].join('\n---\n')
  }

  async stop(): Promise<void> {
    await this.#balancer?.stop()
    await Promise.all(this.#running.map(async (server) => server?.kill()))
  }
}
