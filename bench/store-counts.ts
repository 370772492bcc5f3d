/** What a Redis server says that it did: commands by name, bytes in and out. */
import { createConnection } from 'node:net'

export interface StoreCounts {
  readonly commands: ReadonlyMap<string, number>
  readonly bytesIn: number
  readonly bytesOut: number
}

const DEADLINE_MS = 5_000

function info(port: number, section: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    let text = ''
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('INFO got no answer')))
    socket.once('error', reject)
    socket.once('connect', () => socket.end(`INFO ${section}\r\nQUIT\r\n`))
    socket.on('data', (data) => (text += data.toString()))
    socket.once('close', () => resolve(text))
  })
}

export async function redisCounts(port: number): Promise<StoreCounts> {
  const [commandStats, stats] = await Promise.all([info(port, 'commandstats'), info(port, 'stats')])
  const commands = new Map<string, number>()
  for (const [, name = '', calls] of commandStats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) commands.set(name, Number(calls))
  const bytes = (name: string): number => Number(new RegExp(`^total_net_${name}_bytes:(\\d+)`, 'm').exec(stats)?.[1])
  return { commands, bytesIn: bytes('input'), bytesOut: bytes('output') }
}

/** Not a session's doing. */
const ASIDE = new Set(['info', 'quit', 'auth', 'hello', 'client', 'config', 'ping', 'time'])
/** Redis counts the commands of a script, too. */
const SENT_BY_SCRIPTS = new Set(['get', 'set', 'getrange', 'exists', 'pttl', 'zadd', 'zremrangebyscore', 'pexpireat'])

const STRAY = 0.01

export interface PerRequest {
  readonly commands: number
  /** Those that keep the push channel confirmed: they do not grow with the traffic. */
  readonly pingsPerSecond: number
  readonly bytes: number
}

/** What one request sent. A script reads its session once, the whole or its beginning: what is beyond that was sent by itself. */
export function perRequest(before: StoreCounts, after: StoreCounts, requests: number, seconds: number): PerRequest {
  const made = (name: string): number => (after.commands.get(name) ?? 0) - (before.commands.get(name) ?? 0)
  // A stray one of another variant on the same server is no reason to leave out what this one sent.
  const called = made('evalsha') + made('eval')
  const scripts = called > requests * STRAY ? called : 0
  let commands = 0
  for (const name of after.commands.keys()) {
    if (ASIDE.has(name.split('|')[0] as string) || (scripts > 0 && SENT_BY_SCRIPTS.has(name))) continue
    commands += made(name)
  }
  if (scripts > 0) commands += Math.max(0, made('get') + made('getrange') - scripts)
  const bytes = after.bytesIn - before.bytesIn + after.bytesOut - before.bytesOut
  return { commands: commands / requests, pingsPerSecond: made('ping') / seconds, bytes: bytes / requests }
}
