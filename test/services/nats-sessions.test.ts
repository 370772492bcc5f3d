import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createSessions } from '../../src/sessions.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import { strategyContract, type StrategyUnderTest } from '../../src/testing/strategy-contract.ts'
import type { SessionStrategy, Transport } from '../../src/seam.ts'
import { memoryTransport } from '../../src/transports/memory.ts'
import { natsTransport } from '../../src/transports/nats.ts'
import { runContract } from '../contract/run-contract.ts'
import { type RunningNats, startNats } from '../setup/nats.ts'
import { type RunningNode, spawnNode, waitFor } from '../setup/servers.ts'

const SECRET = 'a secret for tests, long enough to be one'
let nats: RunningNats
const processes: RunningNode[] = []

beforeAll(async () => {
  nats = await startNats()
})
afterEach(() => Promise.all(processes.splice(0).map((process) => process.stop())))
afterAll(() => nats.stop())

// ---------------------------------------------------------------- servers that are killed

interface Answer {
  readonly node: string
  readonly isNew: boolean
  readonly visits: number
}

async function server(name: string): Promise<{ url: string; process: RunningNode }> {
  const process = await spawnNode(new URL('./nats-session-server.ts', import.meta.url), { args: [name, nats.url] })
  processes.push(process)
  return { url: `http://127.0.0.1:${process.ready.split(' ')[1]}`, process }
}

/** A browser that keeps what it is given. */
function browser(): (url: string, method?: string) => Promise<Answer> {
  const cookies = new Map<string, string>()
  return async (url, method = 'GET') => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, { method, headers: { cookie } })
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';')
      const [name = '', value = ''] = pair.split('=')
      if (/max-age=0/i.test(line)) cookies.delete(name)
      else cookies.set(name, value)
    }
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
    return (await response.json()) as Answer
  }
}

test('replication over NATS - a session written at one server is read at the other, and outlives the server that is killed', async () => {
  const [a, b] = [await server('n1'), await server('n2')]
  const visit = browser()
  for (let visits = 1; visits <= 5; visits++) expect((await visit(a.url, 'POST')).visits).toBe(visits)
  expect(await visit(b.url)).toEqual({ node: 'n2', isNew: false, visits: 5 })
  expect((await visit(b.url, 'POST')).visits).toBe(6)
  await a.process.kill()
  // While it is missed a write waits for its acknowledgement; from then on there is nobody to wait for.
  const after = await waitFor(() => visit(b.url, 'POST'), 20_000, 'the other one serves')
  expect(after).toMatchObject({ node: 'n2', isNew: false })
  expect(after.visits).toBeGreaterThan(6)
  const again = await server('n1')
  expect(await visit(again.url)).toMatchObject({ node: 'n1', isNew: false, visits: after.visits })
})

// ---------------------------------------------------------------- the whole contract

let clusters = 0

function overNats(make: (transport: Transport) => SessionStrategy): StrategyUnderTest {
  return {
    capabilities: make(memoryTransport()).capabilities,
    async start(options) {
      const cluster = `strategies-${++clusters}`
      const servers = [1, 2, 3].map((index) => {
        // Short beats only shorten the start; the silence limit stays.
        const transport = natsTransport({ cluster, secrets: SECRET, servers: nats.url, heartbeatMs: 100, silenceMs: 5000 })
        return createSessions({ secrets: SECRET, strategy: make(transport), node: `n${index}`, ...options })
      })
      await Promise.all(servers.map((one) => one.ready()))
      return { servers, close: async () => void (await Promise.all(servers.map((one) => one.close()))) }
    },
  }
}

runContract('replication over NATS', strategyContract(overNats((transport) => replication({ transport }))))
runContract('affinity over NATS', strategyContract(overNats((transport) => affinity({ transport, backups: 1 }))))
