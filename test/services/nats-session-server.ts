/** One server of a cluster over NATS, a process of its own: arguments are its name and the NATS servers. Prints `READY PORT`. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { nodeSessions } from '../../src/adapters/node.ts'
import { createSessions } from '../../src/sessions.ts'
import { replication } from '../../src/strategies/replication.ts'
import { natsTransport } from '../../src/transports/nats.ts'

const SECRET = 'a secret for tests, long enough to be one'
const [node = '', servers = ''] = process.argv.slice(2)

const sessions = createSessions({
  node,
  secrets: SECRET,
  strategy: replication({ transport: natsTransport({ cluster: 'sessions', secrets: SECRET, servers }), acks: 1 }),
  initial: () => ({ visits: 0 }),
  cookie: { secure: false },
})
await sessions.ready()
const handler = nodeSessions(sessions)((request, response, session) => {
  if (request.url === '/status') return void sessions.status().then((status) => response.end(JSON.stringify(status)))
  if (request.method === 'POST') session.data.visits++
  response.end(JSON.stringify({ node, isNew: session.isNew, visits: session.data.visits }))
})
const server = createServer(handler).listen(0, '127.0.0.1', () => console.log(`READY ${(server.address() as AddressInfo).port}`))
