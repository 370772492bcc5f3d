/** The whole lab: cluster, control page, visitors and live events. */
import { policyOf, type StrategyChoice, type StrategyOptions } from './choice.ts'
import { type Cluster, createCluster } from './cluster.ts'
import { type Control, createControl } from './control.ts'
import { createEventStream } from './event-stream.ts'
import { claimPort } from './ports.ts'
import { createTraffic } from './traffic.ts'
import { createVisitors } from './visitors.ts'

const FIGURES_EVERY_MS = 500
const PUBLISH_WITHIN_MS = 100

export interface LabOptions {
  readonly choice: StrategyChoice
  readonly nodes: number
  /** 0: any free port. */
  readonly port: number
  readonly controlPort: number
  readonly defaults: StrategyOptions
  /** One line for people. */
  log(line: string): void
}

export interface Lab {
  readonly gatewayUrl: string
  readonly controlUrl: string
  readonly cluster: Cluster
  close(): Promise<void>
}

/** Resolves when everything is ready. Rejects, with everything it started ended again, when it cannot be. */
export async function startLab(options: LabOptions, stopping?: AbortSignal): Promise<Lab> {
  const port = await claimPort(options.port, '--port')
  const controlPort = await claimPort(options.controlPort, '--control-port')
  const gatewayUrl = `http://127.0.0.1:${port}`
  const controlUrl = `http://127.0.0.1:${controlPort}`
  const stream = createEventStream()
  const visitors = createVisitors(gatewayUrl)
  const traffic = createTraffic(gatewayUrl)
  let pending: NodeJS.Timeout | undefined

  const cluster = createCluster({
    nodes: options.nodes,
    port,
    controlUrl,
    choice: options.choice,
    log: (line) => options.log(line),
    event: (event) => stream.publish('session', event),
    changed: publishSoon,
  })

  function publishSoon(): void {
    pending ??= setTimeout(() => {
      pending = undefined
      stream.publish('cluster', cluster.view())
    }, PUBLISH_WITHIN_MS)
  }

  const figures = setInterval(() => {
    cluster.refresh().then(publishSoon, () => undefined)
  }, FIGURES_EVERY_MS)

  let control: Control | undefined
  let closed: Promise<void> | undefined
  async function closeAll(): Promise<void> {
    clearInterval(figures)
    visitors.close()
    traffic.close()
    control?.close()
    await cluster.close()
    clearTimeout(pending)
    pending = undefined
  }
  const close = (): Promise<void> => {
    closed ??= closeAll()
    return closed
  }
  stopping?.addEventListener('abort', () => void close(), { once: true })

  try {
    control = createControl({ port: controlPort, cluster, stream, visitors, traffic, defaults: options.defaults })
    options.log(
      `starting ${options.nodes} ${options.nodes === 1 ? 'server' : 'servers'} with ${options.choice.strategy}, ${policyOf(options.choice)}`,
    )
    await control.listen()
    await cluster.start()
  } catch (error) {
    await close()
    throw error
  }
  return { gatewayUrl, controlUrl, cluster, close }
}
