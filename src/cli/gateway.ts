/** `holdfast gateway --to URL…`: the gateway alone, until Ctrl-C. */
import { createGateway, type Gateway } from '../gateway/index.ts'
import { gatewayOptions, serversIn } from './gateway-options.ts'
import { usageError } from './usage-error.ts'

/** Resolves to the exit code, once the gateway is closed. */
export async function gatewayCommand(flags: Readonly<Record<string, unknown>>): Promise<number> {
  const logger = { warn: tell, error: tell }
  const gateway = usageError(() => createGateway({ ...gatewayOptions(flags, process.env), logger }))
  const file = flags['config'] ?? process.env['HOLDFAST_CONFIG']
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve())
    process.on('SIGHUP', () => (typeof file === 'string' ? void reload(gateway, file) : resolve()))
  })
  try {
    const { url, metricsPort } = await gateway.listen()
    const metrics = metricsPort === undefined ? '' : ` · metrics on port ${metricsPort}`
    process.stdout.write(`ready: gateway ${url} · ${upOf(gateway)}${metrics}\n`)
    await stopped
  } finally {
    await gateway.close()
  }
  return 0
}

/** A file with mistakes changes nothing. */
async function reload(gateway: Gateway, file: string): Promise<void> {
  try {
    await gateway.setServers(serversIn(file))
    process.stdout.write(`reloaded: ${upOf(gateway)}\n`)
  } catch (error) {
    tell(`Nothing was reloaded: ${(error as Error).message.replaceAll(/\s*\n\s*/g, ' ')}`)
  }
}

function upOf(gateway: Gateway): string {
  const servers = gateway.servers()
  return `${servers.filter(({ state }) => state === 'up').length} of ${servers.length} servers up`
}

function tell(...parts: unknown[]): void {
  process.stderr.write(`${parts.join(' ')}\n`)
}
