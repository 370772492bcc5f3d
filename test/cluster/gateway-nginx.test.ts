/** `ip-hash` of the gateway and `ip_hash` of nginx send the same visitor to the same server. */
import { Agent, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { createGateway } from '../../src/gateway/index.ts'
import { startNginx } from '../setup/nginx.ts'
import { freePorts } from '../setup/ports.ts'
import { waitFor } from '../setup/servers.ts'

const SERVERS = 5
const DOWN: readonly (readonly number[])[] = [[], [0], [2], [4], [0, 1], [1, 3], [2, 4]]
const VISITORS = 60

/** Five servers that answer their number, and for each set of dead ones an `ip_hash` in front of them. */
function configuration(servers: readonly number[], fronts: readonly number[]): string {
  const healthOf = (server: number): string =>
    DOWN.map((down, set) => `location = /health-${set} { return ${down.includes(server) ? 500 : 200}; }`).join(' ')
  const groups = DOWN.map((down, set) => {
    const list = servers.map((port, at) => `server 127.0.0.1:${port}${down.includes(at) ? ' down' : ''};`).join(' ')
    return `upstream group${set} { ip_hash; ${list} }
server { listen 127.0.0.1:${fronts[set]}; location / { proxy_pass http://group${set}; } }`
  })
  const listening = servers.map((port, at) => `server { listen 127.0.0.1:${port}; ${healthOf(at)} location / { return 200 "${at}"; } }`)
  return `worker_processes 1; events { worker_connections 512; }
http { access_log off;
${[...listening, ...groups].join('\n')}
}`
}

/** Loopback addresses as sources: the first three bytes vary. */
function addressOf(visitor: number): string {
  return `127.${(visitor * 37) % 250}.${(visitor * 91 + 13) % 250}.${1 + (visitor % 200)}`
}

async function serverFor(port: number, localAddress: string): Promise<string> {
  const agent = new Agent({ keepAlive: false })
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, localAddress, agent, timeout: 10_000 }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve(`${response.statusCode} ${text}`)).on('error', reject)
    })
    asking.on('error', reject).end()
  })
}

test('ip-hash - every visitor goes where nginx sends it, with 0 to 2 of 5 servers down', async () => {
  const ports = await freePorts(SERVERS + DOWN.length)
  const [servers, fronts] = [ports.slice(0, SERVERS), ports.slice(SERVERS)]
  const nginx = await startNginx(configuration(servers, fronts), servers[0] as number)
  onTestFinished(() => nginx.stop())
  const seen = new Set<string>()
  for (const [set, down] of DOWN.entries()) {
    const to = servers.map((port, at) => ({ id: `s${at}`, url: `http://127.0.0.1:${port}` }))
    const gateway = createGateway({ to, policy: 'ip-hash', health: { path: `/health-${set}` } })
    onTestFinished(() => gateway.close(0))
    const { port } = await gateway.listen()
    await waitFor(() => gateway.servers().every(({ state }, at) => (state === 'up') !== down.includes(at)), 5_000, 'the health checks')
    for (let visitor = 0; visitor < VISITORS; visitor++) {
      const address = addressOf(visitor)
      const [ours, theirs] = await Promise.all([serverFor(port, address), serverFor(fronts[set] as number, address)])
      expect(ours, `${address} with ${down.join(' and ') || 'nobody'} down`).toBe(theirs)
      seen.add(`${set} ${ours}`)
    }
  }
  // Every server that lived was somebody's.
  expect(seen.size).toBe(DOWN.reduce((sum, down) => sum + SERVERS - down.length, 0))
})
