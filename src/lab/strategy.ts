import { SessionError } from '../errors.ts'
import type { SessionStrategy, Transport } from '../seam.ts'
import type { StrategyChoice } from './choice.ts'
import { labError } from './lab-error.ts'
import type { MeshConfig } from './messages.ts'
import { storeFromUrl } from './store-url.ts'

export interface BuiltStrategy {
  readonly strategy: SessionStrategy
  /** Present where the servers talk to each other: counts the bytes between them. */
  readonly transport?: Transport
}

const AFFINITY_BACKUPS = 1

/** Turns the lab's choice into a strategy. Nothing runs yet; options that do not fit together throw CONFIG_INVALID. */
export async function buildStrategy(choice: StrategyChoice, mesh: MeshConfig, secrets: readonly string[]): Promise<BuiltStrategy> {
  const { strategy, options } = choice
  const acks = options.acks === undefined ? {} : { acks: options.acks }
  switch (strategy) {
    case 'replication': {
      const { replication } = await import('../strategies/replication.ts')
      const transport = await meshTransport(mesh, secrets, options.transport)
      const copies = options.copies === undefined ? {} : { copies: options.copies }
      return { strategy: replication({ transport, ...copies, ...acks }), transport }
    }
    case 'affinity': {
      const { affinity } = await import('../strategies/affinity.ts')
      const transport = await meshTransport(mesh, secrets, options.transport)
      return { strategy: affinity({ transport, backups: options.backups ?? AFFINITY_BACKUPS, ...acks }), transport }
    }
    case 'cookieBased': {
      const { cookieBased } = await import('../strategies/cookie-based.ts')
      const transport = await meshTransport(mesh, secrets, options.transport)
      return { strategy: cookieBased({ revocations: transport }), transport }
    }
    case 'dedicated': {
      const { dedicated } = await import('../strategies/dedicated.ts')
      if (options.store === undefined) throw labError(400, 'OPTION_INVALID', 'dedicated needs a store.')
      return { strategy: dedicated({ store: await storeFromUrl(options.store) }) }
    }
    case 'isolated': {
      const { isolated } = await import('../strategies/isolated.ts')
      return { strategy: isolated() }
    }
  }
}

const CHECK_SECRET = 'only for checking options: nothing is started with it'
const CHECK_MESH: MeshConfig = { cluster: 'check', port: 7946, peers: ['127.0.0.1:7946'] }

/** Throws OPTION_INVALID or CONFIG_INVALID when the options contradict each other. Nothing is started. */
export async function checkStrategy(choice: StrategyChoice): Promise<void> {
  const store = choice.options.store ?? (choice.strategy === 'dedicated' ? 'sqlite:checked-and-never-opened.db' : undefined)
  const complete = store === undefined ? choice : { ...choice, options: { ...choice.options, store } }
  try {
    await buildStrategy(complete, CHECK_MESH, [CHECK_SECRET])
  } catch (error) {
    if (!SessionError.is(error)) throw error
    throw labError(400, error.code, error.message)
  }
}

async function meshTransport(mesh: MeshConfig, secrets: readonly string[], wanted = 'tcp'): Promise<Transport> {
  if (wanted !== 'tcp') {
    const { natsTransport } = await import('../transports/nats.ts')
    return natsTransport({ cluster: mesh.cluster, secrets, servers: wanted })
  }
  const { tcpTransport } = await import('../transports/tcp.ts')
  return tcpTransport({ cluster: mesh.cluster, secrets, port: mesh.port, host: '127.0.0.1', peers: [...mesh.peers] })
}
