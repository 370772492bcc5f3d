/** What flags, `HOLDFAST_*` variables and a configuration file say about the gateway. A flag wins over its variable, both over the file. */
import { readFileSync } from 'node:fs'
import type { GatewayOptions, PolicyName } from '../gateway/index.ts'
import type { FlagHelp } from './flags.ts'

const DEFAULT_PORT = 8080

export type Environment = Readonly<Record<string, string | undefined>>
type Given = Readonly<Record<string, unknown>>

export const GATEWAY_FLAGS: readonly FlagHelp[] = [
  { name: 'to', value: '<url>', help: 'A server to send requests to; may be given several times' },
  { name: 'policy', value: '<name>', help: 'round-robin (default), least-connections, ip-hash, consistent-hash or sticky' },
  { name: 'port', value: '<port>', help: 'Port to listen on (default 8080)' },
  { name: 'host', value: '<address>', help: 'Address to listen on (default 127.0.0.1)' },
  { name: 'config', value: '<file>', help: 'JSON with the options of createGateway; SIGHUP reads its list of servers again' },
  { name: 'tls-key', value: '<file>', help: 'PEM: TLS with HTTP/2 and HTTP/1.1' },
  { name: 'tls-cert', value: '<file>', help: 'PEM, the whole chain' },
  { name: 'trust-forwarded', value: '<networks>', help: 'Proxies in front whose X-Forwarded-* are believed: 10.0.0.0/8,::1' },
  { name: 'metrics-port', value: '<port>', help: 'Prometheus metrics at http://127.0.0.1:PORT/metrics' },
  { name: 'access-log', help: 'One line of JSON on standard output for each request' },
]

/** Throws one line for whatever does not fit. */
export function gatewayOptions(flags: Given, environment: Environment): GatewayOptions {
  const value = (name: string): unknown => {
    const flag = flags[name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())]
    return flag ?? (environment[`HOLDFAST_${name.replaceAll('-', '_').toUpperCase()}`] || undefined)
  }
  const file = configOf(value('config'))
  const to = listOf(value('to'))
  const { tls, accessLog, ...fromFile } = file
  const options = {
    ...fromFile,
    to: to.length > 0 ? to : (file['to'] ?? []),
    port: value('port') === undefined ? (file['port'] ?? DEFAULT_PORT) : portOf('port', value('port')),
    ...(value('policy') !== undefined && { policy: value('policy') as PolicyName }),
    ...(value('host') !== undefined && { host: value('host') }),
    ...(value('trust-forwarded') !== undefined && { trustForwarded: listOf(value('trust-forwarded')) }),
    ...(value('metrics-port') !== undefined && { metrics: { port: portOf('metrics-port', value('metrics-port')) } }),
    ...tlsOf(value('tls-key') ?? fieldOf(tls, 'keyFile'), value('tls-cert') ?? fieldOf(tls, 'certFile')),
    ...((value('access-log') !== undefined || accessLog === true) && { accessLog: printLine }),
  } as unknown as GatewayOptions
  if (options.to.length === 0) throw new Error('Name at least one server: holdfast gateway --to http://127.0.0.1:3000')
  return options
}

/** The file's list of servers, read again. */
export function serversIn(file: string): GatewayOptions['to'] {
  const { to } = configOf(file)
  if (!Array.isArray(to) || to.length === 0) throw new Error(`--config: "to" must be a list of servers.`)
  return to as GatewayOptions['to']
}

function configOf(file: unknown): Given {
  if (file === undefined) return {}
  const text = textOf('config', file)
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed as Given
  } catch {
    // Told below.
  }
  throw new Error(`--config: ${String(file)} must hold one JSON object with the options of createGateway.`)
}

function textOf(flag: string, file: unknown): string {
  try {
    return readFileSync(String(file), 'utf8')
  } catch {
    throw new Error(`--${flag}: ${String(file)} cannot be read.`)
  }
}

function tlsOf(key: unknown, cert: unknown): Pick<GatewayOptions, 'tls'> {
  if (key === undefined && cert === undefined) return {}
  if (key === undefined || cert === undefined) throw new Error('Give both --tls-key and --tls-cert.')
  return { tls: { key: textOf('tls-key', key), cert: textOf('tls-cert', cert) } }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Given)[name] : undefined
}

function listOf(given: unknown): string[] {
  const all = Array.isArray(given) ? given : [given]
  return all
    .flatMap((one) => (typeof one === 'string' ? one.split(',') : []))
    .map((one) => one.trim())
    .filter((one) => one !== '')
}

function portOf(flag: string, given: unknown): number {
  const port = Number(given)
  if (given === '' || !Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--${flag}: give a number from 0 to 65535.`)
  return port
}

function printLine(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
