/** `holdfast gateway --to URL…`: the gateway alone, until Ctrl-C. */
import { createGateway, type Gateway, type GatewayOptions, type PolicyName } from '../gateway/index.ts'
import { usageError } from './usage-error.ts'

const DEFAULT_PORT = 8080
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

type Environment = Readonly<Record<string, string | undefined>>

/** Resolves to the exit code, once the gateway is closed. */
export async function gatewayCommand(flags: Readonly<Record<string, unknown>>): Promise<number> {
  const gateway = usageError(() => gatewayOf(flags, process.env))
  const stopped = new Promise<void>((resolve) => {
    for (const signal of SIGNALS) process.on(signal, () => resolve())
  })
  try {
    const { url } = await gateway.listen()
    const servers = gateway.servers()
    const up = servers.filter(({ state }) => state === 'up').length
    process.stdout.write(`ready: gateway ${url} · ${up} of ${servers.length} servers up\n`)
    await stopped
  } finally {
    await gateway.close()
  }
  return 0
}

function gatewayOf(flags: Readonly<Record<string, unknown>>, environment: Environment): Gateway {
  const to = listOf(flags['to'] ?? environment['HOLDFAST_TO'])
  if (to.length === 0) throw new Error('Name at least one server: holdfast gateway --to http://127.0.0.1:3000')
  const policy = flags['policy'] ?? environment['HOLDFAST_POLICY']
  const options: GatewayOptions = {
    to,
    port: portOf(flags['port'] ?? environment['HOLDFAST_PORT']),
    ...(policy !== undefined && { policy: policy as PolicyName }),
    logger: { warn: tell, error: tell },
  }
  return createGateway(options)
}

function listOf(given: unknown): string[] {
  const all = Array.isArray(given) ? given : [given]
  return all
    .flatMap((one) => (typeof one === 'string' ? one.split(',') : []))
    .map((one) => one.trim())
    .filter((one) => one !== '')
}

function portOf(given: unknown): number {
  const port = given === undefined ? DEFAULT_PORT : Number(given)
  if (given === '' || !Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('--port: give a number from 0 to 65535.')
  return port
}

function tell(...parts: unknown[]): void {
  process.stderr.write(`${parts.join(' ')}\n`)
}
